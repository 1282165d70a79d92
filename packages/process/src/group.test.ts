// Goal: groups hold processes as long as they live (P22, GR1, GR2).
import { BugError } from "@carillon/kernel";
import { expect, test } from "vitest";
import { Groups } from "./group.ts";
import { say, start, type Step } from "./harness.ts";

function startGroups() {
  const harness = start({ activation: "spawned" });
  for (let slot = 0; slot < 5; slot++) harness.table.spawn(slot);
  return { ...harness, groups: new Groups<Step>(harness.table) };
}

test("P22, GR1, GR2 — a member that ends is removed from all its groups, however often it had joined", async () => {
  const { clock, table, groups, keptCount } = startGroups();
  for (const slot of [3, 1, 1, 2]) groups.join("a", slot);
  groups.join("b", 1);
  expect([groups.members("a"), groups.members("b"), groups.size]).toEqual([[3, 1, 2], [1], 2]);
  table.kill(1);
  table.exit(2);
  table.cast(3, say("boom", { crash: true }));
  await clock.settle();
  expect([groups.members("a"), groups.size, keptCount()]).toEqual([[], 0, 0]); // GR2
});

test("P22, GR1 — joined twice needs leaving twice", async () => {
  const { table, groups, keptCount } = startGroups();
  for (const group of ["a", "a", "b"]) groups.join(group, 1);
  expect([groups.leave("a", 1), groups.members("a")]).toEqual([true, [1]]);
  expect([groups.leave("a", 1), groups.members("a"), groups.leave("a", 1)]).toEqual([
    true,
    [],
    false,
  ]);
  expect([groups.leave("b", 2), groups.leave("c", 1), groups.size]).toEqual([false, false, 1]);
  groups.leave("b", 1);
  expect([groups.size, keptCount(), table.residentCount]).toEqual([0, 0, 5]);
});

test("P22, P7 — the next incarnation that joins before the DOWN was told stays a member", async () => {
  const { clock, table, groups, keptCount } = startGroups();
  for (const slot of [1, 1, 2]) groups.join("a", slot);
  table.exit(1);
  table.spawn(1);
  groups.join("a", 1);
  await clock.settle();
  expect(groups.members("a")).toEqual([2, 1]);
  expect([groups.leave("a", 1), groups.members("a")]).toEqual([true, [2]]);
  table.kill(2);
  await clock.settle();
  expect([groups.size, keptCount()]).toEqual([0, 0]);
});

test("P22 — one that is not there, or no slot, does not stay in a group", async () => {
  const { clock, groups, keptCount } = startGroups();
  groups.join("a", 77);
  await clock.settle();
  expect(groups.size).toBe(0);
  expect(() => groups.join("a", -1)).toThrow(BugError);
  expect([groups.size, groups.members("a"), keptCount()]).toEqual([0, [], 0]);
});

test("P22 — cast reaches each member once; handlers may leave and join meanwhile", async () => {
  const { clock, table, groups, handled } = startGroups();
  for (const slot of [4, 2, 2]) groups.join("a", slot);
  expect([groups.cast("a", say("x")), groups.cast("b", say("x"))]).toEqual([2, 0]);
  await clock.settle();
  expect(handled).toEqual(["4:x#0@0", "2:x#0@0"]);
  table.stop();
  await clock.settle();
  expect([groups.cast("a", say("x")), groups.size]).toEqual([0, 0]);
});
