// `carillon process` from any region: the owner of a recipient's partition is found wherever its home is.
// Two regions of real processes; one of them with two workers.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type AdminProcesses, partitionOf } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";

const run = promisify(execFile);
const TENANT = "demo";
const REGIONS = ["fra", "lon"];
let system: TestCluster;

beforeAll(async () => {
  system = await startTestCluster(REGIONS);
});
afterAll(() => system?.stop());

/** As an operator calls it, at the API of that region. */
async function operate(
  region: string,
  ...words: string[]
): Promise<{ text: string; code: number }> {
  const main = new URL("../../apps/cli/src/main.ts", import.meta.url).pathname;
  const { ingestUrl } = system.cluster.regions.get(region)!;
  const args = [main, "process", ...words, "--json", "--url", ingestUrl];
  const operatorKey = readFileSync(join(system.dataFolder, "secrets", "operator-key"), "utf8");
  const env = { ...process.env, CARILLON_OPERATOR_KEY: operatorKey.trim() };
  try {
    return { text: (await run(process.execPath, args, { timeout: 30_000, env })).stdout, code: 0 };
  } catch (cause) {
    const { stdout, code } = cause as { stdout: string; code: number };
    return { text: stdout, code };
  }
}

test("O8, RO1 — a recipient's process is inspected and reset from any region, at the worker that owns it", async () => {
  const people = REGIONS.flatMap((home) =>
    Array.from({ length: 4 }, (_, n) => ({ home, id: `anywhere-${home}-${n}` })),
  );
  for (const { home, id } of people) await system.api("fra").register(id, home);
  const second = await system.cluster.addWorker("lon");
  const ownersOf = async (home: string): Promise<Map<number, string>> =>
    new Map(
      (await system.store(home).leases.list(home)).flatMap(({ partition, ownerId, isExpired }) =>
        ownerId !== null && !isExpired ? [[partition, ownerId] as const] : [],
      ),
    );
  await until("the second worker has its share", 30_000, async () => {
    const theirs = [...(await ownersOf("lon")).values()].filter((id) => id === second.memberId);
    return theirs.length >= 100 ? theirs : undefined;
  });
  const met = new Set<string>();
  for (const from of REGIONS)
    for (const { home, id } of people) {
      const partition = partitionOf(TENANT, id);
      const found = await until(`${id} is found from ${from}`, 30_000, async () => {
        const { text, code } = await operate(from, "inspect", `${TENANT}/${id}`);
        const view = JSON.parse(text) as Record<string, unknown>;
        return code === 0 && view["node"] === (await ownersOf(home)).get(partition)
          ? view
          : undefined;
      });
      expect(found).toMatchObject({
        table: `${home}/${partition}`,
        key: `${TENANT}/${id}`,
        phase: "idle",
      });
      met.add(String(found["node"]));
    }
  expect(met.size).toBeGreaterThanOrEqual(2);
  const reset = await operate("fra", "reset", `${TENANT}/anywhere-lon-0`);
  expect([JSON.parse(reset.text), reset.code]).toEqual([
    {
      node: (await ownersOf("lon")).get(partitionOf(TENANT, "anywhere-lon-0")),
      isChanged: false,
    },
    1, // there was nothing to end
  ]);
  const nobody = await operate("lon", "inspect", `${TENANT}/anywhere-nobody`);
  expect([nobody.code, nobody.text]).toEqual([1, expect.stringContaining("404")]);
}, 180_000);

test("O8, GW33 — a live session that is idle is listed when asked, and inspected by its key, from another region", async () => {
  const name = "anywhere-fra-session";
  await system.api("fra").register(name, "fra");
  await system.connect(name, { region: "fra" });
  const { memberId } = (await system.cluster.nodeOf("fra")).ready;
  const sessions = ["--node", memberId, "--table", "gateway.sessions"];
  const list = async (...more: string[]) => {
    const { text, code } = await operate("lon", "list", ...sessions, ...more);
    const { processes, isCut } = JSON.parse(text) as AdminProcesses;
    return {
      code,
      isCut,
      found: processes.filter(({ key }) => key.startsWith(`${TENANT}/${name}#`)),
    };
  };
  const { code, isCut, found } = await list("--all");
  expect([code, isCut, found.map(({ phase }) => phase)]).toEqual([0, false, ["idle"]]);
  expect((await list()).found).toEqual([]); // idle
  const { key, slot } = found[0]!;
  const inspected = await operate("lon", "inspect", key, ...sessions);
  expect([inspected.code, JSON.parse(inspected.text)]).toEqual([
    0,
    expect.objectContaining({
      node: memberId,
      table: "gateway.sessions",
      key,
      slot,
      hasState: true,
    }),
  ]);
  const nobody = await operate("lon", "inspect", `${TENANT}/${name}#0`, ...sessions);
  expect([nobody.code, nobody.text]).toEqual([1, expect.stringContaining("404")]);
  const nowhere = await operate("lon", "list", "--table", "fra/999");
  expect([nowhere.code, nowhere.text]).toEqual([
    1,
    expect.stringContaining("fra/0, lon/0 … to /255"),
  ]);
});
