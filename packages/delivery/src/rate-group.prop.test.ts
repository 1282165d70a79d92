// Goal: RA2 and RA3 for all rows, paces and times. Method: a group is served at any times for any number; what it handed
// in every span is compared with what it may, and what is handed of each row with the others.
import fc from "fast-check";
import { expect, test } from "vitest";
import { entryOf } from "./fake-ledger-store.ts";
import { RateGroup } from "./rate-group.ts";
import { startPacer } from "./test-pacer.ts";

const BURST_MS = 1_000;
const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

test("RA2, RA3 — in no span is more handed than the share of the rate, its burst and one; all rows are handed evenly", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 }), // people of each row
      fc.record({
        perSecond: fc.constantFrom(0.1, 1, 7, 100, 5_000),
        others: fc.nat(200), // of other owners
        phase: fc.double({ min: 0, max: 0.999, noNaN: true }),
      }),
      fc.array(fc.record({ afterMs: fc.nat(2_000), countMax: fc.integer({ min: 1, max: 64 }) }), {
        minLength: 1,
        maxLength: 60,
      }),
      (sizes, { perSecond, others, phase }, serves) => {
        const own = sizes.reduce((sum, size) => sum + size, 0);
        const pace = { perMs: perSecond / 1_000, targetedCount: own + others };
        const { createPartition } = startPacer();
        const places = sizes.map((size, n) => {
          const partition = createPartition(n);
          return { partition, row: partition.hold(entryOf({ offset: 1, members: range(size) })) };
        });
        const group = new RateGroup(places[0]!.row.entry, { pace, phase, nowMs: 0 });
        for (const place of places) group.add(place, 0);
        const handed: { atMs: number; count: number }[] = [];
        const counts = sizes.map(() => 0);
        let nowMs = 0;
        for (const { afterMs, countMax } of serves) {
          nowMs += afterMs;
          const count = group.serve(nowMs, countMax, ({ partition, row }, partMax) => {
            const taken = row.take(partMax).count();
            counts[partition.partition] = (counts[partition.partition] ?? 0) + taken;
            return taken;
          });
          expect(count).toBeLessThanOrEqual(countMax);
          handed.push({ atMs: nowMs, count });
        }
        const perMs = (pace.perMs * own) / (own + others);
        for (const [from, { atMs }] of handed.entries()) {
          let sum = 0;
          for (const to of handed.slice(from)) {
            sum += to.count;
            const mayCount = perMs * (to.atMs - atMs + BURST_MS) + 1;
            expect(sum).toBeLessThanOrEqual(mayCount + 1e-3);
          }
        }
        // A part of a row is at most what 64 give to each, above or below the share that is handed of all.
        const share = counts.reduce((sum, count) => sum + count, 0) / own;
        const step = Math.ceil(64 / sizes.length);
        for (const [n, size] of sizes.entries())
          expect(Math.abs((counts[n] ?? 0) - share * size)).toBeLessThanOrEqual(step + 1);
      },
    ),
  );
});
