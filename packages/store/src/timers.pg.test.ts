// Goal: TM1–TM4, D4, HM6: durable timers. Method: a real Postgres, one database a test; due times are
// compared with that database's clock only.
import { LIMITS } from "@carillon/contracts";
import { BugError } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sql } from "./pool.ts";
import type { Store } from "./store.ts";
import { HOME, startTestPostgres, TENANT, type TestPostgres } from "./test-database.ts";
import { rowsRead } from "./test-reads.ts";
import type { ClaimOptions, TimerChange, TimerDue } from "./timers.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const NOW: TimerDue = { inMs: 0 };
const LATER: TimerDue = { inMs: 3_600_000 };
const acquire = (store: Store, memberId: string, partitions: number[], leaseMs = 60_000) =>
  store.leases.acquire({ home: HOME, memberId, partitions, leaseMs });
const placeOf = (key: string, more: { partition?: number; epoch?: number; kind?: string } = {}) =>
  ({ partition: 1, epoch: 1, kind: "k", key, ...more }) as const;
const set = (key: string, due: TimerDue, more = {}): TimerChange => ({
  ...placeOf(key),
  change: "set",
  tenantId: TENANT,
  due,
  payload: { of: key },
  ...more,
});
const claim = (store: Store, more: Partial<ClaimOptions> = {}) =>
  store.timers.claim(HOME, {
    held: [{ partition: 1, epoch: 1 }],
    kinds: ["k"],
    exceptIds: [],
    limitCount: 100,
    mayBeDoubtful: true,
    ...more,
  });
const keysOf = ({ timers }: { timers: readonly { key: string }[] }) => timers.map(({ key }) => key);

async function owned() {
  const database = await postgres.newDatabase();
  await acquire(database.store, "w1", [1, 2]);
  return database;
}

test("TM1 — a timer is claimed when it is due by the database's clock, and not before", async () => {
  const { store, sql } = await owned();
  const dueAtMs = Math.ceil(await nowMs(sql)) + 400;
  await store.timers.write(HOME, [set("soon", { atMs: dueAtMs }), set("later", LATER)]);
  const look = async () => ({
    beforeMs: await nowMs(sql),
    claimed: await claim(store),
    afterMs: await nowMs(sql),
  });
  const misses: Awaited<ReturnType<typeof look>>[] = [];
  let hit = await look();
  for (; hit.claimed.timers.length === 0; hit = await look()) misses.push(hit);
  expect(misses.length).toBeGreaterThan(0);
  expect(misses.filter(({ beforeMs }) => beforeMs >= dueAtMs)).toEqual([]);
  const isTold = ({ beforeMs, claimed: { nextInMs } }: (typeof misses)[number]): boolean =>
    nextInMs !== null && nextInMs > 0 && nextInMs <= dueAtMs - beforeMs;
  expect(misses.filter((miss) => !isTold(miss))).toEqual([]);

  expect(hit.afterMs).toBeGreaterThanOrEqual(dueAtMs);
  const timer = hit.claimed.timers[0]!;
  expect(timer).toMatchObject({ key: "soon", tenantId: TENANT, payload: { of: "soon" } });
  expect(timer.lateMs).toBeGreaterThanOrEqual(0);
  expect(timer.lateMs).toBeLessThanOrEqual(hit.afterMs - dueAtMs);
  expect(hit.claimed.nextInMs).toBeGreaterThan(3_590_000);
});

async function nowMs(sql: Sql): Promise<number> {
  const [row] = await sql<{ ms: number }[]>`
    select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`;
  return row!.ms;
}

test("TM2 — it is claimed until it is done, each time counted; not while it is fired already", async () => {
  const { store } = await owned();
  await store.timers.write(HOME, [set("a", NOW)]);
  const [first] = (await claim(store)).timers;
  expect(first!.attemptCount).toBe(1);
  expect(await claim(store, { exceptIds: [first!.id] })).toEqual({
    timers: [],
    isMore: false,
    nextInMs: null,
    fencedPartitions: [],
  });
  const [again] = (await claim(store)).timers; // whoever claimed it is gone
  expect(again).toMatchObject({ id: first!.id, attemptCount: 2 });
  await store.timers.write(HOME, [{ ...placeOf("a"), change: "done", id: first!.id }]);
  expect(keysOf(await claim(store))).toEqual([]);
});

test("TM2 — put off after a failure, it is due again after that time and keeps its count", async () => {
  const { store } = await owned();
  await store.timers.write(HOME, [set("a", NOW)]);
  const { id } = (await claim(store)).timers[0]!;
  await store.timers.write(HOME, [{ ...placeOf("a"), change: "retry", id, inMs: 3_600_000 }]);
  const { timers, nextInMs } = await claim(store);
  expect(timers).toEqual([]);
  expect(nextInMs).toBeGreaterThan(3_590_000);
  await store.timers.write(HOME, [{ ...placeOf("a"), change: "retry", id, inMs: 0 }]);
  expect((await claim(store)).timers).toMatchObject([{ id, attemptCount: 2 }]);
});

