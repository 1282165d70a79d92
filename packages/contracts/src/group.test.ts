// Goal: CT14, CT15. Method: examples, and every order in which regions can hear of changes.
import fc from "fast-check";
import { expect, test } from "vitest";
import { groupIdOfTag, type GroupRecord, groupTagOf, isDeadTag, isNewerGroup } from "./group.ts";

const record = (more: Partial<GroupRecord> = {}): GroupRecord => ({
  groupId: "fire-wardens",
  generation: 0,
  name: null,
  filter: null,
  isDeleted: false,
  changedAtMs: 1,
  changedIn: "fra",
  ...more,
});

test("CT14 of two records of a group one is newer, or they are the same; in any order one stays", () => {
  const some = fc.record({
    generation: fc.nat({ max: 2 }),
    changedAtMs: fc.nat({ max: 2 }),
    changedIn: fc.constantFrom("dub", "fra", "lon"),
  });
  fc.assert(
    fc.property(fc.array(some.map(record), { minLength: 1, maxLength: 5 }), (records) => {
      const last = (all: readonly GroupRecord[]) =>
        all.reduce((kept, one) => (isNewerGroup(one, kept) ? one : kept));
      expect(last(records.toReversed())).toEqual(last(records));
    }),
  );
  expect(isNewerGroup(record(), record())).toBe(false);
  const again = record({ generation: 1 });
  expect(isNewerGroup(again, record({ changedAtMs: 9, changedIn: "par" }))).toBe(true);
});

test("CT15 a group that was deleted and made again has another tag, and the old one is dead", () => {
  const again = record({ generation: 1 });
  expect([record(), again].map(groupTagOf)).toEqual(["fire-wardens", "fire-wardens/1"]);
  expect(["fire-wardens", "fire-wardens/12"].map(groupIdOfTag)).toEqual(
    Array(2).fill("fire-wardens"),
  );
  const dead = (tag: string, known?: GroupRecord) => isDeadTag(tag, known);
  expect(dead("fire-wardens", record())).toBe(false);
  expect(dead("fire-wardens", record({ isDeleted: true }))).toBe(true);
  expect(dead("fire-wardens", again)).toBe(true);
  expect(dead("fire-wardens/1", again)).toBe(false);
  expect(dead("fire-wardens/2", again)).toBe(false); // made elsewhere, not heard of here yet
  expect(dead("fire-wardens")).toBe(false); // the same
});
