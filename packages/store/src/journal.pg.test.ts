// Goal: JR1, JR2, and RL1, RL2: a story, and lists of people, as they are read. Method: a real Postgres,
// one database a test; an owner's writes made by hand.
import { RECIPIENT_STATES } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JournalEvent } from "./journal.ts";
import type { LedgerSets } from "./ledger-rows.ts";
import type { RecipientsState } from "./recipients-of.ts";
import type { Store } from "./store.ts";
import {
  acceptItem,
  directTo,
  HOME,
  idsIn,
  newId,
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

const ID = newId();
const eventOf = (
  epoch: number,
  seq: number,
  more: Partial<Record<"index" | "atMs", number>> = {},
) =>
  [
    5,
    epoch,
    ID,
    more.index ?? 3,
    more.atMs ?? 1_790_000_000_123,
    seq,
    "outcome",
    "noDevice",
    '{"n":1}',
  ] satisfies JournalEvent;
const story = (store: Store, limitCount = 100) =>
  store.journal.storyOf({ home: HOME, partition: 5, index: 3, notificationId: ID }, limitCount);

test("JR1 — events come back as they were told; a batch that is written again changes nothing", async () => {
  const { store, sql } = await postgres.newDatabase();
  const bare: JournalEvent = [5, 1, ID, 3, 1_790_000_000_999, 2, 'odd "kind", {}', null, null];
  await store.journal.append(HOME, "w1", [eventOf(1, 1), bare]);
  await store.journal.append(HOME, "w1", [eventOf(1, 1, { atMs: 7 }), bare, eventOf(1, 3)]);
  expect(await story(store)).toEqual([
    {
      atMs: 1_790_000_000_123,
      node: "w1",
      epoch: 1,
      kind: "outcome",
      code: "noDevice",
      detail: { n: 1 },
    },
    {
      atMs: 1_790_000_000_999,
      node: "w1",
      epoch: 1,
      kind: 'odd "kind", {}',
      code: null,
      detail: null,
    },
    expect.objectContaining({ epoch: 1, kind: "outcome" }),
  ]);
  await store.journal.append(HOME, "w1", []);
  expect(await sql`select count(*)::int as count from attempt`).toEqual([{ count: 3 }]);
});

test("JR2 — a story is in the order of its owners and their counts, whatever their clocks said", async () => {
  const { store } = await postgres.newDatabase();
  await store.journal.append(HOME, "w2", [eventOf(2, 1, { atMs: 1_000 })]);
  await store.journal.append(HOME, "w1", [
    eventOf(1, 8, { atMs: 9_000 }),
    eventOf(1, 7, { atMs: 9_500 }),
    eventOf(1, 6, { index: 4 }), // another recipient
  ]);
  expect((await story(store)).map(({ node, atMs }) => [node, atMs])).toEqual([
    ["w1", 9_500],
    ["w1", 9_000],
    ["w2", 1_000],
  ]);
  expect((await story(store, 1)).map(({ atMs }) => atMs)).toEqual([9_500]);
});

/** As the owner of the notification's rows, in their order. */
async function write(store: Store, id: string, sets: readonly LedgerSets[]): Promise<void> {
  const partitions = Array.from({ length: 256 }, (_, n) => n);
  await store.leases.acquire({ home: HOME, memberId: "w1", partitions, leaseMs: 60_000 });
  const leases = await store.leases.list(HOME);
  const epochs = new Map(leases.map(({ partition, epoch }) => [partition, epoch]));
  const rows = (await store.ledger.readUnclosedRows(HOME, partitions)).filter(
    ({ notificationId }) => notificationId === id,
  );
  const updates = sets.flatMap((one, at) => {
    const row = rows[at];
    return row === undefined
      ? []
      : [{ ...row, epoch: epochs.get(row.partition) ?? 0, state: "open" as const, sets: one }];
  });
  const { fencedPartitions } = await store.ledger.writeRows(HOME, updates);
  expect(fencedPartitions).toEqual([]);
}
const bits = (...members: number[]): number[] => [...Bitset.of(members).toBytes()];

async function pagesOf(
  store: Store,
  notificationId: string,
  state: RecipientsState,
  limit = 1_000,
): Promise<string[][]> {
  const pages: string[][] = [];
  let after: Awaited<ReturnType<Store["notifications"]["recipientsIn"]>>["next"] = null;
  do {
    const query = { home: HOME, tenantId: TENANT, notificationId, state, after, limit };
    const page = await store.notifications.recipientsIn(query);
    pages.push([...page.recipientIds]);
    after = page.next;
  } while (after !== null);
  return pages;
}

test("RL1 — every count's people can be listed, and who is pending, of small and of large rows", async () => {
  const { store } = await postgres.newDatabase();
  const [first, second] = [idsIn(1, 3), idsIn(2, 4)];
  await register(store, [...first, ...second]);
  const item = acceptItem(directTo(...first, ...second));
  await store.notifications.accept(HOME, [item]);
  const { id } = item.notification;
  await write(store, id, [
    setsOf({ deliveredSocket: bits(0), unacked: bits(2), read: bits(0, 2) }),
    setsOf({ failed: bits(3) }),
  ]);
  const found = await Promise.all(
    RECIPIENT_STATES.map(async (state) => [state, (await pagesOf(store, id, state)).flat()]),
  );
  const nobody = Object.fromEntries(RECIPIENT_STATES.map((name) => [name, []]));
  expect(Object.fromEntries(found)).toEqual({
    ...nobody,
    targeted: [...first, ...second],
    deliveredSocket: [first[0]],
    unacked: [first[2]],
    read: [first[0], first[2]],
    failed: [second[3]],
    pending: [first[1], ...second.slice(0, 3)],
  });

  const broadcast = acceptItem({ kind: "broadcast" });
  await store.notifications.accept(HOME, [broadcast]);
  const wide = broadcast.notification.id;
  const rowOf = (count: number) =>
    setsOf({ targeted: bits(...Array.from({ length: count }, (_, n) => n)), noDevice: bits(1) });
  await write(store, wide, [setsOf(), rowOf(3), rowOf(4)]);
  expect((await pagesOf(store, wide, "noDevice")).flat()).toEqual([first[1], second[1]]);
  expect(await pagesOf(store, wide, "pending", 2)).toEqual([
    [first[0], first[2]],
    [second[0], second[2]],
    [second[3]],
  ]);
});

test("RL1 — a page ends anywhere in a row, and the next one goes on there: nobody twice, nobody left out", async () => {
  const { store } = await postgres.newDatabase();
  const ids = [...idsIn(1, 40), ...idsIn(9, 7), ...idsIn(200, 33)];
  await register(store, ids);
  const item = acceptItem(directTo(...ids));
  await store.notifications.accept(HOME, [item]);
  for (const limit of [1, 7, 40, 79, 80, 81]) {
    const pages = await pagesOf(store, item.notification.id, "targeted", limit);
    expect(pages.flat()).toEqual(ids);
    for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit);
  }
  const other = { home: HOME, tenantId: "other", notificationId: item.notification.id };
  const page = await store.notifications.recipientsIn({
    ...other,
    state: "targeted",
    after: null,
    limit: 10,
  });
  expect(page).toEqual({ recipientIds: [], next: null });
});

