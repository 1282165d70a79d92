// packages/store/src/templates.pg.test.ts
// Goal: ST50 to ST52 in real SQL. Method: a real Postgres, one database a test; regions told in every order.
import {
  isLaterTemplate,
  LIMITS,
  type TemplateDefinition,
  type TemplateRecord,
} from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "./store.ts";
import { HOME, startTestPostgres, TENANT, type TestPostgres } from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const definitionOf = (title: string): TemplateDefinition => ({
  locales: { en: { title }, de: { title, data: { b: "1", a: "2" } } },
  defaultLocale: "en",
  fallbacks: {},
  payloadSchema: { type: "object", properties: {}, required: [], additionalProperties: false },
  timeZone: "UTC",
});
const change = (store: Store, title: string | undefined, more: object = {}) =>
  store.templates.change({
    tenantId: TENANT,
    templateId: "shift",
    definition: title === undefined ? undefined : definitionOf(title),
    nowMs: 100,
    region: HOME,
    otherRegions: [],
    ...more,
  });
const versionsOf = async (store: Store) => {
  const all = await Promise.all(
    Array.from({ length: 5 }, (_, at) => store.templates.read(TENANT, "shift", at + 1)),
  );
  return all.filter((record) => record !== undefined);
};

test("ST51 — each change is a version, later than all before whatever the clock says, and told to the others", async () => {
  const { store } = await postgres.newDatabase();
  const others = { otherRegions: ["lon", "par"] };
  const first: TemplateRecord = {
    ...{ templateId: "shift", version: 1, definition: definitionOf("one") },
    ...{ changedAtMs: 100, changedIn: HOME },
  };
  expect(await change(store, "one", others)).toEqual({
    record: first,
    isCreated: true,
    isChanged: true,
  });
  const second = await change(store, "two", { nowMs: 7 }); // a clock that is behind
  expect(second?.record).toEqual({
    ...first,
    version: 2,
    definition: definitionOf("two"),
    changedAtMs: 101,
  });
  expect(await versionsOf(store)).toEqual([first, second?.record]);
  const stamp = (version: number, changedAtMs: number) => ({
    ...{ version, changedAtMs, changedIn: HOME, isDeleted: false },
  });
  expect(await store.templates.find(TENANT, "shift", null)).toEqual({
    newest: stamp(2, 101),
    asked: stamp(2, 101),
  });
  expect(await store.templates.find(TENANT, "shift", 1)).toEqual({
    newest: stamp(2, 101),
    asked: stamp(1, 100),
  });
  expect(await store.templates.find(TENANT, "shift", 3)).toEqual({
    newest: stamp(2, 101),
    asked: undefined,
  });
  expect(await store.templates.find("other", "shift", null)).toEqual({}); // D8
  const [told, ...rest] = await store.outbox.claim("lon", 10, 1_000);
  expect(rest).toEqual([]);
  expect(told).toMatchObject({
    kind: "homes",
    homes: { from: HOME, tenants: [{ tenantId: TENANT, recipientIds: [], templates: [first] }] },
  });
});

test("ST52 — the same again is the same version, in whatever order its parts stand; nobody is told", async () => {
  const { store } = await postgres.newDatabase();
  const made = await change(store, "one");
  const { locales, ...others } = definitionOf("one");
  const reordered = { ...others, locales: { de: locales["de"]!, en: locales["en"]! } };
  const again = await change(store, "one", { definition: reordered, otherRegions: ["lon"] });
  expect(again).toEqual({ record: made?.record, isCreated: false, isChanged: false });
  expect(await store.outbox.claim("lon", 10, 1_000)).toEqual([]);
});

test("ST51 — deleted once, by a version; made again it goes on counting", async () => {
  const { store } = await postgres.newDatabase();
  expect(await change(store, undefined)).toBeUndefined();
  await change(store, "one");
  const gone = await change(store, undefined);
  expect(gone?.record).toMatchObject({ version: 2, definition: null });
  expect(await change(store, undefined)).toBeUndefined();
  expect(await store.templates.list(TENANT, { afterId: "", limitCount: 9 })).toEqual([]);
  const again = await change(store, "one"); // as before it was deleted
  expect(again).toMatchObject({ isCreated: true, isChanged: true, record: { version: 3 } });
});

test("ST52 — of older versions the limit is kept", async () => {
  const { store, sql } = await postgres.newDatabase();
  const count = LIMITS.templateVersionsKept + 3;
  for (let n = 1; n <= count; n++) await change(store, `${n}`);
  const [kept] = await sql<{ oldest: number; newest: number; count: number }[]>`
    select min(version) as oldest, max(version) as newest, count(*)::int from template`;
  expect(kept).toEqual({ oldest: 4, newest: count, count: LIMITS.templateVersionsKept });
});

