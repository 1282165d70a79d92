// Goal: TB1 of token-bucket.ts.
import fc from "fast-check";
import { expect, test } from "vitest";
import { SteppedClock } from "./stepped-clock.ts";
import { TokenBucket } from "./token-bucket.ts";

test("TB1 — a burst, then the rate; says how long to wait", () => {
  const clock = new SteppedClock();
  const bucket = new TokenBucket({ perSecond: 10, burstCount: 3 }, clock);
  expect([bucket.take(), bucket.take(2), bucket.take()]).toEqual([true, true, false]);
  expect([bucket.waitMs(), bucket.waitMs(3), bucket.waitMs(4)]).toEqual([100, 300, Infinity]);
  clock.advance(99);
  expect(bucket.take()).toBe(false);
  clock.advance(1);
  expect([bucket.take(), bucket.take()]).toEqual([true, false]);
  clock.advance(60_000);
  expect([bucket.take(3), bucket.take()]).toEqual([true, false]);
});

test("TB1 — for any asking, no more than burst + time × rate", () => {
  const ask = fc.record({ afterMs: fc.nat(500), count: fc.integer({ min: 1, max: 4 }) });
  fc.assert(
    fc.property(fc.array(ask), (asks) => {
      const clock = new SteppedClock();
      const bucket = new TokenBucket({ perSecond: 7, burstCount: 5 }, clock);
      let takenCount = 0;
      for (const { afterMs, count } of asks) {
        clock.advance(afterMs);
        if (bucket.take(count)) takenCount += count;
        expect(takenCount).toBeLessThanOrEqual(5 + (clock.monotonicMs() / 1_000) * 7 + 1e-6);
      }
    }),
  );
});
