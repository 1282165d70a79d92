// Goal: ST14–ST16, D1's and D5's commit. Method: a real Postgres, one database a test.
import type { NotificationAccepted, RegionAudience } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AcceptItem, AcceptResult } from "./accept.ts";
import {
  acceptItem,
  answerFor,
  directTo,
  HOME,
  idsIn,
  newId,
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

const BROADCAST: RegionAudience = { kind: "broadcast" };
const fingerprint = (text: string) => Buffer.from(text.padEnd(32, "."));
const withKey = (key: string, body = "body", audience: RegionAudience | null = BROADCAST) =>
  acceptItem(audience, { idempotency: { key, fingerprint: fingerprint(body) } });
const kinds = (results: readonly AcceptResult[]) => results.map(({ kind }) => kind);

function accepted(result: AcceptResult | undefined): Extract<AcceptResult, { kind: "accepted" }> {
  if (result?.kind !== "accepted") throw new Error(`expected accepted, got ${result?.kind}`);
  return result;
}

test("D1 — a direct notification is there with its ledger row, members and all", async () => {
  const { store } = await postgres.newDatabase();
  const [first, second, third] = idsIn(7, 3) as [string, string, string];
  await register(store, [first, second, third]);
  const notification = notificationFor({
    content: { de: { title: "Übung", data: { b: "1", a: "2" } }, en: { title: "Drill" } },
    exclude: [second],
  });
  const item = acceptItem(directTo(third, first, second), { notification });
  const [result] = await store.notifications.accept(HOME, [item]);
  const entry = { partition: 7, offset: 1, directoryVersion: 1, members: [0, 2] };
  expect(result).toEqual({
    kind: "accepted",
    answer: item.answer,
    ledgerEntries: [entry],
    outboxIds: {},
    backlogs: [],
  });
  expect(await store.ledger.readUnclosedRows(HOME, [7])).toEqual([
    { ...entry, notificationId: notification.id, state: "open", movesCount: 0, sets: setsOf() },
  ]);
  expect(await store.notifications.get(TENANT, notification.id)).toEqual({
    notification,
    audience: item.audience,
    targetRegions: [HOME],
    unknownCount: null,
    isAcceptedHere: true,
  });
  const read = await store.ledger.readNotifications([notification.id, newId()]);
  expect(read).toEqual([{ notification, audience: item.audience }]);
  expect(Object.keys(read[0]!.notification.content)).toEqual(["de", "en"]); // fall-back first
  expect(await store.notifications.get("other", notification.id)).toBeUndefined();
});

test("ST14 — a broadcast gets one planned row in each of the 256 partitions", async () => {
  const { store } = await postgres.newDatabase();
  const before = acceptItem(directTo("nobody"));
  const broadcast = acceptItem(BROADCAST);
  const filter = acceptItem({ kind: "filter", filter: { key: "site", cmp: "exists" } });
  const results = await store.notifications.accept(HOME, [before, broadcast, filter]);
  expect(accepted(results[0]).ledgerEntries).toEqual([]);
  expect(accepted(results[0]).answer.unknownCount).toBe(1); // not registered: counted
  const partitions = Array.from({ length: 256 }, (_, n) => n);
  for (const [place, offset] of [
    [1, 1],
    [2, 2],
  ] as const)
    expect(accepted(results[place]).ledgerEntries).toEqual(
      partitions.map((partition) => ({ partition, offset, directoryVersion: 0, members: null })),
    );
  const rows = await store.ledger.readUnclosedRows(HOME, partitions);
  expect(rows.map(({ state, members }) => [state, members])).toEqual(
    Array.from({ length: 512 }, () => ["planned", null]),
  );
  const heads = await store.ledger.readHeads(HOME, partitions);
  expect(heads.map(({ nextOffset }) => nextOffset)).toEqual(partitions.map(() => 3));
});

test("ST14 — named ones without a group are planned rows, in their partitions only", async () => {
  const { store } = await postgres.newDatabase();
  const [first] = idsIn(7, 1) as [string];
  const [second, third] = idsIn(9, 2) as [string, string];
  await register(store, [first, second, third]);
  const recipientIds = [first, second, third, "nobody"];
  const of = { kind: "recipients" as const, recipientIds };
  const audience: RegionAudience = { kind: "except", of, tags: ["night-shift"], filters: [] };
  const [result] = await store.notifications.accept(HOME, [acceptItem(audience)]);
  expect(accepted(result).ledgerEntries).toEqual([
    { partition: 7, offset: 1, directoryVersion: 1, members: null },
    { partition: 9, offset: 1, directoryVersion: 1, members: null },
  ]);
  expect(accepted(result).answer.unknownCount).toBe(1);
  const rows = await store.ledger.readUnclosedRows(HOME, [7, 8, 9]);
  expect(rows.map(({ partition, state }) => [partition, state])).toEqual([
    [7, "planned"],
    [9, "planned"],
  ]);
});

test("ST14 — 33 recipients of a partition become a bitset, 32 stay an array", async () => {
  const { store } = await postgres.newDatabase();
  const ids = idsIn(9, 33);
  await register(store, ids);
  const results = await store.notifications.accept(HOME, [
    acceptItem(directTo(...ids)),
    acceptItem(directTo(...ids.slice(1), ids[1]!)),
  ]);
  expect(accepted(results[0]).ledgerEntries[0]?.members).toBeNull();
  const rows = await store.ledger.readUnclosedRows(HOME, [9]);
  expect(rows.map(({ members, state, sets }) => ({ members, state, sets }))).toEqual([
    { members: null, state: "open", sets: setsOf({ targeted: [255, 255, 255, 255, 1] }) },
    { members: Array.from({ length: 32 }, (_, i) => i + 1), state: "open", sets: setsOf() },
  ]);
});

test("ST15 — one key 50 times at once over 4 connections: one accepted, 49 replay it", async () => {
  const { store, sql } = await postgres.newDatabase();
  const items = Array.from({ length: 50 }, () => withKey("once"));
  const results = (
    await Promise.all(items.map((item) => store.notifications.accept(HOME, [item])))
  ).flat();
  const winners = results.flatMap((result) => (result.kind === "accepted" ? result.answer : []));
  expect(winners).toHaveLength(1);
  expect(results.filter(({ kind }) => kind === "replayed")).toEqual(
    Array.from({ length: 49 }, () => ({ kind: "replayed", answer: winners[0] })),
  );
  expect(await sql`select count(*)::int as n from notification`).toEqual([{ n: 1 }]);
  expect(await sql`select count(*)::int as n from ledger`).toEqual([{ n: 256 }]);
});

test("ST15 — in one batch the first of a key leads; another body is a mismatch", async () => {
  const { store } = await postgres.newDatabase();
  const items = [withKey("a"), withKey("a"), withKey("a", "other"), withKey("b"), withKey("a")];
  const first = await store.notifications.accept(HOME, items);
  expect(kinds(first)).toEqual(["accepted", "replayed", "mismatch", "accepted", "replayed"]);
  expect(first[1]).toEqual({ kind: "replayed", answer: items[0]!.answer });
  const other = notificationFor({ tenantId: "other" });
  const again = await store.notifications.accept(HOME, [
    withKey("a", "other"),
    withKey("b"),
    { ...withKey("a"), notification: other, answer: answerFor(other, [HOME]) },
  ]);
  expect(kinds(again)).toEqual(["mismatch", "replayed", "accepted"]);
  expect(again[1]).toEqual({ kind: "replayed", answer: items[3]!.answer });
});

test("ST15 — a key is free again after 24 hours", async () => {
  const { store, sql } = await postgres.newDatabase();
  await store.notifications.accept(HOME, [withKey("old"), withKey("young")]);
  await sql`update idempotency set created_at = now() - case key
    when 'old' then interval '24 hours' else interval '23 hours 59 minutes' end`;
  const items = [withKey("old", "new body"), withKey("young")];
  const results = await store.notifications.accept(HOME, items);
  expect(kinds(results)).toEqual(["accepted", "replayed"]);
  expect(kinds(await store.notifications.accept(HOME, [withKey("old", "new body")]))).toEqual([
    "replayed",
  ]);
});

test("ST14 — offsets are contiguous under 8 writers at once", async () => {
  const { store: directory, openStore, sql } = await postgres.newDatabase();
  const ids = Array.from({ length: 200 }, (_, i) => `e${i}`);
  await register(directory, ids);
  const store = openStore({ poolMax: 8 });
  const batches = Array.from({ length: 40 }, (_unused, batch) =>
    Array.from({ length: 10 }, (_, i) =>
      (batch * 10 + i) % 37 === 0
        ? acceptItem(BROADCAST)
        : acceptItem(directTo(ids[(batch * 31 + i * 7) % 200]!, ids[(batch * 17 + i) % 200]!)),
    ),
  );
  const results: AcceptResult[] = [];
  const queue = [...batches];
  const writer = async () => {
    for (let batch = queue.shift(); batch !== undefined; batch = queue.shift())
      results.push(...(await store.notifications.accept(HOME, batch)));
  };
  await Promise.all(Array.from({ length: 8 }, writer));
  const told = results.flatMap((result) => [...accepted(result).ledgerEntries]);
  const stored = await sql<{ partition: number; offset: number }[]>`
    select partition, "offset" from ledger order by partition, "offset"`;
  expect(told.length).toBe(stored.length);
  const expected = Array.from({ length: 256 }, (_, partition) =>
    stored
      .filter((row) => row.partition === partition)
      .map((_row, index) => ({ partition, offset: index + 1 })),
  ).flat();
  expect(stored.map((row) => ({ ...row }))).toEqual(expected);
  const heads = await store.ledger.readHeads(HOME, [...Array(256).keys()]);
  expect(heads.reduce((sum, { nextOffset }) => sum + nextOffset - 1, 0)).toBe(stored.length);
});

test("ST16 — text that cannot be stored refuses its own item; all other Unicode survives", async () => {
  const { store } = await postgres.newDatabase();
  const strange = "\u0001\u001f\u007f\u0085\u2028\ufeff\ufffe😀e\u0301\"\\'{},\u{10ffff}";
  await register(store, ["ä😀{},\"\\'"]);
  const good = notificationFor({ content: { en: { title: strange, data: { [strange]: "x" } } } });
  const results = await store.notifications.accept(HOME, [
    acceptItem(BROADCAST, {
      notification: notificationFor({ content: { en: { title: "a\0b" } } }),
    }),
    acceptItem(directTo("ä😀{},\"\\'"), { notification: good }),
    acceptItem(directTo("half\ud800")),
    acceptItem(BROADCAST, { idempotency: { key: "k\0", fingerprint: fingerprint("x") } }),
  ]);
  expect(results.filter(({ kind }) => kind !== "accepted")).toEqual([
    { kind: "unstorable", field: "content.en.title" },
    { kind: "unstorable", field: "audience.recipientIds[0]" },
    { kind: "unstorable", field: "Idempotency-Key" },
  ]);
  expect(accepted(results[1]).ledgerEntries[0]?.members).toEqual([0]);
  expect((await store.notifications.get(TENANT, good.id))?.notification).toEqual(good);
});

test("D5 — a relayed notification is committed once, however often it comes", async () => {
  const { store, sql } = await postgres.newDatabase();
  const [id] = idsIn(3, 1);
  await register(store, [id!]);
  const direct = { notification: notificationFor(), audience: directTo(id!) };
  const wide = { notification: notificationFor(), audience: BROADCAST };
  const entry = { partition: 3, offset: 1, directoryVersion: 1, members: [0] };
  const first = await store.notifications.acceptRelayed(HOME, [direct, direct, wide]);
  expect(first.map(({ kind }) => kind)).toEqual(["accepted", "repeated", "accepted"]);
  expect(first[0]).toEqual({ kind: "accepted", ledgerEntries: [entry] });
  const again = await Promise.all(
    [[direct], [wide, direct]].map((items) => store.notifications.acceptRelayed(HOME, items)),
  );
  expect(again.flat()).toEqual(Array.from({ length: 3 }, () => ({ kind: "repeated" })));
  expect(await sql`select count(*)::int as n from ledger`).toEqual([{ n: 257 }]);
  expect(await store.notifications.get(TENANT, direct.notification.id)).toMatchObject({
    isAcceptedHere: false,
    unknownCount: null,
    targetRegions: [],
  });
});

test("D5 — the same relayed batch on 8 connections at once, in either order: one copy", async () => {
  const { openStore, sql } = await postgres.newDatabase();
  const store = openStore({ poolMax: 8 });
  const items = Array.from({ length: 40 }, () => ({
    notification: notificationFor(),
    audience: BROADCAST,
  }));
  const results = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      store.notifications.acceptRelayed(HOME, i % 2 === 0 ? items : items.toReversed()),
    ),
  );
  expect(results.flat().filter(({ kind }) => kind === "accepted")).toHaveLength(40);
  expect(await sql`select count(*)::int as n, max("offset")::int as top from ledger`).toEqual([
    { n: 40 * 256, top: 40 },
  ]);
});

test("D1 — an id that is there already is a bug of the caller and is not accepted twice", async () => {
  const { store, sql } = await postgres.newDatabase();
  const item: AcceptItem = acceptItem(BROADCAST);
  await store.notifications.accept(HOME, [item]);
  await expect(store.notifications.accept(HOME, [item])).rejects.toThrow("ST15");
  expect(await sql`select count(*)::int as n from ledger`).toEqual([{ n: 256 }]);
});

test("ST18 — a missing home is refused, not half accepted", async () => {
  const { store, sql } = await postgres.newDatabase();
  const answer: NotificationAccepted = { id: newId(), acceptedAt: "", regions: [] };
  const failure = await store.notifications
    .accept("lon", [acceptItem(BROADCAST, { answer })])
    .catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(Fault);
  expect((failure as Fault).code).toBe("store_rejected");
  expect(await sql`select count(*)::int as n from notification`).toEqual([{ n: 0 }]);
});
