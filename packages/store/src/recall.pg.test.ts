// packages/store/src/recall.pg.test.ts
// Goal: ST40–ST42. Method: a real Postgres; records told in all orders, and a page of an inbox before and after.
import { type ControlRecord, withdrawalIdOf } from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  acceptItem,
  directTo,
  HOME,
  idsIn,
  newId,
  notificationFor,
  register,
  startTestPostgres,
  TENANT,
  type TestPostgres,
} from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const ID = "00000000-0000-7000-8000-000000000001";
const record = (state: ControlRecord["state"], changedAtMs: number): ControlRecord => ({
  ...{ notificationId: ID, state, changedAtMs, changedIn: "lon" },
});

test("ST40 — told in any order, recalled stays, over cancelled too, and names its withdrawal", async () => {
  for (const records of [
    [record("recalled", 1), record("running", 9)],
    [record("cancelled", 5), record("recalled", 1)],
    [record("paused", 7), record("cancelled", 3), record("recalled", 2)],
  ])
    for (const order of [records, records.toReversed()]) {
      const { store, sql } = await postgres.newDatabase();
      for (const one of order) await store.controls.learn([{ tenantId: TENANT, controls: [one] }]);
      await store.controls.learn([{ tenantId: TENANT, controls: order }]); // a repeat
      expect((await store.controls.find(TENANT, ID))?.state).toBe("recalled");
      const named = await sql<{ withdrawal_id: string }[]>`
        select withdrawal_id from notification_control`;
      expect(named).toEqual([{ withdrawal_id: withdrawalIdOf(ID) }]);
    }
});

test("ST40 — a region that is told the withdrawal first has the record with it, and a cancel later changes nothing", async () => {
  const { store } = await postgres.newDatabase();
  const id = newId();
  const notification = notificationFor({ id: withdrawalIdOf(id), withdraws: id });
  const audience = { kind: "unread", notificationId: id, who: "sent" } as const;
  const [relayed] = await store.notifications.acceptRelayed(HOME, [{ notification, audience }]);
  expect(relayed).toMatchObject({ kind: "accepted" });
  const kept = { state: "recalled", changedAtMs: notification.acceptedAtMs, changedIn: HOME };
  expect(await store.controls.find(TENANT, id)).toMatchObject(kept);
  const cancelled = await store.controls.change({
    ...{ tenantId: TENANT, notificationId: id, state: "cancelled", nowMs: 9e12, region: "lon" },
    otherRegions: [],
  });
  expect(cancelled).toMatchObject(kept);
  expect(await store.controls.readChanged(null)).toMatchObject([kept]);
});

test("ST40 — nobody finds a withdrawal as a notification; its owner reads what it withdraws", async () => {
  const { store } = await postgres.newDatabase();
  const notification = notificationFor({ withdraws: ID });
  const audience = { kind: "unread", notificationId: ID, who: "sent" } as const;
  await store.notifications.accept(HOME, [acceptItem(audience, { notification })]);
  expect(await store.notifications.get(TENANT, notification.id)).toBeUndefined();
  expect(await store.ledger.readNotifications([notification.id])).toEqual([
    { notification, audience },
  ]);
});

test("ST36, ST40 — what waits of a recalled notification is woken when its owner has heard of it", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [person] = idsIn(3, 1) as [string];
  await register(store, [person]);
  const notification = notificationFor({ sendAtMs: Date.now() + 3_600_000 });
  await store.notifications.accept(HOME, [acceptItem(directTo(person), { notification })]);
  await store.controls.learn([
    { tenantId: TENANT, controls: [{ ...record("recalled", 1), notificationId: notification.id }] },
  ]);
  const due = () => sql`select from timer where due_at <= clock_timestamp()`;
  const held = await store.leases.acquire({
    ...{ home: HOME, memberId: "w", partitions: [3], leaseMs: 60_000 },
  });
  await store.controls.wake(HOME, held, { cancelled: [], running: null });
  expect((await due()).length).toBe(0);
  await store.controls.wake(HOME, held, {
    cancelled: [notification.id],
    running: [],
  });
  expect((await due()).length).toBe(1);
});

test("ST41 — what is recalled is in no page of an inbox, direct or for several, nor what withdraws it", async () => {
  const { store } = await postgres.newDatabase();
  const [ada, bob] = idsIn(3, 2) as [string, string];
  await register(store, [ada, bob]);
  const posted = async (audience: Parameters<typeof acceptItem>[0], more = {}) => {
    const notification = notificationFor(more);
    await store.notifications.accept(HOME, [acceptItem(audience, { notification })]);
    return notification.id;
  };
  const kept = await posted(directTo(ada));
  const direct = await posted(directTo(ada));
  const both = await posted(directTo(ada, bob));
  const places = await store.directory.locate(HOME, TENANT, [ada]);
  const ids = async (limit: number) => {
    const page = await store.notifications.inboxOf(
      { home: HOME, ...places.get(ada)! },
      { limit, beforeOffset: null },
    );
    return page.items.map(({ notification: { id } }) => id);
  };
  expect(await ids(10)).toEqual([both, direct, kept]);
  for (const id of [direct, both]) {
    const withdrawal = { id: withdrawalIdOf(id), withdraws: id };
    await posted(directTo(ada, bob), withdrawal); // stands for the rows that an owner has expanded
  }
  expect(await ids(10)).toEqual([kept]);
  expect(await ids(1)).toEqual([kept]); // the limit counts what is shown
});

