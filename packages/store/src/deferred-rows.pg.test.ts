// packages/store/src/deferred-rows.pg.test.ts
// Goal: ST33, ST34: rows that come later are in one place at a time. Method: a real Postgres; how many
// there are is asked of the tables.
import type { DeferredPayload, RegionAudience } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Release } from "./deferred-rows.ts";
import type { LedgerUpdate } from "./ledger-flush.ts";
import {
  acceptItem,
  directTo,
  HOME,
  idsIn,
  notificationFor,
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

const P = 7;
const LATER_MS = Date.now() + 3_600_000;
type Database = Awaited<ReturnType<TestPostgres["newDatabase"]>>;

async function acquired({ store }: Database, memberId = "fra-w1") {
  const [held] = await store.leases.acquire({
    home: HOME,
    memberId,
    partitions: [P],
    leaseMs: 60_000,
  });
  if (held === undefined) throw new Error("the partition is free");
  return { partition: held.partition, epoch: held.epoch };
}

async function waiting({ sql }: Database) {
  return [
    ...(await sql<{ id: number; key: string; due: number; payload: DeferredPayload }[]>`
      select id, key, (extract(epoch from due_at) * 1000)::float8 as due, payload from timer
      order by partition, id`),
  ];
}

function scheduled(audience: RegionAudience, sendAtMs = LATER_MS) {
  return acceptItem(audience, { notification: notificationFor({ sendAtMs }) });
}

async function released(database: Database, more: Partial<Release> = {}) {
  const held = await acquired(database);
  const [timer] = await waiting(database);
  if (timer === undefined) throw new Error("nothing waits");
  const { notificationId, members = [] } = timer.payload;
  const release: Release = {
    ...held,
    timerId: timer.id,
    notificationId,
    members: { kind: "members", members },
    ...more,
  };
  return { release, first: await database.store.ledger.releaseRows(HOME, [release]) };
}

test("ST34 — what is sent later gets no offset when it is accepted: it waits as a timer", async () => {
  const database = await postgres.newDatabase();
  const { store } = database;
  const ids = idsIn(P, 40);
  await register(store, ids);
  const few = scheduled(directTo(ids[2]!, ids[0]!));
  const many = scheduled(directTo(...ids.slice(0, 33)));
  const results = await store.notifications.accept(HOME, [
    few,
    many,
    acceptItem(directTo(ids[1]!)),
  ]);
  expect(results.map((one) => one.kind === "accepted" && one.ledgerEntries.length)).toEqual([
    0, 0, 1,
  ]);
  const set = Buffer.from(Bitset.of(Array.from({ length: 33 }, (_, i) => i)).toBytes());
  expect((await waiting(database)).map(({ key, due, payload }) => ({ key, due, payload }))).toEqual(
    [
      {
        key: `${few.notification.id}/`,
        due: LATER_MS,
        payload: {
          reason: "sendAt",
          count: 2,
          members: [0, 2],
          notificationId: few.notification.id,
        },
      },
      {
        key: `${many.notification.id}/`,
        due: LATER_MS,
        payload: {
          reason: "sendAt",
          count: 33,
          set: set.toString("base64"),
          notificationId: many.notification.id,
        },
      },
    ],
  );
  const details = await store.notifications.get(TENANT, few.notification.id);
  expect(details?.notification).toEqual(few.notification);
  expect((await store.ledger.readHeads(HOME, [P]))[0]?.nextOffset).toBe(2);
  const counts = await store.notifications.countsOf({ home: HOME, tenantId: TENANT }, [
    few.notification.id,
    many.notification.id,
  ]);
  expect(counts.get(few.notification.id)).toMatchObject({
    state: "scheduled",
    counts: { targeted: 2, deferred: 2 },
  });
  expect(counts.get(many.notification.id)?.counts.targeted).toBe(33);
});

test("ST34 — a broadcast that is sent later waits once per partition", async () => {
  const database = await postgres.newDatabase();
  const item = scheduled({ kind: "broadcast" });
  await database.store.notifications.accept(HOME, [item]);
  const all = await waiting(database);
  expect(all.length).toBe(256);
  expect(new Set(all.map(({ payload }) => JSON.stringify(payload))).size).toBe(1);
  expect(all[0]?.payload).toEqual({
    reason: "sendAt",
    count: 0,
    notificationId: item.notification.id,
  });
  const [relayed] = await database.store.notifications.acceptRelayed(HOME, [
    { notification: notificationFor({ sendAtMs: LATER_MS }), audience: { kind: "broadcast" } },
  ]);
  expect(relayed).toEqual({ kind: "accepted", ledgerEntries: [] });
  expect((await waiting(database)).length).toBe(512);
});

test("ST34 — a release that is repeated gives one row, at the next offset", async () => {
  const database = await postgres.newDatabase();
  const { store } = database;
  const ids = idsIn(P, 3);
  await register(store, ids);
  const item = scheduled(directTo(ids[2]!, ids[0]!));
  await store.notifications.accept(HOME, [item, acceptItem(directTo(ids[1]!))]);
  const { release, first } = await released(database);
  const entry = { partition: P, offset: 2, directoryVersion: 1, members: [0, 2] };
  expect(first).toEqual({
    entries: [{ ...entry, timerId: release.timerId, notificationId: item.notification.id }],
    fencedPartitions: [],
  });
  expect(await store.ledger.releaseRows(HOME, [release])).toEqual({
    entries: [],
    fencedPartitions: [],
  });
  const rows = await store.ledger.readRows(HOME, P, { afterOffset: 1, limitCount: 9 });
  expect(rows).toEqual([
    {
      ...entry,
      notificationId: item.notification.id,
      state: "open",
      movesCount: 0,
      sets: setsOf(),
    },
  ]);
  expect(await waiting(database)).toEqual([]);
  expect((await store.ledger.readHeads(HOME, [P]))[0]?.nextOffset).toBe(3);
});

test("D4 — an owner of before releases nothing", async () => {
  const database = await postgres.newDatabase();
  const { store, sql } = database;
  const ids = idsIn(P, 1);
  await register(store, ids);
  await store.notifications.accept(HOME, [scheduled(directTo(ids[0]!))]);
  const held = await acquired(database);
  await sql`update partition set lease_until = now() - interval '1 s'`;
  await acquired(database, "fra-w2");
  const [timer] = await waiting(database);
  const release = {
    ...held,
    timerId: timer!.id,
    notificationId: timer!.payload.notificationId,
    members: { kind: "members", members: [0] },
  } as const;
  expect(await store.ledger.releaseRows(HOME, [release])).toEqual({
    entries: [],
    fencedPartitions: [P],
  });
  expect((await waiting(database)).length).toBe(1);
});

test("ST34 — of 16 releases at once, beside accepts, each row comes once and no offset is lost", async () => {
  const database = await postgres.newDatabase();
  const { store } = database;
  const ids = idsIn(P, 4);
  await register(store, ids);
  const items = Array.from({ length: 16 }, () => scheduled(directTo(ids[0]!)));
  await store.notifications.accept(HOME, items);
  const held = await acquired(database);
  const releases = (await waiting(database)).map(({ id, payload }) => ({
    ...held,
    timerId: id,
    notificationId: payload.notificationId,
    members: { kind: "members", members: payload.members ?? [] } as const,
  }));
  await Promise.all([
    ...releases.flatMap((one) => [
      store.ledger.releaseRows(HOME, [one]),
      store.ledger.releaseRows(HOME, [one]),
    ]),
    ...releases.map(() => store.notifications.accept(HOME, [acceptItem(directTo(ids[1]!))])),
  ]);
  const rows = await store.ledger.readRows(HOME, P, { afterOffset: 0, limitCount: 99 });
  expect(rows.map(({ offset }) => offset)).toEqual(Array.from({ length: 32 }, (_, i) => i + 1));
  const mine = rows.filter(({ members }) => members?.[0] === 0).map((row) => row.notificationId);
  expect(mine.toSorted()).toEqual(items.map(({ notification }) => notification.id).toSorted());
});

test("ST33 — who is put off leaves his row and waits, once, however often the write is repeated", async () => {
  const database = await postgres.newDatabase();
  const { store } = database;
  const ids = idsIn(P, 3);
  await register(store, ids);
  const item = acceptItem(directTo(...ids));
  await store.notifications.accept(HOME, [item]);
  const held = await acquired(database);
  const update: LedgerUpdate = {
    ...held,
    offset: 1,
    state: "open",
    sets: setsOf({ moved: [0b101], deliveredSocket: [0b010] }),
    moves: {
      count: 1,
      rows: [
        { untilMs: LATER_MS, reason: "ownQuietHours", members: { kind: "members", members: [0] } },
        {
          untilMs: LATER_MS + 1,
          reason: "ownQuietHours",
          members: { kind: "members", members: [2] },
        },
      ],
    },
  };
  await Promise.all([
    store.ledger.writeRows(HOME, [update]),
    store.ledger.writeRows(HOME, [update]),
  ]);
  await store.ledger.writeRows(HOME, [update]);
  const { id } = item.notification;
  expect((await waiting(database)).map(({ key, due, payload }) => ({ key, due, payload }))).toEqual(
    [
      {
        key: `${id}/1.1.0`,
        due: LATER_MS,
        payload: { reason: "ownQuietHours", count: 1, members: [0], notificationId: id },
      },
      {
        key: `${id}/1.1.1`,
        due: LATER_MS + 1,
        payload: { reason: "ownQuietHours", count: 1, members: [2], notificationId: id },
      },
    ],
  );
  const [row] = await store.ledger.readRows(HOME, P, { afterOffset: 0, limitCount: 9 });
  expect(row?.movesCount).toBe(1);
  const place = { home: HOME, partition: P };
  const tail = { afterOffset: 0, limitCount: 9, scanMax: 99 };
  const seen = await Promise.all(
    [0, 1].map(async (index) => {
      const read = await store.ledger.readTailOf(HOME, P, { ...tail, index });
      const page = await store.notifications.inboxOf(
        { ...place, index },
        { limit: 9, beforeOffset: null },
      );
      return [read.kind === "rows" && read.rows.length, page.items.length];
    }),
  );
  expect(seen).toEqual([
    [0, 0],
    [1, 1],
  ]);
  // Everybody is counted once, wherever he is.
  const scope = { home: HOME, tenantId: TENANT };
  const before = (await store.notifications.countsOf(scope, [id])).get(id);
  expect(before).toMatchObject({
    state: "delivering",
    counts: { targeted: 3, deliveredSocket: 1, deferred: 2 },
  });
  await store.ledger.writeRows(HOME, [{ ...update, state: "closed" }]);
  const [timer] = await waiting(database);
  const members = { kind: "members", members: [0] } as const;
  await store.ledger.releaseRows(HOME, [
    { ...held, timerId: timer!.id, notificationId: id, members },
  ]);
  const after = (await store.notifications.countsOf(scope, [id])).get(id);
  expect(after).toMatchObject({
    state: "delivering",
    counts: { targeted: 3, deliveredSocket: 1, deferred: 1 },
  });
  // A later write that moves nobody leaves the count alone.
  const { moves: _, ...plain } = update;
  await store.ledger.writeRows(HOME, [plain]);
  const [again] = await store.ledger.readRows(HOME, P, { afterOffset: 0, limitCount: 1 });
  expect(again?.movesCount).toBe(1);
});
