// Goal: PC1–PC4, whatever is offered when. Method: rows of any priority, tenant and audience, in two
// partitions, with slices in between; the turns that come are compared with what was offered.
import { PRIORITIES } from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { entryOf } from "./fake-ledger-store.ts";
import { startPacer } from "./test-pacer.ts";

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("offer" as const),
      partition: fc.nat(1),
      members: fc.uniqueArray(fc.nat(12), { minLength: 1, maxLength: 13 }),
      priority: fc.constantFrom(...PRIORITIES),
      tenantId: fc.constantFrom("a", "b"),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("slice" as const) }) },
);

test("PC1, PC4, HR1 — everybody gets each row once and in order, and turns to come stay few", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 4 }),
      (steps, turnsMax, quantumCount) => {
        const got = new Map<string, number[]>();
        const wanted = new Map<string, number[]>();
        const note = (to: Map<string, number[]>, key: string, offset: number): void =>
          void to.set(key, [...(to.get(key) ?? []), offset]);
        const { createPartition, finish, offer, pacer, runtime, slice } = startPacer({
          turnsMax,
          quantumCount,
          onTurn({ partition, index, entry }) {
            note(got, `${partition}/${index}`, entry.offset);
            entry.record(index, "noDevice");
          },
        });
        const partitions = [createPartition(0), createPartition(1)];
        for (const one of steps) {
          if (one.kind === "slice") slice();
          else {
            const partition = partitions[one.partition]!;
            const offset = partition.handedOffset + 1;
            const { members, priority, tenantId } = one;
            const entry = entryOf({ offset, members, priority, tenantId });
            for (const index of members) note(wanted, `${one.partition}/${index}`, offset);
            offer(partition, entry);
          }
          // A quantum may pass the limit, and each of its recipients be given what waits for him.
          const rowsMax = Math.max(...partitions.map(({ handedOffset }) => handedOffset));
          expect(runtime.runnableCount()).toBeLessThan(
            2 * turnsMax + quantumCount * Math.max(1, rowsMax),
          );
        }
        finish();
        expect(Object.fromEntries(got)).toEqual(Object.fromEntries(wanted));
        expect([pacer.rowsCount, runtime.runnableCount()]).toEqual([0, 0]);
        for (const partition of partitions)
          for (let index = 0; index <= 12; index++)
            expect(partition.handedUpTo(index)).toBe(partition.handedOffset);
      },
    ),
  );
});
