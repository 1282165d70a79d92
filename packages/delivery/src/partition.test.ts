// packages/delivery/src/partition.test.ts
// Goal: PA3. Method: a partition without processes; entries put in by hand.
import { createSeededRandom } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { entryOf } from "./fake-ledger-store.ts";
import type { RecipientEvent, RecipientState } from "./recipient-decision.ts";
import { Partition } from "./partition.ts";

function start(tailMax: number) {
  const clock = new FakeClock();
  const runtime = createRuntime({ clock, scheduler: clock, random: createSeededRandom(1) });
  const partition = new Partition(
    {
      partition: 0,
      epoch: 1,
      ledgerEpoch: "e",
      knownOffset: 0,
      graceEndsAtMs: 0,
      tailMax,
      tailMaxBytes: 1e9,
      ownRowsMax: 64,
    },
    () =>
      runtime.createTable<RecipientState, RecipientEvent>({
        name: "t",
        behaviour: { init: () => undefined, onCast: () => undefined },
      }),
  );
  const put = (offset: number, isClosed: boolean) => {
    const entry = partition.adopt(entryOf({ offset, members: [0] }));
    if (isClosed) {
      entry.record(0, "noDevice");
      partition.closedOne(entry);
      partition.changed(entry);
    }
    partition.handedOffset = offset;
    return entry;
  };
  return { partition, put };
}

test("PA3 — closed and written entries leave, oldest first; open and unwritten ones stay", () => {
  const { partition, put } = start(2);
  put(1, true);
  put(2, false);
  put(3, true);
  put(4, true);
  put(5, true);
  partition.trim();
  expect(partition.tailFloor).toBe(0); // nothing is written yet
  expect(partition.takeDirty(10).map(({ offset }) => offset)).toEqual([1, 3, 4, 5]);
  const unpin = partition.pin();
  partition.trim();
  expect(partition.tailFloor).toBe(0); // pinned
  unpin();
  unpin();
  partition.trim();
  expect([1, 2, 3, 4, 5].map((offset) => partition.entry(offset) !== undefined)).toEqual([
    false,
    true,
    false,
    true,
    true,
  ]);
  expect(partition.tailFloor).toBe(3);
  expect(partition.openCount).toBe(1);
  expect(partition.openEntriesOf(0).map(({ offset }) => offset)).toEqual([2]);
});

test("PA3 — an entry that is here already is not replaced", () => {
  const { partition, put } = start(9);
  const first = put(1, false);
  expect(partition.adopt(entryOf({ offset: 1, members: [0] }))).toBe(first);
  partition.putBackDirty(first);
  expect(partition.dirtyCount).toBe(1);
});

test("PA3 — many open entries take no room of the closed ones", () => {
  const { partition, put } = start(3);
  for (const offset of [1, 2, 3, 4]) put(offset, true);
  for (let offset = 5; offset < 50; offset++) put(offset, false);
  for (const entry of partition.takeDirty(100)) entry.writeSucceeded();
  partition.trim();
  expect([1, 2, 3, 4].map((offset) => partition.entry(offset) !== undefined)).toEqual([
    ...[false, true, true, true],
  ]);
  expect([partition.tailFloor, partition.openCount]).toEqual([1, 45]);
});

test("PA3 — rows from below the tail that are read again for a receipt take no room of it", () => {
  const { partition, put } = start(3);
  for (let offset = 1; offset <= 6; offset++) put(offset, true);
  for (const entry of partition.takeDirty(100)) entry.writeSucceeded();
  partition.trim();
  const inMemory = () =>
    [1, 2, 3, 4, 5, 6].filter((offset) => partition.entry(offset) !== undefined);
  expect([partition.tailFloor, inMemory()]).toEqual([3, [4, 5, 6]]);
  for (const offset of [1, 2]) {
    const again = entryOf({ offset, members: [0] });
    again.record(0, "noDevice");
    partition.changed(partition.adopt(again));
  }
  partition.trim();
  expect([partition.tailFloor, inMemory()]).toEqual([3, [1, 2, 4, 5, 6]]); // not written yet
  for (const entry of partition.takeDirty(100)) entry.writeSucceeded();
  partition.trim();
  expect([partition.tailFloor, inMemory()]).toEqual([3, [4, 5, 6]]);
});
