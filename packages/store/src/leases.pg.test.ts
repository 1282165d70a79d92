// Goal: C17. Method: a real Postgres; members whose own clocks are off by an hour, triggers that count
// what a statement does, and rows compared as a whole. Locks and waiting: ledger.pg.test.ts (D4).
import { type Clock, systemClock } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LedgerUpdate } from "./ledger-flush.ts";
import type { Sql } from "./pool.ts";
import type { Store } from "./store.ts";
import {
  acceptItem,
  HOME,
  setsOf,
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const LEASE_MS = 10_000;
const ALL = Array.from({ length: 256 }, (_, n) => n);
const QUARANTINE_TIMES = { firstMs: 300_000, maxMs: 300_000 };
const acquire = (store: Store, memberId: string, partitions: number[], leaseMs = LEASE_MS) =>
  store.leases.acquire({ home: HOME, memberId, partitions, leaseMs });
const refresh = (store: Store, memberId: string) =>
  store.leases.refresh({ home: HOME, memberId, leaseMs: LEASE_MS });

/** As a member's machine shows it whose clock was set wrongly. */
const clockOff = (byMs: number): Clock => ({
  ...systemClock,
  wallClockMs: () => systemClock.wallClockMs() + byMs,
});

async function databaseMs(sql: Sql): Promise<number> {
  const [row] = await sql<{ ms: number }[]>`
    select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`;
  return row!.ms;
}

async function leaseUntilMs(sql: Sql, partition: number): Promise<number> {
  const [row] = await sql<{ ms: number }[]>`
    select (extract(epoch from lease_until) * 1000)::float8 as ms
    from partition where home = ${HOME} and n = ${partition}`;
  return row!.ms;
}

/** Its lease is over now, and nobody has it. */
const runOut = (sql: Sql, partitions: readonly number[]) => sql`
  update partition set lease_until = clock_timestamp() where n = any(${[...partitions]}::int[])`;

test("C17, ST11 — a lease is 10 s of the database's clock, for members whose clocks are off by an hour either way", async () => {
  const { openStore, sql } = await postgres.newDatabase();
  const ahead = openStore({ clock: clockOff(3_600_000) });
  const behind = openStore({ clock: clockOff(-3_600_000) });
  for (const [partition, store] of [ahead, behind].entries()) {
    for (const begin of [
      () => acquire(store, `m${partition}`, [partition]),
      () => refresh(store, `m${partition}`),
    ]) {
      const beforeMs = await databaseMs(sql);
      expect(await begin()).toEqual([{ partition, epoch: 1 }]);
      const afterMs = await databaseMs(sql);
      const untilMs = await leaseUntilMs(sql, partition);
      expect(untilMs).toBeGreaterThanOrEqual(beforeMs + LEASE_MS);
      expect(untilMs).toBeLessThanOrEqual(afterMs + LEASE_MS);
    }
  }
  // Nobody gets it a moment before, and everybody sees the same of it.
  await acquire(ahead, "short", [7], 1_500);
  const untilMs = await leaseUntilMs(sql, 7);
  let taken: { partition: number; epoch: number }[] = [];
  while (taken.length === 0) {
    const askedAtMs = await databaseMs(sql);
    const { isExpired } = (await behind.leases.list(HOME))[7]!;
    const told = isExpired ? (await databaseMs(sql)) >= untilMs : askedAtMs < untilMs;
    expect(told).toBe(true);
    taken = await acquire(behind, "next", [7]);
  }
  expect(taken).toEqual([{ partition: 7, epoch: 2 }]);
  expect((await leaseUntilMs(sql, 7)) - LEASE_MS).toBeGreaterThanOrEqual(untilMs);
  expect(await refresh(ahead, "short")).toEqual([]);
});

test("C17 — one refresh of 256 leases is one statement over 256 rows, and touches nobody else's", async () => {
  const { store, sql } = await postgres.newDatabase();
  await acquire(store, "a", ALL.slice(0, 250), 60_000);
  await acquire(store, "b", ALL.slice(250));
  await sql.unsafe(`
    create table noted (owners text[], rows_count int);
    create function note() returns trigger language plpgsql as $$ begin
      insert into noted select array_agg(distinct owner_id), count(*) from changed;
      return null;
    end $$;
    create trigger note after update on partition referencing new table as changed
      for each statement execute function note();`);
  expect(await refresh(store, "a")).toHaveLength(250);
  expect(await refresh(store, "b")).toHaveLength(6);
  const noted = await sql`select owners, rows_count as count from noted`;
  expect([...noted]).toEqual([
    { owners: ["a"], count: 250 },
    { owners: ["b"], count: 6 },
  ]);
});

test("C17 — the epoch grows with every taking, by whomever and after whatever, and with nothing else", async () => {
  const { store, sql } = await postgres.newDatabase();
  const release = (memberId: string) =>
    store.leases.release({ home: HOME, memberId, partitions: [1] });
  const epoch = async () => (await store.leases.list(HOME))[1]!.epoch;
  expect(await acquire(store, "a", [1])).toEqual([{ partition: 1, epoch: 1 }]);
  for (const memberId of ["a", "b"]) expect(await acquire(store, memberId, [1])).toEqual([]); // held
  await refresh(store, "a");
  expect(await epoch()).toBe(1);
  await runOut(sql, [1]);
  expect(await epoch()).toBe(1);
  expect(await acquire(store, "a", [1])).toEqual([{ partition: 1, epoch: 2 }]); // its own, run out
  await runOut(sql, [1]);
  expect(await acquire(store, "b", [1])).toEqual([{ partition: 1, epoch: 3 }]);
  await release("a"); // not a's
  expect(await acquire(store, "c", [1])).toEqual([]);
  await release("b");
  expect(await epoch()).toBe(3);
  expect(await acquire(store, "b", [1])).toEqual([{ partition: 1, epoch: 4 }]); // given back, and again
});

type OldWrite = (store: Store) => Promise<unknown>;
const flushUnder = (epoch: number, more: Partial<LedgerUpdate>): OldWrite => {
  const sets = setsOf({ targeted: [3], deliveredSocket: [1] });
  const update = { partition: 1, epoch, offset: 1, state: "open", sets, ...more } as const;
  return ({ ledger }) => ledger.writeRows(HOME, [update]);
};
const FENCED = { fencedPartitions: [1] };
/** What an owner writes, as its next one finds it on its way; `epoch`: what it had. */
const OWNERS_WRITES: readonly [string, (epoch: number) => OldWrite, unknown][] = [
  ["who is targeted", (epoch) => flushUnder(epoch, { sets: setsOf({ targeted: [255] }) }), FENCED],
  ["outcomes", (epoch) => flushUnder(epoch, {}), FENCED],
  ["that a row is closed", (epoch) => flushUnder(epoch, { state: "closed" }), FENCED],
  ["a refresh", () => (store) => refresh(store, "old"), []],
  ["a taking", () => (store) => acquire(store, "old", [1]), []],
  [
    "a release",
    () => (store) => store.leases.release({ home: HOME, memberId: "old", partitions: [1] }),
    undefined,
  ],
];

/** All that owners write of a partition. */
const rowsOf = async ({ sql }: TestDatabase) => [
  ...(await sql`select * from partition where n = 1`),
  ...(await sql`select * from ledger where partition = 1`),
];

test.each(OWNERS_WRITES)(
  "C17 — %s, written by the last owner under its old epoch, changes nothing",
  async (_, writeOf, answer) => {
    const database = await postgres.newDatabase();
    const { store, sql } = database;
    await store.notifications.accept(HOME, [acceptItem({ kind: "broadcast" })]);
    await acquire(store, "old", [1]);
    await runOut(sql, [1]);
    await acquire(store, "new", [1]);
    const before = await rowsOf(database);
    expect(await writeOf(1)(store)).toEqual(answer);
    expect(await rowsOf(database)).toEqual(before);
    expect(await flushUnder(2, {})(store)).toEqual({ fencedPartitions: [] }); // it is the epoch
    expect(await rowsOf(database)).not.toEqual(before);
  },
);

test.each(OWNERS_WRITES.slice(0, 3))(
  "C17 — %s, from before a member lost the partition and got it again, or gave it back, changes nothing",
  async (_, writeOf) => {
    const database = await postgres.newDatabase();
    const { store, sql } = database;
    await store.notifications.accept(HOME, [acceptItem({ kind: "broadcast" })]);
    await acquire(store, "old", [1]);
    await runOut(sql, [1]);
    await acquire(store, "old", [1]);
    const before = await rowsOf(database);
    expect(await writeOf(1)(store)).toEqual(FENCED);
    expect(await rowsOf(database)).toEqual(before);
    await store.leases.release({ home: HOME, memberId: "old", partitions: [1] });
    const given = await rowsOf(database);
    expect(await writeOf(2)(store)).toEqual(FENCED);
    expect(await rowsOf(database)).toEqual(given);
  },
);

test("C17, ST21 — what is not fenced, since it is true under any epoch: whose process held a node's thread; it changes no row of an owner", async () => {
  const database = await postgres.newDatabase();
  const { store, sql } = database;
  await acquire(store, "stuck", [1]);
  await runOut(sql, [1]);
  await acquire(store, "new", [1]);
  const before = await rowsOf(database);
  const recipient = { partition: 1, index: 4, reason: "held the thread" };
  await store.quarantine.put(HOME, recipient, QUARANTINE_TIMES); // for its next owner
  expect(await store.ledger.readQuarantined(HOME, [1])).toMatchObject([recipient]);
  expect(await rowsOf(database)).toEqual(before);
});
