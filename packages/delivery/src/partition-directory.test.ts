// packages/delivery/src/partition-directory.test.ts
// Goal: DI1–DI3. Method: examples.
import type { DirectoryAudience } from "@carillon/contracts";
import { expect, test } from "vitest";
import { PartitionDirectory } from "./partition-directory.ts";
import type { DirectoryRow } from "./ports.ts";

const row = (index: number, version: number, more: Partial<DirectoryRow> = {}): DirectoryRow => ({
  index,
  tenantId: "acme",
  recipientId: `r${index}`,
  locale: null,
  timeZone: null,
  preferences: null,
  attributes: {},
  groups: [],
  version,
  ...more,
});

test("DI1 — of two rows of one index the higher version stays, in whatever order they come", () => {
  const directory = new PartitionDirectory();
  directory.put(row(0, 2, { locale: "de", attributes: { team: "new" } }));
  directory.put(row(0, 1, { locale: "en", attributes: { team: "old" } }));
  directory.put(row(0, 2, { locale: "de", attributes: { team: "new" } }));
  expect(directory.localeOf(0)).toBe("de");
  const select = (val: string) => {
    const filter = { key: "team", cmp: "eq", val } as const;
    return directory.select("acme", { kind: "filter", filter }, []).toArray();
  };
  expect([select("new"), select("old")]).toEqual([[0], []]);
  expect(directory.recipientCount).toBe(1);
});

test("DI3 — rows keep what they say, and equal quiet hours are one object", () => {
  const directory = new PartitionDirectory();
  const preferences = (from: string, isNews: boolean) => ({
    categories: isNews ? { news: { socket: false } } : {},
    quietHours: { days: { mon: [{ from, until: "07:00" }] } },
  });
  const said = [
    { timeZone: "Europe/Berlin", preferences: preferences("22:00", true) },
    { timeZone: null, preferences: preferences("22:00", false) },
    { timeZone: "Europe/Berlin", preferences: preferences("22:00", true) },
    { timeZone: "Europe/Paris", preferences: preferences("23:00", true) },
    { timeZone: null, preferences: { categories: { news: {} } } },
    { timeZone: "Europe/Paris", preferences: null },
  ];
  for (const [index, more] of said.entries()) directory.put(row(index, 1, more));
  const rows = said.map((_, index) => directory.rowOf(index)!);
  for (const [index, more] of said.entries()) expect(rows[index]).toEqual(row(index, 1, more));
  const hours = rows.map((one) => one.preferences?.quietHours);
  expect(hours.map((one) => hours.indexOf(one))).toEqual([0, 0, 0, 3, 4, 4]);
  expect(rows[2]!.preferences).toBe(rows[0]!.preferences);
  expect(directory.rowOf(6)).toBeUndefined();
});

test("DI2 — the version only grows, and only when told", () => {
  const directory = new PartitionDirectory();
  directory.put(row(0, 7));
  expect(directory.version).toBe(0);
  directory.completeUpTo(7);
  directory.completeUpTo(3);
  expect(directory.version).toBe(7);
});

test("D8 — an audience stays inside its tenant; who is excluded is not in it", () => {
  const directory = new PartitionDirectory();
  directory.put(row(0, 1));
  directory.put(row(1, 2, { tenantId: "other", recipientId: "r0" }));
  directory.put(row(2, 3));
  const select = (tenantId: string, exclude: string[] = []) =>
    directory.select(tenantId, { kind: "broadcast" }, exclude).toArray();
  expect(select("acme")).toEqual([0, 2]);
  expect(select("acme", ["r0", "nobody"])).toEqual([2]);
  expect(select("other")).toEqual([1]);
  expect(select("stranger")).toEqual([]);
  const explicit = { kind: "recipients" as const, recipientIds: ["r2", "nobody", "r0"] };
  expect(directory.select("acme", explicit, []).toArray()).toEqual([0, 2]);
});

test("D8, AU4 — a group, and who is taken out by people, groups and filters; inside its tenant", () => {
  const directory = new PartitionDirectory();
  const of = (site: string, ...groups: string[]) => ({ attributes: { site }, groups });
  directory.put(row(0, 1, of("Linz", "wardens")));
  directory.put(row(1, 2, of("Graz", "wardens", "board")));
  directory.put(row(2, 3, of("Wien", "wardens/1")));
  directory.put(row(3, 4, { ...of("Wien", "wardens"), tenantId: "other" }));
  directory.put(row(4, 5, of("Wien", "wardens")));
  const select = (audience: DirectoryAudience, exclude: string[] = []) =>
    directory.select("acme", audience, exclude).toArray();
  const wardens = { kind: "group", tag: "wardens" } as const;
  const linz = { key: "site", cmp: "eq", val: "Linz" } as const;
  expect(select(wardens)).toEqual([0, 1, 4]);
  expect(select({ kind: "group", tag: "nobody" })).toEqual([]);
  const except = (
    more: Partial<Extract<DirectoryAudience, { kind: "except" }>>,
  ): DirectoryAudience => ({
    kind: "except",
    of: wardens,
    tags: [],
    filters: [],
    ...more,
  });
  expect(select(except({ tags: ["board", "nobody"] }))).toEqual([0, 4]);
  expect(select(except({ filters: [linz] }))).toEqual([1, 4]);
  expect(select(except({ tags: ["board"], filters: [linz] }), ["r4"])).toEqual([]);
  expect(select(except({ of: { kind: "broadcast" }, tags: ["wardens"] }))).toEqual([2]);
  const named = { kind: "recipients" as const, recipientIds: ["r0", "r1", "r2"] };
  expect(select(except({ of: named, filters: [linz] }))).toEqual([1, 2]);
  directory.put(row(1, 6, of("Graz", "board")));
  expect(select(wardens)).toEqual([0, 4]);
});
