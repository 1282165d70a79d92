// Goal: D4, ST8–ST12: the ledger, its fence and the leases. Method: a real Postgres; what must wait
// is watched in pg_stat_activity, never slept for.
import { BugError } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LedgerRow } from "./ledger-rows.ts";
import type { Sql } from "./pool.ts";
import type { Store } from "./store.ts";
import {
  acceptItem,
  directTo,
  HOME,
  idsIn,
  register,
  setsOf,
  startTestPostgres,
  TENANT,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const ALL = Array.from({ length: 256 }, (_, n) => n);
const acquire = (store: Store, memberId: string, partitions: number[], leaseMs = 60_000) =>
  store.leases.acquire({ home: HOME, memberId, partitions, leaseMs });
const update = (partition: number, epoch: number, offset: number, more = {}) =>
  ({ partition, epoch, offset, state: "open", sets: setsOf({ read: [1] }), ...more }) as const;
const placeOf = ({ partition, offset }: LedgerRow) => [partition, offset];

async function broadcasts(store: Store, count: number): Promise<void> {
  for (let left = count; left > 0; left--)
    await store.notifications.accept(HOME, [acceptItem({ kind: "broadcast" })]);
}

/** Resolves once `count` statements wait for a lock. */
async function lockWaiters(sql: Sql, count: number): Promise<void> {
  for (;;) {
    const [row] = await sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    if (row!.n === count) return;
  }
}

const isSettled = async (promise: Promise<unknown>) =>
  (await Promise.race([promise.then(() => true), new Promise((r) => setImmediate(r, false))])) ===
  true;

test("D4 — a takeover committed while a stale flush waits: the flush is refused", async () => {
  const { store, sql, openStore } = await postgres.newDatabase();
  await broadcasts(store, 1);
  await acquire(store, "old", [1, 2]);
  const takeover = await sql.reserve();
  await takeover`begin`;
  await takeover`select from partition where home = ${HOME} and n = 1 for update`;
  const flush = openStore().ledger.writeRows(HOME, [update(2, 1, 1), update(1, 1, 1)]);
  await lockWaiters(sql, 1);
  await takeover`update partition set owner_id = 'new', epoch = epoch + 1 where n = 1`;
  await takeover`commit`;
  takeover.release();
  expect(await flush).toEqual({ fencedPartitions: [1] });
  const rows = await store.ledger.readUnclosedRows(HOME, [1, 2]);
  expect(rows.map(({ state, sets }) => [state, [...sets.read]])).toEqual([
    ["planned", []], // refused
    ["open", [1]], // its other partition was written
  ]);
});

test("D4 — a flush in progress delays the takeover, which then sees what it wrote", async () => {
  const { store, sql, openStore } = await postgres.newDatabase();
  await broadcasts(store, 1);
  await acquire(store, "old", [1]);
  await sql`update partition set lease_until = now() - interval '1 s' where n = 1`;
  const flush = await sql.reserve(); // what flushRows does, held open in the middle
  await flush`begin`;
  await flush`select from partition where home = ${HOME} and n = 1 and epoch = 1 for key share`;
  await flush`update ledger set read = '\\x07' where home = ${HOME} and partition = 1`;
  const takeover = acquire(openStore(), "new", [1]);
  await lockWaiters(sql, 1);
  expect(await isSettled(takeover)).toBe(false);
  await flush`commit`;
  flush.release();
  expect(await takeover).toEqual([{ partition: 1, epoch: 2 }]);
  const [row] = await store.ledger.readUnclosedRows(HOME, [1]);
  expect([...row!.sets.read]).toEqual([7]);
  expect(await store.ledger.writeRows(HOME, [update(1, 1, 1)])).toEqual({ fencedPartitions: [1] });
});

test("D4 — accept, directory changes and refreshes do not wait for a flush, nor it for them", async () => {
  const { store, sql } = await postgres.newDatabase();
  await broadcasts(store, 1);
  await acquire(store, "w", ALL);
  const flush = await sql.reserve();
  await flush`begin`;
  await flush`select from partition where home = ${HOME} order by n for key share`;
  await broadcasts(store, 1); // ends while the lock is held
  await register(store, idsIn(1, 1));
  const refreshed = await store.leases.refresh({ home: HOME, memberId: "w", leaseMs: 60_000 });
  expect(refreshed).toHaveLength(256);
  const counter = await sql.reserve();
  await counter`begin`;
  await counter`select from partition where home = ${HOME} order by n for no key update`;
  expect(await store.ledger.writeRows(HOME, [update(1, 1, 1)])).toEqual({ fencedPartitions: [] });
  await flush`rollback`;
  await counter`rollback`;
  flush.release();
  counter.release();
});

test("D4 — after a release nothing of the last owner gets in, and the release waits for it", async () => {
  const { store } = await postgres.newDatabase();
  await broadcasts(store, 1);
  await acquire(store, "a", [3, 4]);
  await store.leases.release({ home: HOME, memberId: "b", partitions: [3] }); // not b's
  expect(await store.ledger.writeRows(HOME, [update(3, 1, 1)])).toEqual({ fencedPartitions: [] });
  await store.leases.release({ home: HOME, memberId: "a", partitions: [3] });
  expect(await store.ledger.writeRows(HOME, [update(3, 1, 1), update(4, 1, 1)])).toEqual({
    fencedPartitions: [3],
  });
  expect((await store.leases.list(HOME)).slice(2, 5)).toEqual([
    { partition: 2, ownerId: null, epoch: 0, isExpired: true, isReleased: true },
    { partition: 3, ownerId: null, epoch: 1, isExpired: true, isReleased: true },
    { partition: 4, ownerId: "a", epoch: 1, isExpired: false, isReleased: false },
  ]);
});

test("D4 — of 6 members that want all 256 partitions at once, each partition goes to one", async () => {
  const { openStore, store } = await postgres.newDatabase();
  const pool = openStore({ poolMax: 6 });
  const members = Array.from({ length: 6 }, (_, n) => `m${n}`);
  const taken = await Promise.all(
    members.map((memberId, n) => acquire(pool, memberId, n % 2 === 0 ? ALL : ALL.toReversed())),
  );
  expect(
    taken
      .flat()
      .map(({ partition }) => partition)
      .toSorted((left, right) => left - right),
  ).toEqual(ALL);
  expect((await store.leases.list(HOME)).map(({ epoch }) => epoch)).toEqual(ALL.map(() => 1));
});

test("ST11, ST12 — refresh extends what is held; an expired lease comes back with a higher epoch", async () => {
  const { store, sql } = await postgres.newDatabase();
  await acquire(store, "a", [1, 2, 3], 5_000);
  await acquire(store, "b", [4]);
  await sql`update partition set lease_until = clock_timestamp() where n = 2`;
  const refresh = () => store.leases.refresh({ home: HOME, memberId: "a", leaseMs: 60_000 });
  const byPartition = (leases: { partition: number }[]) =>
    leases.toSorted((left, right) => left.partition - right.partition);
  expect(byPartition(await refresh())).toEqual([
    { partition: 1, epoch: 1 },
    { partition: 3, epoch: 1 },
  ]);
  const [{ left }] = (await sql`select extract(epoch from lease_until - clock_timestamp())::float8
    as left from partition where n = 1`) as unknown as [{ left: number }];
  expect(Math.ceil(left / 10)).toBe(6);
  expect(await acquire(store, "a", [1, 2, 4])).toEqual([{ partition: 2, epoch: 2 }]);
  expect(byPartition(await refresh())).toEqual([
    { partition: 1, epoch: 1 },
    { partition: 2, epoch: 2 },
    { partition: 3, epoch: 1 },
  ]);
});

test("ST12 — a lease that runs out while its refresh waits for a lock is not refreshed", async () => {
  const { store, sql, openStore } = await postgres.newDatabase();
  await acquire(store, "a", [1, 2]);
  const accept = await sql.reserve();
  await accept`begin`;
  await accept`select from partition where home = ${HOME} and n = 1 for no key update`;
  const refresh = openStore().leases.refresh({ home: HOME, memberId: "a", leaseMs: 60_000 });
  await lockWaiters(sql, 1);
  await accept`update partition set lease_until = clock_timestamp() where n = 1`; // by now
  await accept`commit`;
  accept.release();
  expect(await refresh).toEqual([{ partition: 2, epoch: 1 }]);
});

test("ST8 — a flush that names a row that is not there, or two epochs, is a bug", async () => {
  const { store } = await postgres.newDatabase();
  await broadcasts(store, 1);
  await acquire(store, "a", [1]);
  await expect(store.ledger.writeRows(HOME, [update(1, 1, 2)])).rejects.toThrow(BugError);
  await expect(store.ledger.writeRows(HOME, [update(1, 1, 1), update(1, 2, 1)])).rejects.toThrow(
    "D4",
  );
  expect(await store.ledger.writeRows(HOME, [])).toEqual({ fencedPartitions: [] });
});

test("ST8 — every set and the state come back as they were flushed", async () => {
  const { store } = await postgres.newDatabase();
  await broadcasts(store, 2);
  await acquire(store, "a", ALL);
  const sets = setsOf({
    targeted: [255, 0, 128],
    deliveredSocket: [1],
    noDevice: [2],
    unacked: [4],
    expired: [8],
    failed: [16],
    receivedLate: [32],
    read: [64],
    acknowledged: [0, 1],
  });
  await store.ledger.writeRows(
    HOME,
    ALL.map((partition) => update(partition, 1, 2, { state: "closed", sets })),
  );
  const unclosed = await store.ledger.readUnclosedRows(HOME, ALL);
  expect(unclosed.map(placeOf)).toEqual(ALL.map((partition) => [partition, 1]));
  const rows = await store.ledger.readRows(HOME, 200, { afterOffset: 1, limitCount: 5 });
  expect(rows).toMatchObject([{ partition: 200, offset: 2, state: "closed", sets }]);
});

test("ST9 — tails and rows: newest of each partition, ascending, limited", async () => {
  const { store } = await postgres.newDatabase();
  await broadcasts(store, 5);
  const tails = await store.ledger.readTails(HOME, [7, 3], 2);
  expect(tails.map(placeOf)).toEqual([
    [3, 4],
    [3, 5],
    [7, 4],
    [7, 5],
  ]);
  const rows = await store.ledger.readRows(HOME, 3, { afterOffset: 1, limitCount: 2 });
  expect(rows.map(placeOf)).toEqual([
    [3, 2],
    [3, 3],
  ]);
  expect(await store.ledger.readTails(HOME, ALL, 3)).toHaveLength(768);
});

test("W2 — one recipient's tail reads arrays and bitsets, leaves planned rows out, and has an end", async () => {
  const { store } = await postgres.newDatabase();
  const ids = idsIn(5, 40);
  await register(store, ids);
  const audiences = [
    directTo(ids[39]!),
    directTo(ids[1]!),
    directTo(ids[39]!, ids[1]!),
    directTo(...ids),
    directTo(...ids.slice(0, 39)), // a bitset too short for 39
  ];
  for (const audience of audiences) await store.notifications.accept(HOME, [acceptItem(audience)]);
  await broadcasts(store, 1); // planned
  const tail = async (index: number, afterOffset: number, more = {}) => {
    const options = { index, afterOffset, limitCount: 100, scanMax: 100, ...more };
    const result = await store.ledger.readTailOf(HOME, 5, options);
    return result.kind === "rows" ? result.rows.map(({ offset }) => offset) : result.kind;
  };
  expect(await tail(39, 0)).toEqual([1, 3, 4]);
  expect(await tail(39, 3)).toEqual([4]);
  expect(await tail(1, 1, { limitCount: 2 })).toEqual([2, 3]);
  expect(await tail(9_999, 0)).toEqual([]);
  expect(await tail(39, 0, { scanMax: 6 })).toEqual([1, 3, 4]);
  expect(await tail(39, 0, { scanMax: 5 })).toBe("tooFar");
  expect(await tail(39, 6)).toEqual([]);
});

test("ST10 — directory pages end between versions, and the stream holds everybody once", async () => {
  const { store } = await postgres.newDatabase();
  const ids = idsIn(8, 12);
  for (const batch of [ids.slice(0, 5), ids.slice(5, 6), ids.slice(6)])
    await register(store, batch);
  const page = async (afterVersion: number, limitCount: number) =>
    (await store.ledger.readDirectory(HOME, 8, { afterVersion, limitCount })).map(
      ({ index, version }) => [index, version],
    );
  expect(await page(0, 2)).toEqual([0, 1, 2, 3, 4].map((index) => [index, 1]));
  expect(await page(1, 1)).toEqual([[5, 2]]);
  expect(await page(1, 2)).toEqual([[5, 2], ...[6, 7, 8, 9, 10, 11].map((index) => [index, 3])]);
  expect(await page(3, 10)).toEqual([]);
  const everybody = Array.from({ length: 11_000 }, (_, n) => `employee-${n}`);
  await register(store, everybody);
  const seen: string[] = [];
  let pageCount = 0;
  await store.ledger.streamDirectory(HOME, ALL, (rows) => {
    pageCount++;
    seen.push(...rows.map(({ row }) => row.recipientId));
  });
  expect(pageCount).toBe(3);
  expect(seen.toSorted()).toEqual([...ids, ...everybody].toSorted());
  const some: unknown[] = [];
  await store.ledger.streamDirectory(HOME, [8], (rows) => some.push(...rows));
  expect(some[0]).toEqual({
    partition: 8,
    row: {
      index: 0,
      tenantId: TENANT,
      recipientId: ids[0],
      locale: null,
      timeZone: null,
      preferences: null,
      attributes: {},
      groups: [],
      version: 1,
    },
  });
  expect(new Set(some.map((entry) => (entry as { partition: number }).partition))).toEqual(
    new Set([8]),
  );
});
