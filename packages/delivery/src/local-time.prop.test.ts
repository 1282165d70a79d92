// Goal: LT1–LT4 for every zone that Node knows. Method: instants of 2000 to 2040, most of them within a
// day of a change of the zone's offset.
import fc from "fast-check";
import { expect, test } from "vitest";
import { LocalTimes } from "./local-time.ts";

const times = new LocalTimes();
const HOUR_MS = 3_600_000;
const FROM_MS = Date.UTC(2000, 0, 1);
const TO_MS = Date.UTC(2040, 0, 1);
const MONTHS_COUNT = 480;

const offsetMsAt = (instantMs: number, zone: string): number => times.offsetMsAt(instantMs, zone)!;

/** Within three days of a change of the offset, if the month drawn has one. */
const zonedInstant = fc
  .tuple(
    fc.constantFrom(...Intl.supportedValuesOf("timeZone")),
    fc.integer({ min: 0, max: MONTHS_COUNT - 1 }),
    fc.integer({ min: -36 * HOUR_MS, max: 36 * HOUR_MS }),
  )
  .map(([zone, month, aroundMs]) => {
    let [before, after] = [
      FROM_MS + (month * (TO_MS - FROM_MS)) / MONTHS_COUNT,
      FROM_MS + ((month + 1) * (TO_MS - FROM_MS)) / MONTHS_COUNT,
    ].map(Math.floor) as [number, number];
    const offsetMs = offsetMsAt(before, zone);
    while (after - before > HOUR_MS) {
      const middle = Math.floor((before + after) / 2);
      if (offsetMsAt(middle, zone) === offsetMs) before = middle;
      else after = middle;
    }
    return { zone, instantMs: before + aroundMs };
  });

test("LT1 — what clocks show at an instant means that instant, or an earlier one at which they show the same", () => {
  fc.assert(
    fc.property(zonedInstant, ({ zone, instantMs }) => {
      const wallMs = instantMs + offsetMsAt(instantMs, zone);
      const found = times.instantOf(wallMs, zone)!;
      expect(found).toBeLessThanOrEqual(instantMs);
      expect(found + offsetMsAt(found, zone)).toBe(wallMs);
    }),
    { numRuns: 500 },
  );
});

test("LT2, LT3 — in order, and never before the wall time", () => {
  const ahead = fc.integer({ min: 0, max: 3 * HOUR_MS });
  fc.assert(
    fc.property(zonedInstant, ahead, ({ zone, instantMs }, aheadMs) => {
      const first = times.instantOf(instantMs, zone)!; // as a wall time: any number is one
      const second = times.instantOf(instantMs + aheadMs, zone)!;
      expect(first).toBeLessThanOrEqual(second);
      expect(first + offsetMsAt(first, zone)).toBeGreaterThanOrEqual(instantMs);
      const isAfterGap = first + offsetMsAt(first, zone) > instantMs;
      const justBefore = first - 1 + offsetMsAt(first - 1, zone);
      expect(isAfterGap && justBefore >= instantMs).toBe(false); // not a millisecond late
    }),
    { numRuns: 500 },
  );
});

test("LT4 — what clocks show at an instant means for the last time that instant, or a later one", () => {
  fc.assert(
    fc.property(zonedInstant, ({ zone, instantMs }) => {
      const wallMs = instantMs + offsetMsAt(instantMs, zone);
      const last = times.lastInstantOf(wallMs, zone)!;
      expect(last).toBeGreaterThanOrEqual(instantMs);
      expect(last + offsetMsAt(last, zone)).toBe(wallMs);
    }),
    { numRuns: 500 },
  );
});
