// Goal: SY1 of systemic.ts, whichever way the crashes are kept. Method: against the plain rule.
import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_RUNTIME_LIMITS } from "./limits.ts";
import { CrashStorm } from "./systemic.ts";

test("S41, SY1 — for any crashes: as many as distinct processes crashed in the window, or 0 when that is allowed", () => {
  const crash = fc.record({ slot: fc.nat(30), afterMs: fc.nat(120), isCleared: fc.nat(99) });
  fc.assert(
    fc.property(
      fc.array(crash, { maxLength: 300 }),
      fc.integer({ min: 0, max: 25 }),
      (all, max) => {
        const window = { systemicMax: max, systemicShare: 0, systemicWindowMs: 1_000 };
        const limits = { ...DEFAULT_RUNTIME_LIMITS, ...window };
        const storm = new CrashStorm();
        let nowMs = 0;
        const lastMs = new Map<number, number>();
        for (const { slot, afterMs, isCleared } of all) {
          nowMs += afterMs;
          lastMs.set(slot, nowMs);
          const count = [...lastMs.values()].filter((atMs) => nowMs - atMs < 1_000).length;
          expect(storm.note(slot, nowMs, 100, limits)).toBe(count > max ? count : 0);
          if (isCleared > 0) continue;
          storm.clear(); // the end of a pause
          lastMs.clear();
        }
      },
    ),
  );
});
