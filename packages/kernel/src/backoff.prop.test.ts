// Goal: no delay outside its bounds, and the plain series without jitter.
import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffDelayMs } from "./backoff.ts";
import { createSeededRandom } from "./random.ts";

test("without jitter: base, base × factor, … up to the maximum", () => {
  const options = { baseMs: 100, factor: 4, maxMs: 5_000, jitterShare: 0 };
  const delays = [1, 2, 3, 4, 5].map((n) => backoffDelayMs(options, n, createSeededRandom(1)));
  expect(delays).toEqual([100, 400, 1_600, 5_000, 5_000]);
});

test("with jitter: never outside the share around the plain delay, for any attempt", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 2_000 }), (seed, attempt) => {
      const options = { baseMs: 100, factor: 4, maxMs: 5_000, jitterShare: 0.5 };
      const random = createSeededRandom(seed);
      const plainMs = Math.min(5_000, 100 * 4 ** (attempt - 1));
      const delayMs = backoffDelayMs(options, attempt, random);
      expect(delayMs).toBeGreaterThanOrEqual(plainMs * 0.5);
      expect(delayMs).toBeLessThan(plainMs * 1.5);
    }),
  );
});
