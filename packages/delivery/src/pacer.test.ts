// Goal: PC1–PC4 and PA2. Method: the real process runtime, whose slices run when the test says so; it
// notes which turns come in which order. Rows are of one partition, or of two.
import { describe, expect, test } from "vitest";
import { entryOf } from "./fake-ledger-store.ts";
import { startPacer as start } from "./test-pacer.ts";

const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

test("PC1 — a broadcast waits in its row: never more turns to come than the limit", () => {
  const { createPartition, finish, offer, pacer, slice, toCome, turns } = start();
  const partition = createPartition(0);
  offer(partition, entryOf({ offset: 1, members: range(20) }));
  expect([toCome(), pacer.rowsCount, turns]).toEqual([4, 1, []]);
  slice();
  expect(turns).toEqual(["1→0", "1→1", "1→2", "1→3"]);
  expect(finish()).toEqual(range(20).map((index) => `1→${index}`));
  expect([toCome(), pacer.rowsCount]).toEqual([4, 0]);
});

test("PC1 — a critical row is handed above the limit, up to twice as many turns", () => {
  const { createPartition, finish, offer, runtime, toCome } = start();
  const partition = createPartition(0);
  offer(partition, entryOf({ offset: 1, members: range(20) }));
  offer(partition, entryOf({ offset: 2, members: [30, 31, 32], priority: "critical" }));
  expect(runtime.runnableCount()).toBe(7);
  offer(partition, entryOf({ offset: 3, members: range(40).slice(33), priority: "critical" }));
  expect(runtime.runnableCount()).toBe(9); // a quantum of two begins at seven
  const turns = finish();
  expect(turns).toHaveLength(30);
  expect(turns.indexOf("3→39")).toBeLessThan(turns.indexOf("1→4")); // all of it before the rest
  expect(toCome()).toBe(9);
});

test("PC2 — what waits is handed by priority, whatever came first", () => {
  const { createPartition, finish, offer } = start({ turnsMax: 1, quantumCount: 1 });
  const partition = createPartition(0);
  offer(partition, entryOf({ offset: 1, members: [0] }));
  offer(partition, entryOf({ offset: 2, members: [1], priority: "low" }));
  offer(partition, entryOf({ offset: 3, members: [2], priority: "normal" }));
  offer(partition, entryOf({ offset: 4, members: [3], priority: "high" }));
  offer(partition, entryOf({ offset: 5, members: [4], priority: "critical" }));
  expect(finish()).toEqual(["1→0", "5→4", "4→3", "3→2", "2→1"]);
});

test("PC2 — a priority that only a newer build knows goes as normal", () => {
  const { createPartition, finish, offer } = start({ turnsMax: 1, quantumCount: 1 });
  const partition = createPartition(0);
  offer(partition, entryOf({ offset: 1, members: [0] }));
  offer(partition, entryOf({ offset: 2, members: [1], priority: "low" }));
  offer(partition, entryOf({ offset: 3, members: [2], priority: "urgent" as never }));
  offer(partition, entryOf({ offset: 4, members: [3], priority: "high" }));
  expect(finish()).toEqual(["1→0", "4→3", "3→2", "2→1"]);
});

test("PC3 — a tenant's broadcast keeps another's single waiting for one quantum", () => {
  const { createPartition, finish, offer } = start();
  const partition = createPartition(0);
  offer(partition, entryOf({ offset: 1, members: range(20) }));
  offer(partition, entryOf({ offset: 2, members: [30], tenantId: "globex" }));
  expect(finish().indexOf("2→30")).toBeLessThanOrEqual(6); // four are handed, then a quantum of two
});

test("PC3 — three tenants with everything waiting take turns", () => {
  const { createPartition, finish, offer } = start({ turnsMax: 1, quantumCount: 1 });
  const [first, second] = [createPartition(0), createPartition(1)];
  offer(first, entryOf({ offset: 1, members: [0] }));
  offer(first, entryOf({ offset: 2, members: [1, 2, 3], tenantId: "a" }));
  offer(second, entryOf({ offset: 1, members: [4, 5, 6], tenantId: "b" }));
  offer(first, entryOf({ offset: 3, members: [7, 8, 9], tenantId: "c" }));
  expect(finish().slice(1)).toEqual([
    ...["2→1", "1→4", "3→7"],
    ...["2→2", "1→5", "3→8"],
    ...["2→3", "1→6", "3→9"],
  ]);
});

