// Goal: ST5, ST7, ST18 to ST20, tenants and keys. Method: a real Postgres, one database a test.
import { partitionOf, type RecipientChange } from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "./store.ts";
import { HOME, idsIn, startTestPostgres, TENANT, type TestPostgres } from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const change = (recipientId: string, more: Partial<RecipientChange> = {}): RecipientChange => ({
  recipientId,
  locale: null,
  timeZone: null,
  attributes: {},
  ...more,
});
const upsert = (store: Store, changes: RecipientChange[], otherRegions: string[] = []) =>
  store.directory.upsert({ home: HOME, tenantId: TENANT, changes, otherRegions });

test("ST18 — new recipients get dense indexes; each change moves its partition's version", async () => {
  const { store } = await postgres.newDatabase();
  const [a, b, c] = idsIn(2, 3) as [string, string, string];
  const [x] = idsIn(9, 1) as [string];
  expect(await upsert(store, [change(b), change(x), change(a)])).toEqual({
    created: 3,
    updated: 0,
    partitions: [
      [2, 1],
      [9, 1],
    ],
  });
  const moved = {
    locale: "de-AT",
    timeZone: "Europe/Vienna",
    attributes: { site: "Linz", n: 1.5 },
  };
  expect(await upsert(store, [change(c), change(b, moved)])).toEqual({
    created: 1,
    updated: 1,
    partitions: [[2, 2]],
  });
  expect(await store.ledger.readDirectory(HOME, 2, { afterVersion: 0, limitCount: 9 })).toEqual(
    [
      { index: 1, recipientId: a, locale: null, timeZone: null, attributes: {}, version: 1 },
      { index: 0, recipientId: b, ...moved, version: 2 },
      { index: 2, recipientId: c, locale: null, timeZone: null, attributes: {}, version: 2 },
    ].map((row) => ({ ...row, groups: [], preferences: null, tenantId: TENANT })),
  );
  expect(await store.directory.read(TENANT, b)).toEqual({
    ...change(b, moved),
    updatedAtMs: expect.any(Number),
  });
  expect(await store.directory.read("other", b)).toBeUndefined(); // D8
  expect(Object.fromEntries(await store.directory.locate(HOME, TENANT, [c, "nobody"]))).toEqual({
    [c]: { partition: 2, index: 2 },
  });
  expect(await upsert(store, [])).toEqual({ created: 0, updated: 0, partitions: [] });
});

test("ST19 — the same again is counted and writes nothing; a repeated id keeps its last change", async () => {
  const { store } = await postgres.newDatabase();
  const [a, b] = idsIn(2, 2) as [string, string];
  const twice = [change(a, { locale: "de" }), change(b), change(a, { locale: "fr" })];
  expect(await upsert(store, twice)).toEqual({ created: 2, updated: 1, partitions: [[2, 1]] });
  expect((await store.directory.read(TENANT, a))?.locale).toBe("fr");
  expect(await upsert(store, [change(a, { locale: "fr" }), change(b)])).toEqual({
    created: 0,
    updated: 2,
    partitions: [],
  });
  const [head] = await store.ledger.readHeads(HOME, [2]);
  expect(head?.directoryVersion).toBe(1);
});

test("ST18 — 8 writers at once over the same people: everybody has one index, without gaps", async () => {
  const { openStore, sql } = await postgres.newDatabase();
  const store = openStore({ poolMax: 8 });
  const ids = Array.from({ length: 1_000 }, (_, n) => `employee-${n}`);
  const results = await Promise.all(
    Array.from({ length: 8 }, (_, n) => {
      const mine = ids.slice(n * 100, n * 100 + 300);
      return upsert(
        store,
        (n % 2 === 0 ? mine : mine.toReversed()).map((id) => change(id)),
        ["lon"],
      );
    }),
  );
  expect(results.reduce((sum, { created }) => sum + created, 0)).toBe(1_000);
  const gaps = await sql`select partition from recipient group by partition
    having count(*) <> max(idx) + 1 or count(*) <> count(distinct idx)`;
  expect([...gaps]).toEqual([]);
  const rows = await store.outbox.claim("lon", 100, 60_000);
  const told = rows.flatMap((row) => (row.kind === "homes" ? row.homes.tenants : []));
  expect(told.flatMap(({ recipientIds }) => recipientIds).toSorted()).toEqual(ids.toSorted());
});

test("ST7 — new ids go to every other region once, in one row each; changes do not", async () => {
  const { store } = await postgres.newDatabase();
  await upsert(store, [change("a"), change("b")], ["lon", "par"]);
  await upsert(store, [change("a", { locale: "de" })], ["lon", "par"]);
  const [row, ...rest] = await store.outbox.claim("par", 10, 1_000);
  expect(rest).toEqual([]);
  expect(row).toMatchObject({
    kind: "homes",
    homes: { from: HOME, tenants: [{ tenantId: TENANT, recipientIds: ["a", "b"] }] },
  });
  expect(await store.outbox.backlog("lon")).toBe(1);
});

test("ST7 — homes: learned once, per tenant; two homes for one id end alike everywhere", async () => {
  const { store } = await postgres.newDatabase();
  await upsert(store, [change("mine")]);
  const learn = (from: string, recipientIds: string[], tenantId = TENANT) =>
    store.directory.learnHomes({ from, tenants: [{ tenantId, recipientIds }] });
  expect(await learn("lon", ["x", "y", "x"])).toBe(0);
  expect(await learn("lon", ["x"])).toBe(0);
  expect(await learn("par", ["x", "y", "z"], "other")).toBe(0);
  expect(await learn("par", ["x", "new"])).toBe(1); // lon stays: it sorts first
  expect(await learn("dub", ["y", "mine"])).toBe(2); // dub sorts before lon and fra
  const homes = await store.directory.homesOf(TENANT, ["x", "y", "z", "new", "mine", "nobody"]);
  expect(Object.fromEntries(homes)).toEqual({ x: "lon", y: "dub", new: "par", mine: "dub" });
  expect(await store.directory.learnHomes({ from: "lon", tenants: [] })).toBe(0);
});