test("ST41 — what was held back from him, or is cancelled and never came to him, is in no page of his", async () => {
  const { store, sql } = await postgres.newDatabase();
  const people = idsIn(3, 40);
  const [ada = ""] = people;
  await register(store, people);
  const places = await store.directory.locate(HOME, TENANT, [ada]);
  const place = { home: HOME, ...places.get(ada)! };
  const bit = Buffer.from([1]); // hers, alone or as the first of many
  const posted = async (audience: Parameters<typeof acceptItem>[0], sets: readonly string[]) => {
    const notification = notificationFor({});
    await store.notifications.accept(HOME, [acceptItem(audience, { notification })]);
    for (const set of sets)
      await sql`update ledger set ${sql(set)} = ${bit}, state = 2
        where notification_id = ${notification.id}`;
    return notification.id;
  };
  const ids = async () => {
    const page = await store.notifications.inboxOf(place, { limit: 50, beforeOffset: null });
    return page.items.map(({ notification: { id } }) => id);
  };
  for (const audience of [directTo(ada), directTo(...people)]) {
    const before = await ids();
    for (const set of ["cancelled", "opted_out", "capped", "collapsed"])
      await posted(audience, [set]);
    expect(await ids()).toEqual(before);
    const missed = await posted(audience, ["no_device"]);
    const late = await posted(audience, ["no_device", "received_late"]);
    const delivered = await posted(audience, ["delivered_socket"]);
    expect(await ids()).toEqual([delivered, late, missed, ...before]);
    for (const notificationId of [missed, late, delivered])
      await store.controls.change({
        ...{ tenantId: TENANT, notificationId, state: "cancelled", nowMs: 1, region: HOME },
        otherRegions: [],
      });
    expect(await ids()).toEqual([delivered, late, ...before]);
  }
});

test("ST42 — what is about another one has rows where that has, or waits for one; everywhere while it is not here", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [ada] = idsIn(3, 1) as [string];
  const [bob] = idsIn(7, 1) as [string];
  const [tom] = idsIn(9, 1) as [string];
  await register(store, [ada, bob, tom]);
  const first = notificationFor({});
  await store.notifications.accept(HOME, [acceptItem(directTo(ada, bob), { notification: first })]);
  const later = notificationFor({ sendAtMs: Date.now() + 3_600_000 });
  await store.notifications.accept(HOME, [acceptItem(directTo(tom), { notification: later })]);
  const partitionsAbout = async (notificationId: string) => {
    const audience = { kind: "unread", who: "unread", notificationId } as const;
    const [result] = await store.notifications.accept(HOME, [acceptItem(audience)]);
    if (result?.kind !== "accepted") throw new Error(result?.kind);
    expect(result.ledgerEntries.every(({ members }) => members === null)).toBe(true);
    return result.ledgerEntries.map(({ partition }) => partition);
  };
  expect(await partitionsAbout(first.id)).toEqual([3, 7]);
  expect(await partitionsAbout(later.id)).toEqual([9]);
  expect((await partitionsAbout(newId())).length).toBe(256);
  const states = await sql<{ state: number }[]>`
    select distinct l.state from ledger l join notification n on n.id = l.notification_id
    where n.audience ->> 'kind' = 'unread'`;
  expect(states).toEqual([{ state: 0 }]); // its owners find out who it is
});

test("ST42 — all rows of a notification in the partitions asked for are read, and none of another's", async () => {
  const { store } = await postgres.newDatabase();
  const [ada, bob] = idsIn(3, 2) as [string, string];
  const [eve] = idsIn(4, 1) as [string];
  await register(store, [ada, bob, eve]);
  const notification = notificationFor();
  await store.notifications.accept(HOME, [
    acceptItem(directTo(ada, bob, eve), { notification }),
    acceptItem(directTo(ada)),
  ]);
  const rows = await store.ledger.readRowsOf(HOME, [4, 3, 5], notification.id);
  expect(rows.map((row) => [row.notificationId, row.partition, row.members])).toEqual([
    [notification.id, 3, [0, 1]],
    [notification.id, 4, [0]],
  ]);
  expect(await store.ledger.readRowsOf(HOME, [5], notification.id)).toEqual([]);
  expect(await store.ledger.readRowsOf(HOME, [3, 4], newId())).toEqual([]);
});
