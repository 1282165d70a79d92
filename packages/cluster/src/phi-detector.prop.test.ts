// Goal: PH1–PH3, C12. Method: against the tail of the normal distribution by numeric integration;
// rhythms at random; the silences at which peers become suspect are named.
import fc from "fast-check";
import { expect, test } from "vitest";
import { PHI_THRESHOLD, PhiDetector, phiOf } from "./phi-detector.ts";

/** P(X > x) of the standard normal distribution: Simpson's rule over its density. */
function upperTail(x: number): number {
  const STEPS = 4_000;
  const WIDTH = 14; // beyond it nothing that a double could tell is left
  const step = WIDTH / STEPS;
  const density = (at: number): number => Math.exp((-at * at) / 2) / Math.sqrt(2 * Math.PI);
  let sum = density(x) + density(x + WIDTH);
  for (let n = 1; n < STEPS; n++) sum += density(x + n * step) * (n % 2 === 1 ? 4 : 2);
  return (sum * step) / 3;
}

test("PH1 — phi is −log10 of the normal distribution's tail", () => {
  fc.assert(
    fc.property(
      fc.double({ min: -6, max: 12, noNaN: true }),
      fc.double({ min: 100, max: 20_000, noNaN: true }),
      fc.double({ min: 100, max: 3_000, noNaN: true }),
      (deviations, meanMs, deviationMs) => {
        const phi = phiOf(meanMs + deviations * deviationMs, meanMs, deviationMs);
        expect(phi).toBeCloseTo(-Math.log10(upperTail(deviations)), 5);
      },
    ),
  );
});

test("PH1 — phi grows with the silence, and is finite for any", () => {
  const silences = [0, 500, 1_000, 4_000, 8_000, 60_000, 3_600_000, 86_400_000 * 365];
  const phis = silences.map((silenceMs) => phiOf(silenceMs, 4_000, 100));
  expect(phis).toEqual(phis.toSorted((a, b) => a - b));
  expect(new Set(phis.slice(3)).size).toBe(5);
  expect(phis.every(Number.isFinite)).toBe(true);
  expect(phiOf(4_000, 4_000, 100)).toBeCloseTo(Math.log10(2), 6); // half of them come later
});

/** The silence, to the millisecond, from which on the peer is suspect. */
function suspectAfterMs(detector: PhiDetector, heardAtMs: number): number {
  let silenceMs = 0;
  while (!detector.isSuspect(heardAtMs + silenceMs)) silenceMs++;
  return silenceMs;
}

function beating(expectedMs: number, pauseMs: number, gapsMs: readonly number[]) {
  const detector = new PhiDetector({ expectedMs, pauseMs, threshold: PHI_THRESHOLD }, 0);
  let nowMs = 0;
  for (const gapMs of gapsMs) detector.hear((nowMs += gapMs));
  return { detector, nowMs };
}

test("C12 — suspect after about 4.6 s of silence in the region, 13.6 s across", () => {
  const near = beating(1_000, 3_000, Array(200).fill(1_000));
  expect(suspectAfterMs(near.detector, near.nowMs)).toBe(4_562); // mean + pause + 5.6 deviations
  const far = beating(3_000, 10_000, Array(200).fill(3_000));
  expect(suspectAfterMs(far.detector, far.nowMs)).toBe(13_562);
  const first = beating(1_000, 3_000, []); // only one beat: less is known of it
  expect(suspectAfterMs(first.detector, 0)).toBe(5_404);
});

test("PH1 — whatever the rhythm was, suspicion is neither before mean + pause nor unbounded", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 500, max: 3_500 }), { maxLength: 300 }), (gapsMs) => {
      const { detector, nowMs } = beating(1_000, 3_000, gapsMs);
      const { mean, deviation } = detector.rhythm();
      const silenceMs = suspectAfterMs(detector, nowMs);
      expect(silenceMs).toBeGreaterThan(mean + 3_000);
      expect(silenceMs).toBeLessThanOrEqual(Math.ceil(mean + 3_000 + 5.62 * deviation));
    }),
    { numRuns: 50 },
  );
});

test("PH2 — a hundred samples are kept, and their mean is that of the last hundred", () => {
  const { detector } = beating(1_000, 3_000, [...Array(500).fill(3_000), ...Array(100).fill(900)]);
  expect(detector.samplesCount).toBe(100);
  expect(detector.rhythm().mean).toBeCloseTo(900, 6);
  expect(detector.rhythm().deviation).toBe(100);
});

test("PH3 — extra beats prove life and change no rhythm; a silence of a suspect is no sample", () => {
  const gapsMs = Array.from({ length: 400 }, (_, n) => (n % 2 === 0 ? 100 : 900));
  const extra = beating(1_000, 3_000, gapsMs);
  expect(extra.detector.rhythm().mean).toBeCloseTo(1_000, 0);
  const gone = beating(1_000, 3_000, [...Array(100).fill(1_000), 60_000]);
  expect(gone.detector.rhythm()).toEqual({ mean: 1_000, deviation: 100 });
  expect(gone.detector.isSuspect(gone.nowMs)).toBe(false); // it speaks again
});
