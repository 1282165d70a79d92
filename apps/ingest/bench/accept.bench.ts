// apps/ingest/bench/accept.bench.ts
// Direct notifications over HTTP on a durable Postgres (fsync on): one region, and two with every
// second recipient in the other. Accepted numbers are in RESULTS.md.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ask, startRegions, type TestRegions, until } from "../src/test-regions.ts";

const CLIENT = fileURLToPath(new URL("accept-client.ts", import.meta.url));
const RECIPIENT_COUNT = 20_000;
const DURATION_MS = 6_000;
const run = promisify(execFile);

interface Result {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  statuses: Record<string, number>;
}

async function measure(names: readonly string[]): Promise<void> {
  const regions = await startRegions(names, { isDurable: true });
  try {
    const [first, ...others] = await Promise.all(names.map((name) => regions.startNode(name)));
    const url = first?.url ?? "";
    for (const { region } of others)
      await until("the gateways are up", async () => {
        const body = { homeRegion: region };
        const request = { method: "PUT", token: regions.apiKey, body };
        return (await ask(`${url}/v1/recipients/probe-${region}`, request)).status < 300;
      });
    await importRecipients(regions, url, names);
    for (const connectionCount of [1, 64, 256]) {
      const options = { url, apiKey: regions.apiKey, connectionCount, durationMs: DURATION_MS };
      const argument = JSON.stringify({ ...options, recipientCount: RECIPIENT_COUNT });
      const { stdout } = await run(process.execPath, [CLIENT, argument]);
      const { perSecond, p50Ms, p99Ms, statuses } = JSON.parse(stdout) as Result;
      const times = `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
      const label = `${names.length} region(s), ${connectionCount} connections`;
      console.log(`${label.padEnd(32)} ${perSecond}/s, ${times}, ${JSON.stringify(statuses)}`);
    }
  } finally {
    await regions.stop();
  }
}

async function importRecipients(
  regions: TestRegions,
  url: string,
  names: readonly string[],
): Promise<void> {
  const lines = Array.from({ length: RECIPIENT_COUNT }, (_, at) =>
    JSON.stringify({ recipientId: `employee-${at}`, homeRegion: names[at % names.length] }),
  );
  const startedMs = performance.now();
  const answer = await ask(`${url}/v1/recipients/import`, {
    method: "POST",
    token: regions.apiKey,
    body: lines.join("\n"),
    headers: { "content-type": "application/x-ndjson" },
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  const perSecond = Math.round(RECIPIENT_COUNT / seconds);
  const { created, rejected } = answer.body;
  console.log(
    `import: ${String(created)} created, ${String(rejected)} rejected, ${perSecond} lines/s`,
  );
}

await measure(["fra"]);
await measure(["fra", "lon"]);
