// Goal: ST44, lists of people while they wait and move. Method: a real Postgres; an owner's own statements move
// people between pages, and the lists are compared with the status' counts. States of rows: journal.pg.test.ts.
import { COUNT_NAMES, RECIPIENT_STATES, type RegionAudience } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RecipientsCursor, RecipientsState } from "./recipients-of.ts";
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
  type TestDatabase,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const P = 7;
const LATER_MS = Date.now() + 3_600_000;
const bits = (...members: number[]): number[] => [...Bitset.of(members).toBytes()];

async function pageOf(
  { store }: TestDatabase,
  notificationId: string,
  state: RecipientsState,
  options: { after?: RecipientsCursor | null; limit?: number } = {},
) {
  const { after = null, limit = 1_000 } = options;
  const query = { home: HOME, tenantId: TENANT, notificationId, state, after, limit };
  return await store.notifications.recipientsIn(query);
}

/** Accepted, with an owner of the partition. */
async function posted(audience: (ids: string[]) => RegionAudience, sendAtMs?: number) {
  const database = await postgres.newDatabase();
  const { store } = database;
  const ids = idsIn(P, 40);
  await register(store, ids);
  const notification = notificationFor(sendAtMs === undefined ? {} : { sendAtMs });
  const item = acceptItem(audience(ids), { notification });
  await store.notifications.accept(HOME, [item]);
  const [held] = await store.leases.acquire({
    ...{ home: HOME, memberId: "w", partitions: [P], leaseMs: 60_000 },
  });
  return { database, ids, id: notification.id, held: held! };
}
type Posted = Awaited<ReturnType<typeof posted>>;

/** Puts off those of the row at `offset`; `rest`: bits of its other sets. */
async function putOff(
  { database, held }: Posted,
  offset: number,
  members: readonly number[],
  rest: Parameters<typeof setsOf>[0] = {},
): Promise<void> {
  const moved = { untilMs: LATER_MS, reason: "paused" as const };
  await database.store.ledger.writeRows(HOME, [
    {
      ...held,
      offset,
      state: "open",
      sets: setsOf({ moved: bits(...members), ...rest }),
      moves: { count: 1, rows: [{ ...moved, members: { kind: "members", members } }] },
    },
  ]);
}

async function releaseAll({ database: { store, sql }, held }: Posted): Promise<void> {
  const timers = await sql<{ id: number; notification_id: string; members: number[] }[]>`
    select id, notification_id, payload -> 'members' as members from timer order by id`;
  const releases = timers.map(({ id, notification_id: notificationId, members }) => ({
    ...{ ...held, timerId: id, notificationId },
    members: { kind: "members" as const, members },
  }));
  await store.ledger.releaseRows(HOME, releases);
}

/** Of each state the people in it; and that they are as many as are counted. */
async function listed({ database, id }: Posted) {
  const scope = { home: HOME, tenantId: TENANT };
  const counts = (await database.store.notifications.countsOf(scope, [id])).get(id)?.counts;
  const lists: Partial<Record<RecipientsState, readonly string[]>> = {};
  for (const state of RECIPIENT_STATES) {
    const { recipientIds } = await pageOf(database, id, state);
    if (recipientIds.length > 0) lists[state] = recipientIds;
  }
  for (const name of COUNT_NAMES)
    expect([name, lists[name]?.length ?? 0]).toEqual([name, counts?.[name]]);
  return lists;
}

test("ST44 — what is sent later is listed as deferred, targeted and pending, as it is counted", async () => {
  for (const count of [3, 40]) {
    // by number, and as a set
    const one = await posted((ids) => directTo(...ids.slice(0, count)), LATER_MS);
    const all = one.ids.slice(0, count);
    expect(await listed(one)).toEqual({ targeted: all, pending: all, deferred: all });
  }
  const everybody = await posted(() => ({ kind: "broadcast" }), LATER_MS);
  expect(await listed(everybody)).toEqual({}); // whom it comes to is not known before
});

test("ST44 — of one row some are delivered, some put off, some in hand: each is where he is, and is counted once", async () => {
  const one = await posted((ids) => directTo(...ids.slice(0, 5)));
  const [a, b, c, d, e] = one.ids;
  await putOff(one, 1, [1, 3], { deliveredSocket: bits(0), read: bits(0) });
  const others = { deliveredSocket: [a], read: [a] };
  expect(await listed(one)).toEqual({
    ...{ ...others, targeted: [a, b, c, d, e], pending: [b, c, d, e], deferred: [b, d] },
  });
  await releaseAll(one); // they are in a row of their own
  expect(await listed(one)).toEqual({
    ...{ ...others, targeted: [a, b, c, d, e], pending: [b, c, d, e] },
  });
  await one.database.store.ledger.writeRows(HOME, [
    { ...one.held, offset: 2, state: "open", sets: setsOf({ expired: bits(1) }) },
  ]);
  expect(await listed(one)).toEqual({
    ...{ ...others, targeted: [a, b, c, d, e], pending: [b, c, e], expired: [d] },
  });
});

test("ST44 — people who move while pages are read are in one page each, whoever moves where", async () => {
  for (const limit of [1, 2, 3, 7]) {
    const one = await posted((ids) => directTo(...ids.slice(0, 8)));
    const all = one.ids.slice(0, 8);
    const moves = [
      () => putOff(one, 1, [0, 7]), // who was listed, and who will be
      () => releaseAll(one), // to offset 2
      () => putOff(one, 2, [0, 7], { moved: bits(0, 1) }), // by place among the members
      () => releaseAll(one), // to offset 3
    ];
    const seen: string[] = [];
    let after: RecipientsCursor | null = null;
    do {
      const page = await pageOf(one.database, one.id, "pending", { after, limit });
      seen.push(...page.recipientIds);
      after = page.next;
      await moves.shift()?.();
    } while (after !== null);
    expect(seen).toEqual(all);
  }
});

test("ST44 — pages go through partitions that hold rows, that hold who waits, and both; more than one read holds", async () => {
  const database = await postgres.newDatabase();
  const { store } = database;
  const partitions = Array.from({ length: 40 }, (_, n) => n * 6);
  const ids = partitions.flatMap((partition) => idsIn(partition, 2));
  await register(store, ids);
  const notification = notificationFor({ sendAtMs: LATER_MS });
  await store.notifications.accept(HOME, [acceptItem(directTo(...ids), { notification })]);
  const leases = await store.leases.acquire({
    ...{ home: HOME, memberId: "w", partitions, leaseMs: 60_000 },
  });
  const timers = await database.sql<{ id: number; partition: number }[]>`
    select id, partition::int from timer order by partition`;
  const epochOf = new Map(leases.map(({ partition, epoch }) => [partition, epoch]));
  await store.ledger.releaseRows(
    HOME,
    timers
      .filter((_, at) => at % 3 > 0)
      .map(({ id, partition }) => ({
        ...{ partition, epoch: epochOf.get(partition)!, timerId: id },
        ...{ notificationId: notification.id, members: { kind: "members", members: [0, 1] } },
      })),
  );
  for (const limit of [1, 16, 31, 79, 80, 81]) {
    const seen: string[][] = [];
    let after: RecipientsCursor | null = null;
    do {
      const page = await pageOf(database, notification.id, "targeted", { after, limit });
      seen.push([...page.recipientIds]);
      after = page.next;
    } while (after !== null);
    expect(seen.flat()).toEqual(ids);
    for (const page of seen.slice(0, -1)) expect(page).toHaveLength(limit);
  }
});
