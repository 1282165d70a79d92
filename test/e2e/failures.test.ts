// test/e2e/failures.test.ts
// What must hold when things die: kill -9 of a node and of a nats-server, a region cut off.
import type { NotificationStatus } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";
import type { InboxLog } from "./inbox-log.ts";

const REGIONS = ["fra", "lon", "par"];
let system: TestCluster;
const api = (region: string) => system.api(region);
const connect = (recipientId: string, region: string, issuer = region) =>
  system.connect(recipientId, { region, issuer });
const people = async (prefix: string) => {
  const ids = REGIONS.map((region) => `${prefix}-${region}`);
  for (const [at, id] of ids.entries()) await api(REGIONS[at]!).register(id, REGIONS[at]!);
  // Everybody is known in every region: who is not could not be told from nobody during the cut.
  for (const region of REGIONS)
    for (const id of ids)
      await until(`${region} knows ${id}`, 20_000, async () => {
        const { status } = await api(region).call("GET", `/v1/recipients/${id}`);
        return status === 200 || undefined;
      });
  return ids;
};
/** Everybody delivered exactly once: the outcomes add up to the audience, and no outcome twice. */
const deliveredOnce = ({ counts }: NotificationStatus, targeted: number): void => {
  expect(counts).toMatchObject({
    targeted,
    deliveredSocket: targeted,
    noDevice: 0,
    unacked: 0,
    expired: 0,
    failed: 0,
    pending: 0,
  });
};
const onceInOrder = (log: InboxLog, titles: string[]): void => {
  const offsets = log.seen.map(({ offset }) => offset);
  expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
  expect(log.titles.toSorted()).toEqual(titles.toSorted());
};

beforeAll(async () => {
  system = await startTestCluster(REGIONS);
});
afterAll(() => system?.stop());

test("D1, D2 — kill -9 of a region's process between accept and delivery: all arrive, once", async () => {
  const ids = await people("kill-node");
  // Their sockets are in other regions than the one that is killed, but one.
  const logs = [
    await connect(ids[0]!, "lon", "par"),
    await connect(ids[1]!, "par", "par"),
    await connect(ids[2]!, "fra", "par"),
  ];
  const audience = { recipients: ids };
  const titles: string[] = [];
  const posted: string[] = [];
  const post = async (region: string, title: string) => {
    titles.push(title);
    posted.push(await api(region).post(audience, title));
  };
  await post("fra", "before");
  await api("par").finished(posted[0]!);
  await post("fra", "accepted, then killed 1");
  await post("fra", "accepted, then killed 2");
  system.cluster.killNode("fra", "SIGKILL"); // straight after the 202
  await post("lon", "while it is dead");
  for (const id of posted) deliveredOnce(await api("par").finished(id, 90_000), 3);
  logs.forEach((log) => onceInOrder(log, titles));
});

test("D1, D2 — kill -9 of a region's nats-server: all arrive, once", async () => {
  const ids = await people("kill-nats");
  const logs = await Promise.all(ids.map((id, at) => connect(id, REGIONS[(at + 1) % 3]!)));
  const titles = Array.from({ length: 6 }, (_, n) => `around the kill ${n}`);
  const posted: string[] = [];
  for (const [at, title] of titles.entries()) {
    if (at === 2) system.cluster.killNats("par", "SIGKILL");
    posted.push(await api(REGIONS[at % 3]!).post({ recipients: ids }, title));
  }
  for (const id of posted) deliveredOnce(await api("lon").finished(id, 90_000), 3);
  logs.forEach((log) => onceInOrder(log, titles));
});

test("D5 — a region cut off for 10 s serves its own; what waited arrives after, once", async () => {
  const ids = await people("cut");
  const [fra, lon, par] = [ids[0]!, ids[1]!, ids[2]!];
  const local = await connect(par, "par");
  const abroad = await connect(lon, "par"); // homed in London, connected in the region cut off
  const outside = await connect(fra, "fra");
  await system.cluster.stopNats("par");
  const cutAtMs = performance.now();

  const own = await api("par").post({ recipients: [par] }, "own people");
  await local.has(1, 5_000); // its own people, without its nats-server
  await until("terminal while cut off", 10_000, async () => {
    const status = await api("par").status(own);
    return status.counts.deliveredSocket === 1 || undefined;
  });
  const out = await api("par").post({ recipients: [fra, lon, par] }, "from inside");
  const into = await api("fra").post({ recipients: [fra, lon, par] }, "from outside");
  await outside.has(1, 5_000);
  expect(outside.titles).toEqual(["from outside"]); // and the rest waits
  await new Promise((resolve) =>
    setTimeout(resolve, Math.max(0, 10_000 - (performance.now() - cutAtMs))),
  );
  await system.cluster.startNats("par");
  const healedAtMs = performance.now();
  await Promise.all([local.has(3, 60_000), abroad.has(2, 60_000), outside.has(2, 60_000)]);
  const healMs = performance.now() - healedAtMs;
  expect(healMs).toBeLessThan(10_000); // D5
  for (const id of [out, into]) deliveredOnce(await api("lon").finished(id), 3);
  onceInOrder(local, ["own people", "from inside", "from outside"]);
  onceInOrder(abroad, ["from inside", "from outside"]);
  onceInOrder(outside, ["from outside", "from inside"]);
});