test("TM3 — set again it is another one: what was about the one before changes nothing", async () => {
  const { store } = await owned();
  await store.timers.write(HOME, [set("a", NOW), set("b", NOW)]);
  const before = (await claim(store)).timers;
  const idOf = (key: string) => before.find((timer) => timer.key === key)!.id;
  await store.timers.write(HOME, [
    set("a", NOW, { payload: 2 }),
    set("b", NOW, { payload: ["3"] }),
  ]);
  await store.timers.write(HOME, [
    { ...placeOf("a"), change: "done", id: idOf("a") },
    { ...placeOf("b"), change: "bury", id: idOf("b"), reason: "old" },
  ]);
  const after = await claim(store, { exceptIds: before.map(({ id }) => id) });
  expect(after.timers).toMatchObject([
    { key: "a", payload: 2, attemptCount: 1 },
    { key: "b", payload: ["3"], attemptCount: 1 },
  ]);
  await store.timers.write(HOME, [
    { ...placeOf("a"), change: "cancel" },
    { ...placeOf("never set"), change: "cancel" },
  ]);
  expect(keysOf(await claim(store))).toEqual(["b"]);
});

test("TM3 — one key in two partitions and two kinds is four timers; unknown kinds are left alone", async () => {
  const { store } = await owned();
  const places = [1, 2].flatMap((partition) => ["k", "other"].map((kind) => ({ partition, kind })));
  await store.timers.write(
    HOME,
    places.map((place) => set("a", NOW, place)),
  );
  const held = [1, 2].map((partition) => ({ partition, epoch: 1 }));
  expect((await claim(store, { held })).timers).toMatchObject([
    { partition: 1, kind: "k" },
    { partition: 2, kind: "k" },
  ]);
  expect((await claim(store, { held, kinds: ["other"] })).timers).toMatchObject([
    { partition: 1, kind: "other", attemptCount: 1 },
    { partition: 2, kind: "other", attemptCount: 1 },
  ]);
});

test("TM3 — two settings of one key end in one write: what is about each changes it alone", async () => {
  const { store } = await owned();
  const ids: number[] = [];
  for (const payload of [1, 2]) {
    await store.timers.write(HOME, [set("a", NOW, { payload }), set("b", NOW, { payload })]);
    ids.push(...(await claim(store)).timers.map(({ id }) => id));
  }
  const [firstOfA, firstOfB, lastOfA, lastOfB] = ids;
  await store.timers.write(HOME, [
    { ...placeOf("a"), change: "done", id: lastOfA! },
    { ...placeOf("a"), change: "retry", id: firstOfA!, inMs: 0 },
    { ...placeOf("b"), change: "done", id: firstOfB! },
    { ...placeOf("b"), change: "retry", id: lastOfB!, inMs: 0 },
  ]);
  expect((await claim(store)).timers).toMatchObject([{ key: "b", id: lastOfB, payload: 2 }]);
});

test("TM3 — a setting twice in one write, or too large a payload, is a bug", async () => {
  const { store } = await owned();
  const done = { ...placeOf("a"), change: "done", id: 1 } as const;
  const cancel = { ...placeOf("a"), change: "cancel" } as const;
  for (const twice of [
    [set("a", NOW), cancel],
    [done, done],
    [done, set("a", NOW)],
    [cancel, done],
  ])
    await expect(store.timers.write(HOME, twice)).rejects.toBeInstanceOf(BugError);
  const payload = "x".repeat(LIMITS.timerPayloadMaxCharacters);
  await expect(store.timers.write(HOME, [set("a", NOW, { payload })])).rejects.toBeInstanceOf(
    BugError,
  );
});

test("TM4 — a buried timer is claimed no more and keeps why; set again it lives", async () => {
  const { store, sql } = await owned();
  await store.timers.write(HOME, [set("a", NOW)]);
  const { id } = (await claim(store)).timers[0]!;
  const reason = "r".repeat(500);
  await store.timers.write(HOME, [{ ...placeOf("a"), change: "bury", id, reason }]);
  expect(await claim(store)).toMatchObject({ timers: [], nextInMs: null });
  const [row] = await sql`select buried_reason, buried_at is not null as is from timer`;
  expect(row).toEqual({ buried_reason: "r".repeat(200), is: true });
  await store.timers.write(HOME, [set("a", NOW)]);
  expect((await claim(store)).timers).toMatchObject([{ key: "a", attemptCount: 1 }]);
});

