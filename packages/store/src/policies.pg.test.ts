// Goal: ST30–ST32, D8: what tenants' policies and recipients' preferences are; categories of notifications.
// Method: a real Postgres, one database a test.
import {
  isNewerPolicy,
  partitionOf,
  type PolicyRecord,
  policyRequestSchema,
  preferencesRequestSchema,
} from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "./store.ts";
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

const night = { days: { mon: [{ from: "22:00", until: "07:00" }] } };
const strict = policyRequestSchema.parse({ quietHours: { forAll: night } });
const none = policyRequestSchema.parse({});
const change = (store: Store, policy: typeof strict, nowMs = 100, otherRegions: string[] = []) =>
  store.policies.change({ tenantId: TENANT, policy, nowMs, region: HOME, otherRegions });

test("ST30 — a change is newer than what is known, whatever the clock says; it is told to the others", async () => {
  const { store } = await postgres.newDatabase();
  expect(await store.policies.find(TENANT)).toBeUndefined();
  const first = { policy: strict, changedAtMs: 100, changedIn: HOME };
  expect(await change(store, strict, 100, ["lon"])).toEqual(first);
  const second = { policy: none, changedAtMs: 101, changedIn: HOME };
  expect(await change(store, none, 7)).toEqual(second); // a clock that is behind
  expect(await store.policies.find(TENANT)).toEqual(second);
  expect(await store.policies.find("other")).toBeUndefined();
  const told = await store.outbox.claim("lon", 10, 1_000);
  const tenants = [{ tenantId: TENANT, recipientIds: [], policy: first }];
  expect(told.map((row) => row.kind === "homes" && row.homes)).toEqual([{ from: HOME, tenants }]);
});

test("ST30 — told in any order and twice, all regions keep the same record", async () => {
  const record = (changedAtMs: number, changedIn: string): PolicyRecord => ({
    policy: { ...none, countryAttribute: `${changedIn}${changedAtMs}` },
    changedAtMs,
    changedIn,
  });
  const records = [record(9, "dub"), record(9, "lon"), record(3, "par"), record(9, "fra")];
  const newest = records.reduce((kept, one) => (isNewerPolicy(one, kept) ? one : kept));
  expect(newest.changedIn).toBe("lon");
  const { store } = await postgres.newDatabase();
  const news = (all: readonly PolicyRecord[], tenantId: string) =>
    all.map((policy) => ({ tenantId, policy }));
  await store.policies.learn(news([...records, ...records], "a")); // in one message
  for (const one of records) await store.policies.learn(news([one], "b"));
  for (const one of records.toReversed()) await store.policies.learn(news([one], "c"));
  await store.policies.learn([{ tenantId: "d" }]); // a message about something else
  for (const tenantId of ["a", "b", "c"])
    expect(await store.policies.find(tenantId)).toEqual(newest);
  expect(await store.policies.find("d")).toBeUndefined();
});

test("ST30 — who asks again and again is told what is another than he knows", async () => {
  const { store } = await postgres.newDatabase();
  expect(await store.policies.findChanged([])).toEqual([]);
  const record = await change(store, strict);
  expect(await store.policies.findChanged([])).toEqual([{ tenantId: TENANT, record }]);
  const known = [TENANT, record.changedAtMs, record.changedIn] as const;
  expect(await store.policies.findChanged([["other", 1, HOME], known])).toEqual([]);
  const next = await change(store, none);
  expect(await store.policies.findChanged([known])).toEqual([{ tenantId: TENANT, record: next }]);
});

const preferences = preferencesRequestSchema.parse({
  categories: { news: { socket: false } },
  quietHours: { timeZone: "Europe/Berlin", ...night },
});
const rowsAbove = (store: Store, partition: number, afterVersion: number) =>
  store.ledger.readDirectory(HOME, partition, { afterVersion, limitCount: 9 });

test("ST31 — a change of preferences is a change of the directory, of its partition only, and a repeat is none", async () => {
  const { store } = await postgres.newDatabase();
  const [recipientId, other] = idsIn(7, 2) as [string, string];
  await register(store, [recipientId, other, ...idsIn(8, 1)]);
  const write = (more = {}) =>
    store.preferences.write({ home: HOME, tenantId: TENANT, recipientId, preferences, ...more });
  expect(await store.preferences.read(TENANT, recipientId)).toBeNull();
  expect(await write()).toEqual({ partitions: [[7, 2]] });
  expect(await write()).toEqual({ partitions: [] });
  expect(await store.preferences.read(TENANT, recipientId)).toEqual(preferences);
  expect(await rowsAbove(store, 7, 1)).toMatchObject([{ recipientId, preferences, version: 2 }]);
  expect(await rowsAbove(store, 8, 1)).toEqual([]);
  expect(await write({ preferences: preferencesRequestSchema.parse({}) })).toEqual({
    partitions: [[7, 3]],
  });
  expect(await rowsAbove(store, 7, 2)).toMatchObject([{ recipientId, preferences: null }]);
});

