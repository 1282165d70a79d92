// Goal: TM7, HM6: buried timers, for operators. Method: a real Postgres, one database a test.
import { afterAll, beforeAll, expect, test } from "vitest";
import { HOME, startTestPostgres, TENANT, type TestPostgres } from "./test-database.ts";
import type { TimerChange } from "./timers.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const HELD = { partition: 1, epoch: 1 };
const setting = (key: string, tenantId = TENANT): TimerChange => ({
  ...{ ...HELD, change: "set", kind: "k", key, tenantId, due: { inMs: 0 }, payload: { salary: 1 } },
});
const claimOptions = { kinds: ["k"], exceptIds: [], limitCount: 10, mayBeDoubtful: true };

/** Timers of these keys, buried one after the other. */
async function buried(keys: readonly string[], tenantId = TENANT) {
  const database = await postgres.newDatabase();
  const { store } = database;
  await store.leases.acquire({ home: HOME, memberId: "w", partitions: [1], leaseMs: 60_000 });
  await store.timers.write(
    HOME,
    keys.map((key) => setting(key, tenantId)),
  );
  const { timers } = await store.timers.claim(HOME, { ...claimOptions, held: [HELD] });
  for (const { key, id } of timers)
    await store.timers.write(HOME, [
      { ...HELD, kind: "k", key, id, change: "bury", reason: `no ${key}` },
    ]);
  const idOf = (key: string): number => timers.find((timer) => timer.key === key)!.id;
  const claim = (epoch = 1) =>
    store.timers.claim(HOME, { ...claimOptions, held: [{ partition: 1, epoch }] });
  return { ...database, idOf, claim };
}

test("TM7 — buried ones are listed with their reason, the last first, and nothing of what they hold", async () => {
  const { store, idOf } = await buried(["a", "b"]);
  const counts = { attemptCount: 1, failureCount: 0, lostCount: 0 };
  const of = (key: string) => ({
    ...{ id: idOf(key), partition: 1, kind: "k", key, tenantId: TENANT, ...counts },
    buriedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
    reason: `no ${key}`,
  });
  expect(await store.timersBuried.list(HOME, 10)).toEqual([of("b"), of("a")]);
  expect(await store.timersBuried.list(HOME, 1)).toEqual([of("b")]);
});

test("TM7 — revived it is due at once, deleted it is gone; each once, and not what was set again", async () => {
  const { store, idOf, claim } = await buried(["a", "b", "c"]);
  expect(await store.timersBuried.revive(HOME, idOf("a"))).toBe(true);
  expect(await store.timersBuried.revive(HOME, idOf("a"))).toBe(false);
  expect(await store.timersBuried.remove(HOME, idOf("a"))).toBe(false);
  expect(await store.timersBuried.remove(HOME, idOf("b"))).toBe(true);
  expect(await store.timersBuried.remove(HOME, idOf("b"))).toBe(false);
  await store.timers.write(HOME, [setting("c")]);
  expect(await store.timersBuried.remove(HOME, idOf("c"))).toBe(false);
  expect((await claim()).timers.map(({ key }) => key).toSorted()).toEqual(["a", "c"]);
  expect(await store.timersBuried.list(HOME, 10)).toEqual([]);
});

test("TM7 — one that ended its owners is claimed alone when it is revived", async () => {
  const { store, sql, idOf, claim } = await buried(["a", "b"]);
  await sql`update timer set lost_count = case key when 'a' then 5 else 1 end`;
  for (const key of ["a", "b"]) await store.timersBuried.revive(HOME, idOf(key));
  expect((await claim()).timers).toMatchObject([{ key: "a", lostCount: 2 }]);
});

test("HM6 — those of withheld tenants are neither listed nor touched", async () => {
  const { store, idOf } = await buried(["a"], "strict");
  store.ledger.withhold(["strict"]);
  expect(await store.timersBuried.list(HOME, 10)).toEqual([]);
  expect(await store.timersBuried.revive(HOME, idOf("a"))).toBe(false);
  expect(await store.timersBuried.remove(HOME, idOf("a"))).toBe(false);
});
