// packages/cluster/src/phi-detector.ts
// The phi-accrual failure detector of one peer (Hayashibara et al. 2004, as in Akka): how unlikely
// is it that a peer that is alive has been silent for so long? Pure; time is passed in.
//   PH1  phi = −log10 of the share of beats that come later still, if the times between them are
//        normally distributed with the mean (plus the pause that is acceptable) and the deviation
//        seen. It grows with the silence, without a step.
//   PH2  Memory is bounded: the last 100 times between beats.
//   PH3  A beat beside the rhythm (sooner than half of what is expected) proves life and is no
//        sample; nor is the silence of a peer that was suspect.
import { assert } from "@carillon/kernel";

export interface PhiOptions {
  /** Between two beats, until there are samples of this peer. */
  readonly expectedMs: number;
  /** So much longer than the mean a silence may be: garbage collection, a lost beat or two. */
  readonly pauseMs: number;
  /** Above it the peer is suspect. 8: one false alarm in 10^8 beats, if they are normal. */
  readonly threshold: number;
}

export const PHI_THRESHOLD = 8; // C12; Akka's default
const SAMPLES_MAX = 100; // PH2: a minute and a half inside a region, five across
/** Beats of an idle machine come to the millisecond: without it one late timer would be suspect. */
const DEVIATION_MIN_MS = 100;
/** Of the mean, for a peer that has beaten only once. Source: Akka. */
const FIRST_DEVIATION_SHARE = 0.25;

export class PhiDetector {
  readonly #options: PhiOptions;
  readonly #samples: number[] = [];
  #nextSample = 0;
  #sum = 0;
  #sumOfSquares = 0;
  #heardAtMs: number;
  #sampledAtMs: number;

  /** With the first beat. */
  constructor(options: PhiOptions, nowMs: number) {
    assert(options.expectedMs > 0 && options.pauseMs >= 0, "PH1 times of a detector");
    this.#options = options;
    this.#heardAtMs = this.#sampledAtMs = nowMs;
    const deviationMs = options.expectedMs * FIRST_DEVIATION_SHARE;
    this.#add(options.expectedMs - deviationMs);
    this.#add(options.expectedMs + deviationMs);
  }

  hear(nowMs: number): void {
    const isTrusted = !this.isSuspect(nowMs);
    const sinceMs = nowMs - this.#sampledAtMs;
    this.#heardAtMs = nowMs;
    if (sinceMs < this.#options.expectedMs / 2) return; // PH3
    this.#sampledAtMs = nowMs;
    if (isTrusted) this.#add(sinceMs);
  }

  silenceMs(nowMs: number): number {
    return nowMs - this.#heardAtMs;
  }

  phi(nowMs: number): number {
    const { mean, deviation } = this.rhythm();
    return phiOf(this.silenceMs(nowMs), mean + this.#options.pauseMs, deviation);
  }

  isSuspect(nowMs: number): boolean {
    return this.phi(nowMs) >= this.#options.threshold;
  }

  /** Of the times between beats, in milliseconds. */
  rhythm(): { readonly mean: number; readonly deviation: number } {
    const count = this.#samples.length;
    const mean = this.#sum / count;
    const variance = Math.max(0, this.#sumOfSquares / count - mean * mean);
    return { mean, deviation: Math.max(DEVIATION_MIN_MS, Math.sqrt(variance)) };
  }

  get samplesCount(): number {
    return this.#samples.length;
  }

  #add(sampleMs: number): void {
    const replaced = this.#samples[this.#nextSample] ?? 0;
    this.#samples[this.#nextSample] = sampleMs;
    this.#nextSample = (this.#nextSample + 1) % SAMPLES_MAX;
    this.#sum += sampleMs - replaced;
    this.#sumOfSquares += sampleMs ** 2 - replaced ** 2;
  }
}

/**
 * PH1: −log10 P(X > silence), X normal. No overflow for any silence; the error of the tail is below
 * 2 × 10⁻⁷ of it. Source: Numerical Recipes §6.2 (erfc by Chebyshev fitting), taken as a logarithm.
 */
export function phiOf(silenceMs: number, meanMs: number, deviationMs: number): number {
  const z = (silenceMs - meanMs) / deviationMs / Math.SQRT2;
  const tailLog10 = (lnErfc(Math.abs(z)) - Math.LN2) / Math.LN10; // of the half beyond |z|
  return z >= 0 ? -tailLog10 : -Math.log10(1 - 10 ** tailLog10);
}

const ERFC = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
  -0.82215223, 0.17087277,
];

/** Natural logarithm of erfc(z), z ≥ 0. */
function lnErfc(z: number): number {
  const t = 1 / (1 + z / 2);
  return Math.log(t) - z * z + ERFC.reduceRight((sum, factor) => sum * t + factor, 0);
}
