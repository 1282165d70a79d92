// packages/store/src/controls.pg.test.ts
// Goal: ST35 to ST47. Method: a real Postgres; two databases as two regions, told by hand in all orders.
import type { ControlRecord, HomesBatch } from "@carillon/contracts";
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

const NOW_MS = 1_790_000_000_000;
const changeOf = (notificationId: string, state: ControlRecord["state"], nowMs = NOW_MS) => ({
  ...{ tenantId: TENANT, notificationId, state, nowMs, region: HOME, otherRegions: ["lon"] },
});

test("ST35 — a change is committed with what tells the others, and owners find it", async () => {
  const { store, sql } = await postgres.newDatabase();
  const id = newId();
  expect(await store.controls.find(TENANT, id)).toBeUndefined();
  const paused = await store.controls.change(changeOf(id, "paused"));
  expect(paused).toEqual({
    notificationId: id,
    state: "paused",
    changedAtMs: NOW_MS,
    changedIn: HOME,
  });
  const told = await sql<{ payload: HomesBatch }[]>`select payload from outbox`;
  expect(told.map(({ payload }) => payload.tenants[0]?.controls)).toEqual([[paused]]);
  expect(await store.controls.find("other", id)).toBeUndefined();
  expect(await store.controls.readChanged(60)).toEqual([paused]);
  expect(await store.controls.readChanged(null)).toEqual([paused]);
  const running = await store.controls.change(changeOf(id, "running"));
  expect(running.changedAtMs).toBe(NOW_MS + 1); // newer, whatever the clock says
  expect(await store.controls.readChanged(null)).toEqual([]); // it runs as any other
  expect(await store.controls.readChanged(60)).toEqual([running]);
});

test("ST35 — told in any order, regions end with the newest, and cancelled stays", async () => {
  const record = (state: ControlRecord["state"], changedAtMs: number, changedIn = "lon") => ({
    ...{ notificationId: "00000000-0000-7000-8000-000000000001", state, changedAtMs, changedIn },
  });
  const cases: [ControlRecord[], ControlRecord["state"]][] = [
    [[record("paused", 1), record("running", 2)], "running"],
    [[record("running", 1), record("paused", 1, "par")], "paused"],
    [[record("cancelled", 1), record("running", 9)], "cancelled"],
  ];
  for (const [records, state] of cases)
    for (const order of [records, records.toReversed()]) {
      const { store } = await postgres.newDatabase();
      for (const one of order) await store.controls.learn([{ tenantId: TENANT, controls: [one] }]);
      await store.controls.learn([{ tenantId: TENANT, controls: order }]); // a repeat
      expect((await store.controls.find(TENANT, records[0]!.notificationId))?.state).toBe(state);
    }
});

test("ST36 — woken is all that waits of what is cancelled, what was paused of what goes on, and nothing before", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [person] = idsIn(3, 1) as [string];
  await register(store, [person]);
  const laterMs = Date.now() + 3_600_000;
  const scheduled = async (reason: string) => {
    const notification = notificationFor({ sendAtMs: laterMs });
    await store.notifications.accept(HOME, [acceptItem(directTo(person), { notification })]);
    await sql`update timer set payload = payload || jsonb_build_object('reason', ${reason}::text)
      where notification_id = ${notification.id}`;
    return notification.id;
  };
  const [paused, sendAt, cancelled, other] = await Promise.all([
    scheduled("paused"),
    scheduled("sendAt"),
    scheduled("sendAt"),
    scheduled("paused"),
  ]);
  await store.controls.change(changeOf(paused, "running"));
  await store.controls.change(changeOf(sendAt, "running"));
  await store.controls.learn([
    {
      tenantId: TENANT,
      controls: [
        { notificationId: cancelled, state: "cancelled", changedAtMs: 1, changedIn: "lon" },
      ],
    },
    {
      tenantId: "other",
      controls: [{ notificationId: other, state: "cancelled", changedAtMs: 1, changedIn: "lon" }],
    },
  ]);
  const due = async () =>
    (
      await sql<{ id: string }[]>`
        select notification_id as id from timer where due_at <= clock_timestamp()`
    ).map(({ id }) => id);
  const [held] = await store.leases.acquire({
    ...{ home: HOME, memberId: "w", partitions: [3], leaseMs: 60_000 },
  });
  const at = (partition: number, epoch = held?.epoch ?? 0) => [{ partition, epoch }];
  expect(await due()).toEqual([]); // an owner that has not heard of it would send it
  await store.controls.wake(HOME, at(3, 0), { cancelled: [cancelled], running: null });
  expect(await due()).toEqual([]); // it is another's, which may not have heard
  await store.controls.wake(HOME, at(3), { cancelled: [], running: [paused, sendAt] });
  expect(await due()).toEqual([paused]);
  await store.controls.wake(HOME, at(2), { cancelled: [cancelled], running: null });
  expect(await due()).toEqual([paused]);
  await store.controls.wake(HOME, at(3), { cancelled: [], running: null });
  expect(await due()).toEqual([paused]); // its owner would send what it has not heard to be cancelled
  await store.controls.wake(HOME, at(3), { cancelled: [cancelled, other], running: null });
  expect((await due()).toSorted()).toEqual([paused, cancelled].toSorted());
});

test("ST47 — what is accepted for later after its cancel tells owners that once more, and they wake it", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [person] = idsIn(3, 1) as [string];
  await register(store, [person]);
  const later = notificationFor({ sendAtMs: Date.now() + 3_600_000 });
  const atOnce = notificationFor({});
  for (const { id } of [later, atOnce])
    await store.controls.change({ ...changeOf(id, "cancelled"), otherRegions: [] });
  await sql`update notification_control set updated_at = now() - interval '1 hour'`;
  await store.notifications.accept(
    HOME,
    [later, atOnce].map((notification) => acceptItem(directTo(person), { notification })),
  );
  const told = await store.controls.readChanged(60);
  expect(told.map(({ notificationId }) => notificationId)).toEqual([later.id]);
});
