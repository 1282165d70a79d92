// Goal: ST43. Method: a real Postgres; two databases as two regions, told by hand in all orders.
import type { HomesBatch, RateRecord } from "@carillon/contracts";
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
const changeOf = (
  notificationId: string,
  ratePerMinute: number | null,
  targetedCount = 4_000_000,
) => ({
  ...{ tenantId: TENANT, notificationId, ratePerMinute, targetedCount, nowMs: NOW_MS },
  ...{ region: HOME, otherRegions: ["lon"] },
});

test("ST43 — a change is committed with what tells the others, and owners find it", async () => {
  const { store, sql } = await postgres.newDatabase();
  const id = newId();
  expect(await store.rates.find(TENANT, id)).toBeUndefined();
  const first = await store.rates.change(changeOf(id, 600));
  expect(first).toEqual({
    ...{ notificationId: id, ratePerMinute: 600, targetedCount: 4_000_000 },
    ...{ changedAtMs: NOW_MS, changedIn: HOME },
  });
  const told = await sql<{ payload: HomesBatch }[]>`select payload from outbox`;
  expect(told.map(({ payload }) => payload.tenants[0]?.rates)).toEqual([[first]]);
  expect(await store.rates.find("other", id)).toBeUndefined();
  expect(await store.rates.readChanged(60)).toEqual([first]);
  const none = await store.rates.change(changeOf(id, null, 7));
  expect(none).toMatchObject({ ratePerMinute: null, targetedCount: 7, changedAtMs: NOW_MS + 1 });
  expect(await store.rates.readChanged(null)).toEqual([none]); // it had a rate when it was posted, perhaps
});

test("ST43 — told in any order, regions end with the newest; another tenant's changes nothing", async () => {
  const notificationId = "00000000-0000-7000-8000-000000000001";
  const record = (ratePerMinute: number | null, changedAtMs: number, changedIn = "lon") => ({
    ...{ notificationId, ratePerMinute, targetedCount: 10, changedAtMs, changedIn },
  });
  const cases: [RateRecord[], number | null][] = [
    [[record(60, 1), record(null, 2)], null],
    [[record(null, 1), record(60, 1, "par")], 60],
    [[record(1, 3), record(60, 2), record(7, 1)], 1],
  ];
  for (const [records, ratePerMinute] of cases)
    for (const order of [records, records.toReversed()]) {
      const { store } = await postgres.newDatabase();
      for (const one of order) await store.rates.learn([{ tenantId: TENANT, rates: [one] }]);
      await store.rates.learn([{ tenantId: TENANT, rates: order }]); // a repeat
      await store.rates.learn([{ tenantId: "other", rates: [record(99, 99)] }]);
      await store.rates.learn([{ tenantId: TENANT }]);
      const found = await store.rates.find(TENANT, notificationId);
      expect(found?.ratePerMinute).toBe(ratePerMinute);
    }
});

test("ST43 — a throttle is kept with its notification, as it was counted", async () => {
  const { store } = await postgres.newDatabase();
  const [person] = idsIn(3, 1) as [string];
  await register(store, [person]);
  expect(await store.directory.countOf(TENANT, HOME)).toBe(1);
  expect(await store.directory.countOf(TENANT, "lon")).toBe(0);
  const throttle = { ratePerMinute: 600, targetedCount: 4_000_000 };
  const notification = notificationFor({ throttle });
  await store.notifications.accept(HOME, [acceptItem(directTo(person), { notification })]);
  const [read] = await store.ledger.readNotifications([notification.id]);
  expect(read?.notification.throttle).toEqual(throttle);
});