test("ST20 — of many wishes for one new id one is settled, and all callers learn the same", async () => {
  const { openStore } = await postgres.newDatabase();
  const store = openStore({ poolMax: 8 });
  await upsert(store, [change("mine")]);
  const ids = Array.from({ length: 200 }, (_, n) => `new-${n}`);
  const homes = ["fra", "lon", "par", "dub"];
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => {
      const order = n % 2 === 0 ? ids : ids.toReversed();
      const wishes = order.map((id, at) => [id, homes[(n + at) % 4]!] as const);
      return store.directory.claimHomes(TENANT, new Map([...wishes, ["mine", "lon"]]));
    }),
  );
  const [first] = answers;
  expect(first!.size).toBe(201);
  expect(first!.get("mine")).toBe(HOME);
  for (const answer of answers)
    expect(Object.fromEntries(answer)).toEqual(Object.fromEntries(first!));
  expect(await store.directory.homesOf(TENANT, [...ids, "mine"])).toEqual(first);
  expect(await store.directory.claimHomes("other", new Map([["mine", "lon"]]))).toEqual(
    new Map([["mine", "lon"]]),
  );
  expect(await store.directory.claimHomes(TENANT, new Map())).toEqual(new Map());
  const wrong = store.directory.claimHomes(TENANT, new Map([["a\0", "lon"]]));
  await expect(wrong).rejects.toMatchObject({ code: "store_rejected" });
});

test("ST5 — any text but NUL and half surrogates comes back exactly; those are refused by name", async () => {
  const { store } = await postgres.newDatabase();
  const strange = "\u0001\u007f\u2028\ufffe😀e\u0301 \"\\'{}, null \u{10ffff}";
  const attributes = {
    text: strange,
    list: [strange, "", "null"],
    isManager: true,
    big: 1.7976931348623157e308,
    small: 5e-324,
    exact: 0.1,
  };
  const ids = ["null", '"', "\\", "{a,b}", "ä😀\u{10ffff}", "\ufffe", "𝒳"];
  await upsert(
    store,
    ids.map((id) => change(id, { attributes })),
  );
  for (const id of ids) {
    const { updatedAtMs: _, ...stored } = (await store.directory.read(TENANT, id))!;
    expect(stored).toEqual(change(id, { attributes }));
    const place = (await store.directory.locate(HOME, TENANT, [id])).get(id);
    expect(place?.partition).toBe(partitionOf(TENANT, id));
  }
  const bad: [RecipientChange, string][] = [
    [change("a\0"), "changes[1].recipientId"],
    [change("ok", { attributes: { site: "x\0" } }), "changes[1].attributes.site"],
    [change("ok", { attributes: { list: ["a", "\udc00"] } }), "changes[1].attributes.list[1]"],
  ];
  for (const [wrong, field] of bad) {
    const failure = upsert(store, [change("good"), wrong]);
    await expect(failure).rejects.toMatchObject({ code: "store_rejected", isRetryable: false });
    await expect(failure).rejects.toThrow(`${field} holds NUL`);
  }
  expect(await store.directory.read(TENANT, "good")).toBeUndefined(); // nothing half-done
});

test("A1 — a key opens its tenant only as given; neither table nor log can give it back", async () => {
  const { store, openStore, sql } = await postgres.newDatabase();
  const seeded = openStore({ random: createSeededRandom(1) });
  await store.tenants.create(TENANT, "Acme");
  await store.tenants.create(TENANT, "Acme SE");
  const request = { tenantId: TENANT, scopes: ["read", "recipients:write"] as const, pepper: "p1" };
  const keyText = await seeded.tenants.createApiKey(request);
  expect(keyText).toMatch(/^crl_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
  const keyId = keyText.split("_")[1]!;
  const opened = { keyId, tenantId: TENANT, scopes: ["read", "recipients:write"] };
  expect(await store.tenants.verifyApiKey(keyText, "p1")).toEqual(opened);
  const last = keyText.endsWith("A") ? "B" : "A";
  const wrong = [
    [keyText, "p2"],
    [keyText.slice(0, -1) + last, "p1"],
    [keyText.replace(keyId, "0".repeat(16)), "p1"],
    [`crl_${keyId}_`, "p1"],
    [`crl_${keyId}_\0${"x".repeat(20)}`, "p1"],
    ["", "p1"],
  ] as const;
  for (const [text, pepper] of wrong)
    expect(await store.tenants.verifyApiKey(text, pepper)).toBeUndefined();
  const [row] = await sql`select to_jsonb(k)::text as text from api_key k`;
  expect(row!.text).not.toContain(keyText.split("_")[2]);
  await store.tenants.revokeApiKey(keyId);
  expect(await store.tenants.verifyApiKey(keyText, "p1")).toBeUndefined();
  await store.tenants.insertApiKey({ ...request, keyText }); // as dev does in every region
  await store.tenants.insertApiKey({ ...request, keyText });
  expect(await store.tenants.verifyApiKey(keyText, "p1")).toEqual(opened);
  await expect(store.tenants.insertApiKey({ ...request, keyText: "nonsense" })).rejects.toThrow(
    "not an API key",
  );
  await expect(
    store.tenants.createApiKey({ ...request, tenantId: "nobody" }),
  ).rejects.toMatchObject({ code: "store_rejected" });
});
