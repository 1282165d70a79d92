// Goal: D7 on the real parts: what one recipient or one notification does delays nobody else by more than 50 ms.
// Method: a region of two real nodes; people of one partition are posted to one by one, 50 a second, in quiet, beside
// the trouble, and in quiet again. A handler that never ends is in processes.test.ts.
import { setTimeout as delay } from "node:timers/promises";
import { type Counts, partitionOf, zeroCounts } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RegionApi, until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";
import { InboxLog } from "./inbox-log.ts";
import { type Delay, delayOf, Neighbours } from "./neighbours.ts";

const TENANT = "demo";
const DELAY_MAX_MS = 50; // D7
const QUIET_MS = 3_000;
const NEIGHBOURS_COUNT = 8;
const FLOOD_COUNT = 1_500;
const FLOOD_EVERY_MS = 10;
const FLOOD_PER_GO = 3; // 300 a second
let system: TestCluster;
/** All of one partition. */
let names: string[];
const api = (): RegionApi => system.api("fra");

beforeAll(async () => {
  const preload = new URL("poison-notification.ts", import.meta.url).href;
  system = await startTestCluster(["fra"], {
    NODE_OPTIONS: `--import=${preload}`,
    CARILLON_NODE_SESSION_GRACE_MS: "5000",
    CARILLON_NODE_ACK_MAX_MS: "2000",
    CARILLON_NODE_RESEND_MAX: "1",
  });
  const partition = partitionOf(TENANT, "neighbour-0");
  names = Array.from({ length: 40_000 }, (_, n) => `neighbour-${n}`)
    .filter((id) => partitionOf(TENANT, id) === partition)
    .slice(0, 100);
  await api().importLines(names.map((recipientId) => JSON.stringify({ recipientId })).join("\n"));
});
afterAll(() => system?.stop());

async function newNeighbours(): Promise<Neighbours> {
  const people = names.splice(0, NEIGHBOURS_COUNT);
  return new Neighbours(
    api(),
    await Promise.all(
      people.map(async (id) => ({ id, log: await system.connect(id, { region: "fra" }) })),
    ),
  );
}

/** Between two quiet phases. Once more if it was slow: a machine that has other work for a moment is not the cause. */
async function expectNeighboursUndelayed(
  what: string,
  trouble: () => Promise<unknown>,
): Promise<void> {
  const neighbours = await newNeighbours();
  const measure = async (): Promise<Delay> => {
    await neighbours.latenciesDuring(delay(1_000)); // of connections that are new, or rows that are still open
    const before = await neighbours.latenciesDuring(delay(QUIET_MS));
    const beside = await neighbours.latenciesDuring(trouble());
    await delay(1_000);
    const after = await neighbours.latenciesDuring(delay(QUIET_MS));
    return delayOf(what, { quiet: [...before, ...after], beside });
  };
  const first = await measure();
  const isHeld = Math.max(first.p50Ms, first.p95Ms) < DELAY_MAX_MS;
  const { text, p50Ms, p95Ms } = isHeld ? first : await measure();
  expect(p50Ms, text).toBeLessThan(DELAY_MAX_MS);
  expect(p95Ms, text).toBeLessThan(DELAY_MAX_MS);
  const titles = neighbours.logs.flatMap((log) => log.titles);
  const { postedCount } = neighbours;
  expect([titles.length, new Set(titles).size]).toEqual([postedCount, postedCount]); // D1, D2
  for (const log of neighbours.logs) {
    const offsets = log.seen.map(({ offset }) => offset);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b)); // D3
  }
}

test("D7, D1, D2 — a notification that crashes every process that handles it fails for those it was for, once, and delays nobody", async () => {
  const connected = names.splice(0, 10);
  const logs = await Promise.all(connected.map((id) => system.connect(id, { region: "fra" })));
  const victims = [...connected, ...names.splice(0, 20)]; // and some without a session
  const ids: string[] = [];
  await expectNeighboursUndelayed("a poison notification for 30 of the partition", async () => {
    for (let n = 0; n < 3; n++) {
      ids.push(await api().post({ recipients: victims }, "poison", { category: "poison" }));
      await delay(2_000);
    }
  });
  for (const id of ids) {
    const { counts } = await api().finished(id);
    expect(counts).toMatchObject({ targeted: 30, failed: 30, pending: 0, deliveredSocket: 0 });
  }
  const healthy = await api().finished(await api().post({ recipients: victims }, "healthy"));
  expect(healthy.counts).toMatchObject({ deliveredSocket: 10, noDevice: 20, failed: 0 });
  for (const log of logs) expect(log.titles).toEqual(["healthy"]);
});

