// Goal: PC1–PC4, whatever is offered when. Method: rows of any priority, tenant and audience, in two
// partitions, with slices in between; the turns that come are compared with what was offered.
import { PRIORITIES } from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { createRuntime } from "@carillon/process";
import { FakeClock } from "@carillon/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { entryOf } from "./fake-ledger-store.ts";
import { Pacer } from "./pacer.ts";
import { Partition } from "./partition.ts";
import type { RecipientEvent, RecipientState } from "./recipient-decision.ts";

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
        const deferred: (() => void)[] = [];
        const scheduler = { defer: (run: () => void) => void deferred.push(run) };
        const clock = new FakeClock();
        const runtime = createRuntime({ clock, scheduler, random: createSeededRandom(1) });
        const limits = { turnsMax, quantumCount };
        const pacer = new Pacer({
          scheduler,
          limits,
          runnableCount: () => runtime.runnableCount(),
        });
        runtime.onSliceEnd(() => pacer.onSliceEnd());
        const got = new Map<string, number[]>();
        const wanted = new Map<string, number[]>();
        const note = (to: Map<string, number[]>, key: string, offset: number): void =>
          void to.set(key, [...(to.get(key) ?? []), offset]);
        const partitions = [0, 1].map(
          (number) =>
            new Partition(
              {
                partition: number,
                epoch: 1,
                ledgerEpoch: "e",
                knownOffset: 0,
                graceEndsAtMs: 0,
                tailMax: 10,
                tailMaxBytes: 1e9,
              },
              () =>
                runtime.createTable<RecipientState, RecipientEvent>({
                  name: `t/${number}`,
                  behaviour: {
                    init: () => undefined,
                    onCast: ({ slot }, event) => {
                      if (event.kind !== "entry") return;
                      note(got, `${number}/${slot}`, event.entry.offset);
                      event.entry.record(slot, "noDevice");
                    },
                  },
                }),
            ),
        );
        for (const one of steps) {
          if (one.kind === "slice") deferred.shift()?.();
          else {
            const partition = partitions[one.partition]!;
            const offset = partition.handedOffset + 1;
            const { members, priority, tenantId } = one;
            const entry = entryOf({ offset, members, priority, tenantId });
            for (const index of members) note(wanted, `${one.partition}/${index}`, offset);
            partition.adopt(entry);
            partition.handedOffset = offset;
            pacer.offer(partition, entry);
          }
          // A quantum may pass the limit, and each of its recipients be given what waits for him.
          const rowsMax = Math.max(...partitions.map(({ handedOffset }) => handedOffset));
          expect(runtime.runnableCount()).toBeLessThan(
            2 * turnsMax + quantumCount * Math.max(1, rowsMax),
          );
        }
        while (deferred.length > 0) deferred.shift()?.();
        expect(Object.fromEntries(got)).toEqual(Object.fromEntries(wanted));
        expect([pacer.rowsCount, runtime.runnableCount()]).toEqual([0, 0]);
        for (const partition of partitions)
          for (let index = 0; index <= 12; index++)
            expect(partition.handedUpTo(index)).toBe(partition.handedOffset);
      },
    ),
  );
});
