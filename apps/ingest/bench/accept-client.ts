// apps/ingest/bench/accept-client.ts
// The load of accept.bench.ts, in a process of its own: keep-alive connections, one request after
// the other on each. Prints one JSON object.
import { Agent, request } from "node:http";
import { performance } from "node:perf_hooks";

const options = JSON.parse(process.argv[2] ?? "{}") as {
  url: string;
  apiKey: string;
  connectionCount: number;
  durationMs: number;
  recipientCount: number;
};
const agent = new Agent({ keepAlive: true, maxSockets: options.connectionCount });
const { hostname, port } = new URL(options.url);
const content = {
  en: { title: "Shift changed", body: "x".repeat(200), link: "https://acme.eu/1" },
};
const statuses = new Map<number, number>();
const durationsMs: number[] = [];
let count = 0;

function post(): Promise<number> {
  const recipientId = `employee-${Math.floor(Math.random() * options.recipientCount)}`;
  const body = JSON.stringify({ audience: { recipients: [recipientId] }, content });
  const headers = {
    authorization: `Bearer ${options.apiKey}`,
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "idempotency-key": `${process.pid}-${count++}`,
  };
  return new Promise((resolve, reject) => {
    const sent = request(
      { agent, hostname, port, method: "POST", path: "/v1/notifications", headers },
      (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode ?? 0));
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

const startedMs = performance.now();
async function connection(): Promise<void> {
  while (performance.now() - startedMs < options.durationMs) {
    const beginMs = performance.now();
    const status = await post();
    durationsMs.push(performance.now() - beginMs);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
}
await Promise.all(Array.from({ length: options.connectionCount }, connection));
const elapsedMs = performance.now() - startedMs;
const sorted = durationsMs.toSorted((left, right) => left - right);
const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
console.log(
  JSON.stringify({
    perSecond: Math.round((sorted.length / elapsedMs) * 1_000),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    statuses: Object.fromEntries(statuses),
  }),
);
agent.destroy();