test("D7, D1, D2 — hundreds of posts a second to somebody who acks: all arrive once, and nobody else waits", async () => {
  const victim = names.splice(0, 1)[0]!;
  const log = await system.connect(victim, { region: "fra" });
  const flood = { victim, ids: [] as string[] };
  await expectNeighboursUndelayed("a flood to one who acks", () => post(flood));
  await log.has(flood.ids.length, 60_000);
  expect([log.seen.length, new Set(log.seen.map(({ id }) => id))]).toEqual([
    flood.ids.length,
    new Set(flood.ids),
  ]);
  expect(await sumOf(flood.ids)).toMatchObject({ deliveredSocket: flood.ids.length });
});

test("D7, D1, D2 — hundreds of posts a second to somebody who is away: all end once, and nobody else waits", async () => {
  const victim = names.splice(0, 1)[0]!;
  const log = await system.connect(victim, { region: "fra" });
  log.close(); // its session may come back for 5 s
  const flood = { victim, ids: [] as string[] };
  await expectNeighboursUndelayed("a flood to one who is away", () => post(flood));
  expect(await sumOf(flood.ids)).toMatchObject({ noDevice: flood.ids.length });
});

test("D7, D1, D2 — hundreds of posts a second to somebody who never acks: all end once, and nobody else waits", async () => {
  const victim = names.splice(0, 1)[0]!;
  const log = new InboxLog(system.socketUrl("fra"), () => api().token(victim), withoutAcks);
  await log.live();
  const flood = { victim, ids: [] as string[], more: { ttlSeconds: 20 } };
  await expectNeighboursUndelayed("a flood to one who never acks", () => post(flood));
  const { unacked, expired } = await sumOf(flood.ids);
  log.close();
  expect(unacked + expired).toBe(flood.ids.length);
  expect(unacked).toBeGreaterThanOrEqual(64); // what he was sent (ADR 0028)
});

async function post(flood: {
  readonly victim: string;
  readonly ids: string[];
  readonly more?: object;
}): Promise<void> {
  const startedAtMs = performance.now();
  const posts: Promise<string>[] = [];
  for (let n = 0; n < FLOOD_COUNT; n++) {
    posts.push(api().post({ recipients: [flood.victim] }, `flood ${n}`, flood.more));
    if (n % FLOOD_PER_GO === 0) await delay(FLOOD_EVERY_MS);
  }
  flood.ids.push(...(await Promise.all(posts)));
  const perSecond = (FLOOD_COUNT * 1_000) / (performance.now() - startedAtMs);
  console.info(`${Math.round(perSecond)} posts a second to ${flood.victim}`);
}

/** From the ledger, once all of them are finished: each was for one, and has one outcome. */
async function sumOf(ids: readonly string[]): Promise<Counts> {
  const scope = { home: "fra", tenantId: TENANT };
  const all = await until("all have ended", 90_000, async () => {
    const progress = await system.store("fra").notifications.countsOf(scope, ids);
    const open = [...progress.values()].filter(({ state }) => state !== "finished");
    if (open.length > 0) throw new Error(`${open.length} are open`);
    return [...progress.values()].map(({ counts }) => counts);
  });
  const outcomes = ["deliveredSocket", "noDevice", "unacked", "expired", "failed"] as const;
  for (const counts of all) {
    const endedCount = outcomes.reduce((sum, name) => sum + counts[name], 0);
    expect([counts.targeted, endedCount]).toEqual([1, 1]);
  }
  const sum = zeroCounts();
  for (const counts of all)
    for (const name of Object.keys(sum) as (keyof Counts)[]) sum[name] += counts[name];
  return sum;
}

/** A client whose acks get lost, and nothing else. */
function withoutAcks(url: string, protocols: string[]): WebSocket {
  const socket = new WebSocket(url, protocols);
  const send = socket.send.bind(socket);
  socket.send = (text) => {
    const isAck = typeof text === "string" && (JSON.parse(text) as unknown[])[3] === "ack";
    if (!isAck) send(text);
  };
  return socket;
}