test("ST31, D8 — who is not here has none, and an import of the recipient leaves them as they are", async () => {
  const { store } = await postgres.newDatabase();
  const [recipientId] = idsIn(7, 1) as [string];
  const own = { home: HOME, tenantId: TENANT, recipientId, preferences };
  expect(await store.preferences.write(own)).toBeUndefined();
  expect(await store.preferences.read(TENANT, recipientId)).toBeUndefined();
  await register(store, [recipientId]);
  await store.preferences.write(own);
  expect(await store.preferences.write({ ...own, home: "lon" })).toBeUndefined();
  expect(await store.preferences.read("other", recipientId)).toBeUndefined();
  await store.directory.upsert({
    home: HOME,
    tenantId: TENANT,
    changes: [{ recipientId, locale: "de", timeZone: "Europe/Vienna", attributes: {} }],
    otherRegions: [],
  });
  expect(await rowsAbove(store, 7, 2)).toMatchObject([
    { preferences, timeZone: "Europe/Vienna", version: 3 },
  ]);
});

test("ST32 — deliveries of the window, of the tenant's capped priorities and other categories, each once", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [id, second] = idsIn(7, 2) as [string, string];
  await register(store, [id, second, ...idsIn(8, 1)]);
  const nowMs = Date.now();
  const accept = async (more: Parameters<typeof notificationFor>[0], recipientIds = [id]) => {
    const notification = notificationFor({ acceptedAtMs: nowMs, ...more });
    const item = acceptItem(directTo(...recipientIds), { notification });
    await store.notifications.accept(HOME, [item]);
  };
  await accept({ acceptedAtMs: nowMs - 500, category: "news" }, [id, second]); // 1
  await accept({ acceptedAtMs: nowMs - 1_000 }); // 2: at the edge, outside
  await accept({ priority: "critical" }); // 3
  await accept({ category: "safety" }); // 4
  await accept({ priority: "low" }); // 5: nobody got it
  await accept({ priority: "low" }); // 6: late
  await accept({}, idsIn(8, 1)); // of partition 8
  await sql`update partition set owner_id = 'w', epoch = 1, is_released = false`;
  const got = setsOf({ deliveredSocket: [1] });
  const updates = [1, 2, 3, 4, 6].map((offset) => ({
    partition: 7,
    epoch: 1,
    offset,
    state: "closed" as const,
    sets: offset === 6 ? setsOf({ noDevice: [1], receivedLate: [1] }) : got,
  }));
  await store.ledger.writeRows(HOME, updates);
  const question = {
    tenantId: TENANT,
    sinceMs: nowMs - 1_000,
    priorities: ["low", "normal"],
    exceptCategories: ["safety"],
  };
  const nobody = Buffer.from([]);
  const bit = Buffer.from([1]);
  expect(await store.policies.readRecent(HOME, [7, 8], question)).toEqual([
    {
      partition: 7,
      acceptedAtMs: nowMs - 500,
      members: [0, 1],
      deliveredSocket: bit,
      receivedLate: nobody,
    },
    { partition: 7, acceptedAtMs: nowMs, members: [0], deliveredSocket: nobody, receivedLate: bit },
  ]);
  expect(await store.policies.readRecent(HOME, [8], question)).toEqual([]);
  const others = { ...question, tenantId: "other" };
  expect(await store.policies.readRecent(HOME, [7], others)).toEqual([]);
});

test("D1 — a notification keeps its category, here and where it is relayed to", async () => {
  const { store } = await postgres.newDatabase();
  const [recipientId] = idsIn(7, 1) as [string];
  await register(store, [recipientId]);
  const own = notificationFor({ category: "news" });
  const relayed = notificationFor({ category: "safety" });
  const plain = notificationFor();
  const audience = directTo(recipientId);
  const items = [own, plain].map((notification) => acceptItem(audience, { notification }));
  await store.notifications.accept(HOME, items);
  await store.notifications.acceptRelayed(HOME, [{ notification: relayed, audience }]);
  const found = await store.ledger.readNotifications([own.id, relayed.id, plain.id]);
  const byId = new Map(found.map(({ notification }) => [notification.id, notification]));
  for (const one of [own, relayed, plain]) expect(byId.get(one.id)).toEqual(one);
  expect(partitionOf(TENANT, recipientId)).toBe(7);
});