/** Rows of the table that index scans went to. */
async function heapFetches(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select idx_tup_fetch::int as count from pg_stat_user_tables where relname = 'timer'`;
  return row!.count;
}

const lostOf = ({ timers }: { timers: readonly { key: string; lostCount: number }[] }) =>
  timers.map(({ key, lostCount }) => `${key} ${lostCount}`);
/** Each owner claims what it gets at once, and tells no end of it. */
const epochOf = (epoch: number) => ({ held: [{ partition: 1, epoch }] });
async function nextOwner({ store, sql }: { store: Store; sql: Sql }) {
  await sql`update partition set lease_until = now() - interval '1 s' where n = 1`;
  const [lease] = await acquire(store, "w2", [1]);
  return epochOf(lease!.epoch);
}

test("TM5 — of what died with its owner the next one gets 16 at a time, and what died with those alone", async () => {
  const database = await owned();
  const { store } = database;
  const keys = Array.from({ length: 20 }, (_, n) => `t${n}`);
  await store.timers.write(
    HOME,
    keys.map((key, n) => set(key, { inMs: n - 60_000 })),
  );
  expect(keysOf(await claim(store))).toEqual(keys);
  const second = await nextOwner(database);
  await store.timers.write(HOME, [set("new", NOW, second.held[0])]);
  const counted = await claim(store, second);
  expect([keysOf(counted), counted.isMore]).toEqual([["new"], true]);
  const group = await claim(store, second);
  expect(lostOf(group)).toEqual([...keys.slice(0, 16).map((key) => `${key} 1`), "new 0"]);
  const exceptIds = group.timers.map(({ id }) => id);
  expect(keysOf(await claim(store, { ...second, exceptIds, mayBeDoubtful: false }))).toEqual([]);

  const third = await nextOwner(database);
  await claim(store, third); // counts
  const alone = await claim(store, third);
  expect(lostOf(alone)).toEqual(["t0 2"]);
  await store.timers.write(HOME, [
    { ...placeOf("t0", third.held[0]), change: "done", id: alone.timers[0]!.id },
  ]);
  expect(lostOf(await claim(store, third))).toEqual(["t1 2"]);
});

test("TM5 — a told end forgives; a claim whose owner lives, or went in good order, is not lost", async () => {
  const database = await owned();
  const { store } = database;
  await store.timers.write(HOME, [set("failed", NOW), set("left", NOW), set("anew", NOW)]);
  await claim(store);
  const again = await claim(store); // its answer was lost
  expect(lostOf(again)).toEqual(["failed 0", "left 0", "anew 0"]);
  const idOf = (key: string) => again.timers.find((timer) => timer.key === key)!.id;
  await store.timers.write(HOME, [
    { ...placeOf("left"), change: "unclaim", id: idOf("left") },
    { ...placeOf("failed"), change: "retry", id: idOf("failed"), inMs: 0 },
  ]);
  const second = await nextOwner(database);
  const place = second.held[0]!;
  expect(lostOf(await claim(store, second))).toEqual(["left 0", "failed 0"]);
  expect(lostOf(await claim(store, second))).toEqual(["left 0", "anew 1", "failed 0"]);
  await store.timers.write(HOME, [
    set("left", LATER, place),
    set("anew", NOW, place),
    { ...placeOf("failed", place), change: "retry", id: idOf("failed"), inMs: 0 },
  ]);
  const third = await nextOwner(database);
  expect((await claim(store, third)).timers).toMatchObject([
    { key: "anew", attemptCount: 1, failureCount: 0, lostCount: 0 },
    { key: "failed", attemptCount: 5, failureCount: 2, lostCount: 0 },
  ]);
});

test("TM1 — the soonest due come first, over all partitions, and no more than asked for", async () => {
  const { store } = await owned();
  const at = (minutes: number): TimerDue => ({ inMs: -minutes * 60_000 });
  await store.timers.write(HOME, [
    set("third", at(1)),
    set("first", at(3)),
    set("second", at(2), { partition: 2 }),
  ]);
  const held = [2, 1].map((partition) => ({ partition, epoch: 1 }));
  const claimed = await claim(store, { held, limitCount: 2 });
  expect(keysOf(claimed)).toEqual(["first", "second"]);
  expect(claimed.isMore).toBe(true);
  const exceptIds = claimed.timers.map(({ id }) => id);
  expect(keysOf(await claim(store, { held, limitCount: 2, exceptIds }))).toEqual(["third"]);
});

test("TM6 — due timers of kinds that are not asked for are not read, however many", async () => {
  const { store, ...database } = await owned();
  const keys = Array.from({ length: 900 }, (_, n) => `t${n}`);
  await store.timers.write(
    HOME,
    keys.map((key) => set(key, { inMs: -60_000 }, { kind: "unknown" })),
  );
  await store.timers.write(HOME, [set("a", NOW)]);
  let claimed: string[] = [];
  const readCount = await rowsRead({ store, ...database }, "timer", async (other) => {
    claimed = keysOf(await claim(other));
  });
  expect(claimed).toEqual(["a"]);
  expect(readCount).toBeLessThanOrEqual(10);
});

test("TM6 — due timers of withheld tenants are passed by in the index, without their rows", async () => {
  const { sql, store, openStore } = await owned();
  const keys = Array.from({ length: 900 }, (_, n) => `t${n}`);
  await store.timers.write(
    HOME,
    keys.map((key) => set(key, { inMs: -60_000 }, { tenantId: "strict" })),
  );
  for (;;) {
    await sql`vacuum timer`; // as autovacuum does it in the end
    const [table] = await sql`
      select relallvisible = relpages as "isDone" from pg_class where relname = 'timer'`;
    if (table!.isDone) break; // the test's server commits before its log is on disk
  }
  await store.close(); // a connection that ends tells what it has counted
  const fetchedBefore = await heapFetches(sql);
  const other = openStore();
  other.ledger.withhold(["strict"]);
  expect(keysOf(await claim(other))).toEqual([]);
  await other.close();
  expect((await heapFetches(sql)) - fetchedBefore).toBeLessThanOrEqual(10);
});

test("TM1 — of many partitions a few of each are taken at a time, and that there are more is told", async () => {
  const { store } = await postgres.newDatabase();
  const all = Array.from({ length: 256 }, (_, partition) => partition);
  const held = await acquire(store, "w1", all);
  const keys = Array.from({ length: 40 }, (_, n) => `old${n}`);
  await store.timers.write(HOME, [
    ...keys.map((key, n) => set(key, { inMs: n - 60_000 })),
    set("young", NOW, { partition: 2 }),
  ]);
  const first = await claim(store, { held });
  expect(keysOf(first)).toEqual([...keys.slice(0, 16), "young"]);
  expect(first.isMore).toBe(true);
  const exceptIds = first.timers.map(({ id }) => id);
  const second = await claim(store, { held, exceptIds });
  expect(keysOf(second)).toEqual(keys.slice(16, 32));
  exceptIds.push(...second.timers.map(({ id }) => id));
  const last = await claim(store, { held, exceptIds });
  expect([keysOf(last), last.isMore]).toEqual([keys.slice(32), false]);
});

test("D4 — a second owner claims and changes nothing, and is told so", async () => {
  const { store } = await owned();
  await store.timers.write(HOME, [set("a", NOW), set("b", NOW, { partition: 2 })]);
  await store.leases.release({ home: HOME, memberId: "w1", partitions: [1] });
  const held = [1, 2].map((partition) => ({ partition, epoch: 1 }));
  const released = await claim(store, { held });
  expect(keysOf(released)).toEqual(["b"]);
  expect(released.fencedPartitions).toEqual([1]);
  await acquire(store, "w2", [1]);
  expect((await claim(store, { held })).fencedPartitions).toEqual([1]);
  const written = await store.timers.write(HOME, [
    { ...placeOf("a"), change: "cancel" },
    set("c", NOW),
    { ...placeOf("b", { partition: 2 }), change: "cancel" },
  ]);
  expect(written).toEqual({ fencedPartitions: [1] });
  const now = [
    { partition: 1, epoch: 2 },
    { partition: 2, epoch: 1 },
  ];
  expect((await claim(store, { held: now })).timers).toMatchObject([
    { key: "a", attemptCount: 1 }, // not counted by who was refused
  ]);
});

test("D4 — a takeover committed while a stale claim waits: nothing is claimed", async () => {
  const { store, sql, openStore } = await owned();
  await store.timers.write(HOME, [set("a", NOW)]);
  const takeover = await sql.reserve();
  await takeover`begin`;
  await takeover`select from partition where home = ${HOME} and n = 1 for update`;
  const stale = claim(openStore());
  for (;;) {
    const [row] = await sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    if (row!.n === 1) break;
  }
  await takeover`update partition set owner_id = 'w2', epoch = epoch + 1 where n = 1`;
  await takeover`commit`;
  takeover.release();
  expect(await stale).toMatchObject({ timers: [], fencedPartitions: [1] });
  const next = await claim(store, { held: [{ partition: 1, epoch: 2 }] });
  expect(next.timers).toMatchObject([{ key: "a", attemptCount: 1 }]);
});

test("HM6 — timers of withheld tenants wait, and fire when the tenant may be served", async () => {
  const { store } = await owned();
  await store.timers.write(HOME, [set("a", NOW), set("b", NOW, { tenantId: "strict" })]);
  store.ledger.withhold(["strict"]);
  expect(await claim(store)).toMatchObject({ timers: [{ key: "a" }], nextInMs: null });
  store.ledger.withhold([]);
  expect(keysOf(await claim(store))).toEqual(["a", "b"]);
});
