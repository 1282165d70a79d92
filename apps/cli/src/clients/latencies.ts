// apps/cli/src/clients/latencies.ts
// Percentiles of durations, in a histogram: memory does not grow with their number.
import { build, type Histogram } from "hdr-histogram-js";

export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const US_PER_MS = 1_000;
const HIGHEST_MS = 600_000;

export class Latencies {
  // Three digits: an error below 0.1 %.
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_MS * US_PER_MS,
    numberOfSignificantValueDigits: 3,
  });

  /** Below 0 (two clocks that differ) counts as 0. */
  record(durationMs: number): void {
    const us = Math.round(durationMs * US_PER_MS);
    this.#histogram.recordValue(Math.min(Math.max(us, 0), HIGHEST_MS * US_PER_MS));
  }

  add(other: Latencies): void {
    this.#histogram.add(other.#histogram);
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** Undefined when nothing was recorded. */
  get summary(): LatencySummary | undefined {
    if (this.count === 0) return undefined;
    const at = (percentile: number): number =>
      this.#histogram.getValueAtPercentile(percentile) / US_PER_MS;
    const maxMs = this.#histogram.maxValue / US_PER_MS;
    return { count: this.count, p50Ms: at(50), p90Ms: at(90), p99Ms: at(99), maxMs };
  }
}
