// Goal: GW19 for all sizes and windows.
import { assert, integer, property } from "fast-check";
import { expect, test } from "vitest";
import { planDrain } from "./drain.ts";

test("GW19 — closes all, evenly, within the window, in ascending steps", () => {
  const sizes = [integer({ min: 0, max: 5_000 }), integer({ min: 0, max: 60_000 })] as const;
  assert(
    property(...sizes, integer({ min: 1, max: 2_000 }), (socketsCount, windowMs, stepMs) => {
      let closedCount = 0;
      let lastAtMs = 0;
      for (const { atMs, closeCount } of planDrain(socketsCount, windowMs, stepMs)) {
        expect(closedCount).toBeGreaterThanOrEqual(
          (socketsCount * atMs) / Math.max(1, windowMs) - 1,
        );
        expect(atMs).toBeGreaterThanOrEqual(lastAtMs);
        expect(atMs).toBeLessThanOrEqual(windowMs);
        closedCount += closeCount;
        lastAtMs = atMs;
      }
      expect(closedCount).toBe(socketsCount);
    }),
  );
});