test("ST51, ST13 — changes made and told at once are a version each, and nobody waits for ever", async () => {
  const { openStore } = await postgres.newDatabase();
  const store = openStore({ poolMax: 8 });
  const told = (templateId: string, version: number): TemplateRecord => ({
    templateId,
    version,
    ...{ definition: definitionOf("told"), changedAtMs: version, changedIn: "lon" },
  });
  const made = await Promise.all(
    Array.from({ length: 24 }, async (_, n) => {
      if (n % 3 !== 0) return await change(store, `of ${n}`);
      const templates = [told("shift", 1), told("other", 1), told("third", 1)];
      const order = n % 2 === 0 ? templates : templates.toReversed();
      await store.templates.learn([{ tenantId: TENANT, templates: order }]);
      return undefined;
    }),
  );
  const versions = made.flatMap((one) => one?.record.version ?? []).toSorted((a, b) => a - b);
  const first = versions[0] ?? 0; // 2 when it was told before it was made
  expect(versions).toEqual(Array.from({ length: 16 }, (_, n) => first + n));
  expect(new Set(versions).size).toBe(16);
});

test("ST51 — told in any order and twice, all regions keep the same versions and the same newest", async () => {
  const record = (version: number, changedAtMs: number, changedIn: string): TemplateRecord => ({
    templateId: "shift",
    version,
    definition: changedAtMs === 9 ? null : definitionOf(`${version}/${changedAtMs}/${changedIn}`),
    changedAtMs,
    changedIn,
  });
  // Two regions made versions 2 and 3 apart from each other.
  const records = [
    record(1, 1, "fra"),
    record(2, 5, "lon"),
    record(2, 5, "dub"),
    record(3, 6, "lon"),
    record(2, 9, "fra"),
  ];
  const keptOf = (version: number) =>
    records
      .filter((one) => one.version === version)
      .reduce((kept, one) => (isLaterTemplate(one, kept) ? one : kept));
  const kept = [keptOf(1), keptOf(2), keptOf(3)];
  const newest = records.reduce((last, one) => (isLaterTemplate(one, last) ? one : last));
  expect(newest).toBe(records[4]);
  for (const order of [records, records.toReversed(), [...records.slice(2), ...records]]) {
    const { store } = await postgres.newDatabase();
    for (const one of order) await store.templates.learn([{ tenantId: TENANT, templates: [one] }]);
    expect(await versionsOf(store)).toEqual(kept);
    expect((await store.templates.find(TENANT, "shift", null)).newest).toMatchObject({
      version: 2,
      isDeleted: true,
    });
    const { store: atOnce } = await postgres.newDatabase();
    await atOnce.templates.learn([
      { tenantId: "other", templates: [record(3, 30, "fra")] },
      { tenantId: TENANT, templates: order },
      { tenantId: TENANT },
    ]);
    expect(await versionsOf(atOnce)).toEqual(kept);
    // Whoever changes it next is later than all.
    expect((await change(atOnce, "next"))?.record).toMatchObject({ version: 4, changedAtMs: 100 });
  }
});

test("ST51 — a list has what exists, by id, page by page", async () => {
  const { store } = await postgres.newDatabase();
  for (const templateId of ["c", "a", "b", "d"]) await change(store, "x", { templateId });
  await change(store, "y", { templateId: "a" });
  await change(store, undefined, { templateId: "b" });
  await change(store, "z", { tenantId: "other", templateId: "e" });
  const page = await store.templates.list(TENANT, { afterId: "", limitCount: 2 });
  expect(page).toEqual([
    { templateId: "a", version: 2, updatedAt: new Date(101).toISOString() },
    { templateId: "c", version: 1, updatedAt: new Date(100).toISOString() },
  ]);
  const rest = await store.templates.list(TENANT, { afterId: "c", limitCount: 2 });
  expect(rest.map(({ templateId }) => templateId)).toEqual(["d"]);
});

test("ST50 — a key stands for its first answer for a day; for another request it does not", async () => {
  const { store, sql } = await postgres.newDatabase();
  const answer = { id: "x", acceptedAt: "2026-01-05T09:00:00.000Z", regions: [HOME] };
  const [fingerprint, other] = [Buffer.from("same"), Buffer.from("other")];
  await sql`insert into idempotency (tenant_id, key, fingerprint, notification_id, answer) values
    (${TENANT}, 'k', ${fingerprint}, gen_random_uuid(), ${JSON.stringify(answer)}::text::json)`;
  const ask = (key: string, of: Buffer, tenantId = TENANT) =>
    store.notifications.repeatOf(tenantId, { key, fingerprint: of });
  expect(await ask("k", fingerprint)).toEqual({ kind: "replayed", answer });
  expect(await ask("k", other)).toEqual({ kind: "mismatch" });
  expect(await ask("other", fingerprint)).toBeUndefined();
  expect(await ask("k", fingerprint, "bolt")).toBeUndefined();
  expect(await ask("k\u0000", fingerprint)).toBeUndefined();
  await sql`update idempotency set created_at = now() - interval '24 hours 1 second'`;
  expect(await ask("k", fingerprint)).toBeUndefined();
});
