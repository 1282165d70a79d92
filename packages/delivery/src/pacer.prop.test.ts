// Goal: PC1–PC4, RA2, RA4, RA5, whatever is offered when, with a rate or without. Method: rows of any priority, tenant
// and audience, in two partitions, with slices in between; the turns that come are compared with what was offered.
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

const ratedStep = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("offer" as const),
      partition: fc.nat(1),
      members: fc.uniqueArray(fc.nat(12), { minLength: 1, maxLength: 13 }),
      priority: fc.constantFrom(...PRIORITIES),
      tenantId: fc.constantFrom("a", "b"),
      n: fc.nat(3), // of four notifications
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("slice" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(3_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("pace" as const),
      n: fc.nat(3),
      perSecond: fc.option(fc.constantFrom(0, 1, 3, 50)), // null: none; 0: paused
    }),
  },
);

test("RA4, RA5, PC4, HR1 — with rates that change: everybody gets each row once and in order, and nobody is forgotten", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(ratedStep, { maxLength: 40 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      async (steps, turnsMax, quantumCount, ratedRowsMax) => {
        const got = new Map<string, number[]>();
        const wanted = new Map<string, number[]>();
        const note = (to: Map<string, number[]>, key: string, offset: number): void =>
          void to.set(key, [...(to.get(key) ?? []), offset]);
        const paces = new Map<string, number>();
        const { clock, createPartition, finish, offer, pacer, runtime, slice } = startPacer({
          ...{ turnsMax, quantumCount, ratedRowsMax },
          paceOf(entry) {
            const perSecond = paces.get(entry.envelope.notification.id);
            return perSecond === undefined
              ? undefined
              : { perMs: perSecond / 1_000, targetedCount: 20 };
          },
          onTurn({ partition, index, entry }) {
            note(got, `${partition}/${index}`, entry.offset);
            entry.record(index, "noDevice");
          },
        });
        const setPace = (n: number, perSecond: number | null): void => {
          if (perSecond === null) paces.delete(`${n}`);
          else paces.set(`${n}`, perSecond);
          pacer.changed(`${n}`);
        };
        const partitions = [createPartition(0), createPartition(1)];
        for (const one of steps) {
          if (one.kind === "slice") slice();
          else if (one.kind === "wait") await clock.advance(one.ms);
          else if (one.kind === "pace") setPace(one.n, one.perSecond);
          else {
            const partition = partitions[one.partition]!;
            const offset = partition.handedOffset + 1;
            const { members, priority, tenantId, n } = one;
            const entry = entryOf({ offset, members, priority, tenantId, id: `${n}` });
            for (const index of members) note(wanted, `${one.partition}/${index}`, offset);
            offer(partition, entry);
          }
          for (const { ratedCount } of partitions)
            expect(ratedCount).toBeLessThanOrEqual(ratedRowsMax);
        }
        for (const n of [0, 1, 2, 3]) if (paces.get(`${n}`) === 0) setPace(n, 50);
        for (let n = 0; n < 40; n++) {
          finish();
          await clock.advance(30_000); // one a second: 13 in a row, four rows at a time
        }
        finish();
        expect(Object.fromEntries(got)).toEqual(Object.fromEntries(wanted));
        expect([pacer.rowsCount, runtime.runnableCount(), clock.timersCount]).toEqual([0, 0, 0]);
        for (const partition of partitions) {
          expect([partition.ratedCount, partition.heldRows().length]).toEqual([0, 0]);
          for (let index = 0; index <= 12; index++)
            expect(partition.handedUpTo(index)).toBe(partition.handedOffset);
        }
      },
    ),
  );
});