test("RL2 — a recipient's rows name the sets that hold it: by place in a small one, by index in a large one", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [ada = "", ben = ""] = idsIn(1, 2);
  await register(store, [ada, ben]);
  const item = acceptItem(directTo(ben));
  await store.notifications.accept(HOME, [item]);
  const { id } = item.notification;
  const rowsOf = (index: number) =>
    store.notifications.rowsOf({ home: HOME, partition: 1, index, notificationId: id });
  await write(store, id, [setsOf({ noDevice: bits(0), receivedLate: bits(0) })]);
  const sets = ["targeted", "noDevice", "receivedLate"];
  const benRow = { offset: 1, state: "open", targetedCount: 1, sets };
  expect([await rowsOf(0), await rowsOf(1)]).toEqual([[{ ...benRow, sets: [] }], [benRow]]);
  // A second row of the same notification in the partition, as for whom it is put off.
  await sql`
    insert into ledger (home, partition, "offset", notification_id, directory_version, state, targeted)
    values (${HOME}, 1, 2, ${id}, 1, 1, ${Buffer.from(bits(1))})`;
  expect(await rowsOf(1)).toEqual([benRow, { ...benRow, offset: 2, sets: ["targeted"] }]);
  expect((await store.directory.rowOf(HOME, TENANT, ben))?.index).toBe(1);
  expect(await store.directory.rowOf("lon", TENANT, ben)).toBeUndefined();
});
