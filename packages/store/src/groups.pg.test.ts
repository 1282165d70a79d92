// Goal: ST28, ST29, D8: what groups are, and who is in them. Method: a real Postgres, one database a test.
import {
  type GroupRecord,
  groupTagOf,
  isNewerGroup,
  LIMITS,
  partitionOf,
} from "@carillon/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "./store.ts";
import {
  HOME,
  idsIn,
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

const change = (
  store: Store,
  definition: { name?: string; filter?: GroupRecord["filter"] } | undefined,
  more: { nowMs?: number; region?: string; otherRegions?: string[] } = {},
) =>
  store.groups.change({
    tenantId: TENANT,
    groupId: "wardens",
    definition: definition && {
      ...(definition.name !== undefined && { name: definition.name }),
      ...(definition.filter && { filter: definition.filter }),
    },
    nowMs: 100,
    region: HOME,
    otherRegions: [],
    ...more,
  });
const found = async (store: Store) => (await store.groups.find(TENANT, ["wardens"])).get("wardens");
const setMembers = (store: Store, recipientIds: string[], more = {}) =>
  store.groups.setMembers({
    home: HOME,
    tenantId: TENANT,
    tag: "wardens",
    recipientIds,
    isMember: true,
    ...more,
  });
const tagsOf = async (store: Store, recipientId: string) => {
  const partition = partitionOf(TENANT, recipientId);
  const page = { afterVersion: 0, limitCount: 100 };
  const rows = await store.ledger.readDirectory(HOME, partition, page);
  return rows.find((row) => row.recipientId === recipientId)?.groups;
};

test("ST28 — a change is newer than what is known, whatever the clock says; it is told to the others", async () => {
  const { store } = await postgres.newDatabase();
  const filter = { key: "site", cmp: "eq", val: "Linz" } as const;
  const first = { groupId: "wardens", generation: 0, name: "Wardens", filter: null };
  const others = { otherRegions: ["lon", "par"] };
  expect(await change(store, { name: "Wardens" }, others)).toEqual({
    record: { ...first, isDeleted: false, changedAtMs: 100, changedIn: HOME },
    isCreated: true,
  });
  const second = await change(store, { filter }, { nowMs: 7 }); // a clock that is behind
  expect(second).toEqual({
    record: { ...first, name: null, filter, isDeleted: false, changedAtMs: 101, changedIn: HOME },
    isCreated: false,
  });
  expect(await found(store)).toEqual(second?.record);
  expect(await store.groups.find("other", ["wardens"])).toEqual(new Map());
  const [told, ...rest] = await store.outbox.claim("lon", 10, 1_000);
  expect(rest).toEqual([]);
  const groups = [{ ...first, isDeleted: false, changedAtMs: 100, changedIn: HOME }];
  expect(told).toMatchObject({
    kind: "homes",
    homes: { from: HOME, tenants: [{ tenantId: TENANT, recipientIds: [], groups }] },
  });
});

test("ST28 — deleted once; made again it is in its next life", async () => {
  const { store } = await postgres.newDatabase();
  expect(await change(store, undefined)).toBeUndefined();
  await change(store, { name: "Wardens" });
  const gone = await change(store, undefined);
  expect(gone?.record).toMatchObject({ isDeleted: true, name: null, generation: 0 });
  expect(await change(store, undefined)).toBeUndefined();
  const again = await change(store, {});
  expect(again).toMatchObject({ isCreated: true, record: { generation: 1, isDeleted: false } });
  expect(groupTagOf(again!.record)).toBe("wardens/1");
});

test("ST28 — told in any order and twice, all regions keep the same record", async () => {
  const record = (generation: number, changedAtMs: number, changedIn: string): GroupRecord => ({
    groupId: "wardens",
    generation,
    name: `${generation}/${changedAtMs}/${changedIn}`,
    filter: changedAtMs % 2 === 0 ? { key: "a", cmp: "exists" } : null,
    isDeleted: changedAtMs % 3 === 0,
    changedAtMs,
    changedIn,
  });
  const records = [
    record(0, 9, "lon"),
    record(1, 2, "dub"),
    record(1, 2, "fra"),
    record(1, 1, "par"),
  ];
  const newest = records.reduce((kept, one) => (isNewerGroup(one, kept) ? one : kept));
  expect(newest).toBe(records[2]);
  for (const order of [records, records.toReversed(), [...records.slice(2), ...records]]) {
    const { store } = await postgres.newDatabase();
    for (const one of order) await store.groups.learn([{ tenantId: TENANT, groups: [one] }]);
    expect(await found(store)).toEqual(newest);
    const { store: inOne } = await postgres.newDatabase();
    await inOne.groups.learn([
      { tenantId: "other", groups: [record(3, 3, "fra")] },
      { tenantId: TENANT, groups: order },
    ]);
    expect(await found(inOne)).toEqual(newest);
  }
});

test("ST29 — a change of members moves the versions of their partitions, and comes with the directory", async () => {
  const { store } = await postgres.newDatabase();
  const [a, b, c] = idsIn(2, 3) as [string, string, string];
  const [x] = idsIn(9, 1) as [string];
  await register(store, [a, b, c, x]);
  expect(await setMembers(store, [a, x, "nobody", a])).toEqual({
    changed: 2,
    unchanged: 0,
    missing: ["nobody"],
    full: [],
    partitions: [
      [2, 2],
      [9, 2],
    ],
  });
  const later = await store.ledger.readDirectory(HOME, 2, { afterVersion: 1, limitCount: 10 });
  expect(later.map(({ recipientId, groups, version }) => [recipientId, groups, version])).toEqual([
    [a, ["wardens"], 2],
  ]);
  const heads = await store.ledger.readHeads(HOME, [2, 9]);
  expect(heads.map(({ directoryVersion }) => directoryVersion)).toEqual([2, 2]);
  const streamed: unknown[] = [];
  await store.ledger.streamDirectory(HOME, [2], (page) =>
    streamed.push(...page.map(({ row }) => [row.recipientId, row.groups])),
  );
  expect(streamed).toEqual([
    [a, ["wardens"]],
    [b, []],
    [c, []],
  ]);
  const again = await setMembers(store, [a, b], { isMember: false });
  expect(again).toMatchObject({ changed: 1, unchanged: 1, partitions: [[2, 3]] });
  expect(await setMembers(store, [a, b], { isMember: false })).toMatchObject({
    changed: 0,
    unchanged: 2,
    partitions: [],
  });
  expect(await tagsOf(store, a)).toEqual([]);
});

test("ST29 — a recipient that is stored again stays in its groups", async () => {
  const { store } = await postgres.newDatabase();
  await register(store, ["ann"]);
  await setMembers(store, ["ann"]);
  const changes = [{ recipientId: "ann", locale: "de", timeZone: null, attributes: { a: 1 } }];
  await store.directory.upsert({ home: HOME, tenantId: TENANT, changes, otherRegions: [] });
  expect(await tagsOf(store, "ann")).toEqual(["wardens"]);
});

test("ST29 — who is in as many groups as may be is told; dead tags make room, unknown ones stay", async () => {
  const { store } = await postgres.newDatabase();
  await register(store, ["ann", "ben"]);
  for (let n = 0; n < LIMITS.groupsPerRecipientMax; n++)
    await setMembers(store, ["ann"], { tag: `group-${n}` });
  expect(await setMembers(store, ["ann", "ben"])).toMatchObject({ changed: 1, full: ["ann"] });
  await store.groups.learn([
    {
      tenantId: TENANT,
      groups: [
        {
          groupId: "group-5",
          generation: 0,
          name: null,
          filter: null,
          isDeleted: true,
          changedAtMs: 1,
          changedIn: "lon",
        },
      ],
    },
  ]);
  expect(await setMembers(store, ["ann"])).toMatchObject({ changed: 1, full: [] });
  const tags = await tagsOf(store, "ann");
  expect(tags).toHaveLength(LIMITS.groupsPerRecipientMax);
  expect(tags).toEqual(expect.arrayContaining(["wardens", "group-0"]));
  expect(tags).not.toContain("group-5");
});

test("ST29, ST13 — members, imports and notifications at once: nobody waits for another for ever", async () => {
  const { openStore, sql } = await postgres.newDatabase();
  const store = openStore({ poolMax: 8 });
  const ids = Array.from({ length: 400 }, (_, n) => `employee-${n}`);
  await register(store, ids);
  await Promise.all(
    Array.from({ length: 12 }, (_, n) => {
      const mine = n % 2 === 0 ? ids : ids.toReversed();
      if (n % 3 === 0) return register(store, mine);
      return setMembers(store, mine, { tag: `group-${n % 3}`, isMember: n % 4 !== 0 });
    }),
  );
  const [wrong] = await sql<{ count: number }[]>`
    select count(*)::int as count from (
      select p.n from partition p left join recipient r on r.home = p.home and r.partition = p.n
      group by p.n, p.directory_version having coalesce(max(r.version), 0) > p.directory_version
    ) as ahead`;
  expect(wrong?.count).toBe(0);
});

test("D8 — members of one tenant are none of another, whatever they are called", async () => {
  const { store } = await postgres.newDatabase();
  await register(store, ["ann"]);
  const other = await setMembers(store, ["ann"], { tenantId: "other" });
  expect(other).toMatchObject({ changed: 0, missing: ["ann"], partitions: [] });
  expect(await tagsOf(store, "ann")).toEqual([]);
});