test("PC4, D3 — who is handed a critical row is handed first what waits for him, the others wait on", () => {
  const { createPartition, finish, offer } = start({ turnsMax: 1, quantumCount: 1 });
  const partition = createPartition(0);
  offer(partition, entryOf({ offset: 1, members: range(10) }));
  offer(partition, entryOf({ offset: 2, members: range(10) }));
  offer(partition, entryOf({ offset: 3, members: [9], priority: "critical" }));
  const turns = finish();
  expect(turns.slice(0, 4)).toEqual(["1→0", "1→9", "2→9", "3→9"]);
  expect(turns).toHaveLength(21); // nobody twice
});

test("PA2 — handedUpTo tells per recipient how far he has been handed everything", () => {
  const { createPartition, finish, offer } = start({ turnsMax: 1, quantumCount: 1 });
  const partition = createPartition(0);
  offer(partition, entryOf({ offset: 1, members: [0, 1, 2] }));
  offer(partition, entryOf({ offset: 2, members: [2, 3] }));
  offer(partition, entryOf({ offset: 3, members: [1], priority: "critical" }));
  expect([0, 1, 2, 3, 4].map((index) => partition.handedUpTo(index))).toEqual([3, 3, 0, 1, 3]);
  expect(partition.openEntriesOf(2)).toEqual([]);
  finish();
  expect([0, 1, 2, 3, 4].map((index) => partition.handedUpTo(index))).toEqual([3, 3, 3, 3, 3]);
  expect(partition.openEntriesOf(2).map(({ offset }) => offset)).toEqual([1, 2]);
});

describe("who cannot be handed anything holds up nobody", () => {
  test("PA4 — a table that takes nothing: all are noted as refused, and the next row goes on", () => {
    const { createPartition, finish, offer, pacer } = start({ turnsMax: 1, quantumCount: 1 });
    const [stopped, running] = [createPartition(0), createPartition(1)];
    offer(running, entryOf({ offset: 1, members: [0] }));
    offer(stopped, entryOf({ offset: 1, members: range(500) }));
    offer(running, entryOf({ offset: 2, members: [1] }));
    stopped.table.stop();
    expect(finish()).toEqual(["1→0", "2→1"]);
    expect([stopped.spilled.count(), pacer.rowsCount]).toEqual([500, 0]);
  });

  test("DN2 — rows of a lost partition leave", () => {
    const { createPartition, finish, offer, pacer } = start({ turnsMax: 1, quantumCount: 1 });
    const [lost, kept] = [createPartition(0), createPartition(1)];
    offer(lost, entryOf({ offset: 1, members: range(5) }));
    offer(kept, entryOf({ offset: 1, members: [7] }));
    lost.isLost = true;
    lost.table.stop();
    expect(finish()).toEqual(["1→7"]);
    expect(pacer.rowsCount).toBe(0);
  });

  test("HR1 — who has an outcome before his turn is not handed the row", () => {
    const { createPartition, finish, offer } = start({ turnsMax: 1, quantumCount: 1 });
    const partition = createPartition(0);
    const waiting = entryOf({ offset: 2, members: [1, 2] });
    offer(partition, entryOf({ offset: 1, members: [0] }));
    offer(partition, waiting);
    waiting.record(1, "expired");
    expect(finish()).toEqual(["1→0", "2→2"]);
  });

  test("HR1 — nor who gets one after a part of the row was taken", () => {
    const { createPartition, finish, offer, slice } = start({ turnsMax: 1, quantumCount: 1 });
    const partition = createPartition(0);
    const waiting = entryOf({ offset: 1, members: [0, 1, 2] });
    offer(partition, waiting); // 0 is taken
    waiting.record(1, "expired");
    slice();
    expect(finish()).toEqual(["1→0", "1→2"]);
  });
});
