// The link between two regions is cut while all within them goes on (C22, D5): NATS gateways talk
// through proxies that the test cuts, for a minute.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdminNode } from "@carillon/contracts";
import { type NatsServer, startNatsServer } from "@carillon/local";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";
import type { InboxLog } from "./inbox-log.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

const REGIONS = ["fra", "lon"] as const;
const CUT_MS = 60_000;
const HEAL_MAX_MS = 10_000;
const folder = mkdtempSync(join(tmpdir(), "carillon-cut-"));
const proxies = new Map<string, TcpProxy>();
const servers: NatsServer[] = [];
let system: TestCluster;
const api = (region: string) => system.api(region);

/** The cluster's own servers again, each region's gateway to be reached through its proxy only. */
async function startProxiedNats(): Promise<void> {
  const texts = new Map(
    REGIONS.map((region) => [
      region,
      readFileSync(join(system.dataFolder, "nats", region, "nats.conf"), "utf8"),
    ]),
  );
  const portOf = (text: string): number =>
    Number(/gateway \{[^}]*?\n\s*port: (\d+)/u.exec(text)?.[1] ?? Number.NaN);
  for (const [region, text] of texts) proxies.set(region, await startTcpProxy(portOf(text)));
  await Promise.all(REGIONS.map((region) => system.cluster.stopNats(region)));
  for (const [region, text] of texts) {
    let configText = text.replace(
      /(gateway \{[^}]*?\n(\s*)port: \d+)/u,
      `$1\n$2advertise: "127.0.0.1:${proxies.get(region)!.port}"`,
    );
    for (const [other, proxy] of proxies)
      configText = configText.replaceAll(
        `127.0.0.1:${portOf(texts.get(other as "fra")!)}"`,
        `127.0.0.1:${proxy.port}"`,
      );
    servers.push(await startNatsServer({ folder, name: region, configText }));
  }
}

const statesSeenFrom = async (region: string): Promise<Map<string, string>> => {
  const path = join(system.dataFolder, "dev-state.json");
  const { operatorKey } = JSON.parse(readFileSync(path, "utf8")) as { operatorKey: string };
  const answer = await fetch(`${system.cluster.region(region).ingestUrl}/v1/admin/nodes`, {
    headers: { authorization: `Bearer ${operatorKey}` },
  });
  const { nodes } = (await answer.json()) as { nodes: AdminNode[] };
  return new Map(nodes.map((node) => [node.region, node.state ?? ""]));
};
const regionSeen = (from: string, of: string, state: string, limitMs: number) =>
  until(`${from} sees ${of} ${state}`, limitMs, async () =>
    (await statesSeenFrom(from)).get(of) === state ? true : undefined,
  );

beforeAll(async () => {
  system = await startTestCluster(REGIONS);
  await startProxiedNats();
  await regionSeen("fra", "lon", "alive", 60_000);
  await regionSeen("lon", "fra", "alive", 60_000);
});
afterAll(async () => {
  await system?.stop();
  await Promise.all(servers.map((server) => server.stop()));
  await Promise.all([...proxies.values()].map((proxy) => proxy.close()));
  rmSync(folder, { recursive: true, force: true });
});

test("C22, D5 — a region link cut for 60 s: each serves its own; what waited arrives within 10 s, in order, once", async () => {
  const people = { fra: "cut-ada", lon: "cut-bob" };
  // Its home's arbiter may be the other region: the gateways have to have found each other.
  for (const region of REGIONS)
    await until(`${people[region]} is registered`, 60_000, async () => {
      await api(region).register(people[region], region);
      return true;
    });
  for (const region of REGIONS)
    for (const id of Object.values(people))
      await until(`${region} knows ${id}`, 30_000, async () => {
        const { status } = await api(region).call("GET", `/v1/recipients/${id}`);
        return status === 200 || undefined;
      });
  const ada = await system.connect(people.fra, { region: "fra" });
  const bob = await system.connect(people.lon, { region: "lon" });
  const first = await api("lon").post({ recipients: [people.fra, people.lon] }, "before");
  await api("lon").finished(first);

  for (const proxy of proxies.values()) proxy.cut();
  const cutAtMs = performance.now();
  const posted: string[] = [];
  const ownDelaysMs: number[] = [];
  let round = 0;
  /** Both regions post to both people, one after the other: each sender's order is known. */
  const postRound = async (): Promise<void> => {
    const n = round++;
    for (const [region, own] of [
      ["fra", ada],
      ["lon", bob],
    ] as const) {
      const title = `${region} ${n}`;
      const sentAtMs = performance.now();
      posted.push(await api(region).post({ recipients: Object.values(people) }, title));
      await shows(own, title, 5_000);
      ownDelaysMs.push(performance.now() - sentAtMs);
    }
  };
  while (performance.now() - cutAtMs < CUT_MS) {
    await postRound();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  expect(ada.titles.filter((title) => title.startsWith("lon"))).toEqual([]); // it was cut
  expect(bob.titles.filter((title) => title.startsWith("fra"))).toEqual([]);
  await regionSeen("fra", "lon", "suspect", 5_000);
  const waitingCount = round;

  for (const proxy of proxies.values()) proxy.heal();
  const healedAtMs = performance.now();
  for (const [log, sender] of [
    [ada, "lon"],
    [bob, "fra"],
  ] as const)
    await shows(log, `${sender} ${waitingCount - 1}`, 60_000);
  const healMs = performance.now() - healedAtMs;
  const worstOwnMs = Math.round(Math.max(...ownDelaysMs));
  console.log(
    `C22: ${waitingCount} of each sender arrived ${Math.round(healMs)} ms after healing; ` +
      `own people during the cut: worst ${worstOwnMs} ms`,
  );
  expect(healMs).toBeLessThanOrEqual(HEAL_MAX_MS);
  await postRound(); // the way is open again
  for (const id of posted) {
    const { counts } = await api("lon").finished(id);
    expect(counts).toMatchObject({ targeted: 2, deliveredSocket: 2, pending: 0 });
  }
  for (const log of [ada, bob]) {
    for (const sender of REGIONS)
      expect(log.titles.filter((title) => title.startsWith(`${sender} `))).toEqual(
        Array.from({ length: round }, (_, n) => `${sender} ${n}`),
      );
    const offsets = log.seen.map(({ offset }) => offset);
    expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
  }
  await regionSeen("fra", "lon", "alive", 10_000); // the same incarnation, nobody began anew
});

const shows = (log: InboxLog, title: string, limitMs: number): Promise<true> =>
  until(`${title} is shown`, limitMs, () => (log.titles.includes(title) ? true : undefined));
