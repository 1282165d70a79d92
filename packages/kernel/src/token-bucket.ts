// packages/kernel/src/token-bucket.ts
// A rate limit: `burstCount` at once, refilled evenly. Asks the clock, needs no timer.
//   TB1  In any span of t seconds at most burstCount + t × perSecond tokens are taken.
import type { Clock } from "./clock.ts";

export interface TokenBucketOptions {
  readonly perSecond: number;
  readonly burstCount: number;
}

export class TokenBucket {
  readonly #options: TokenBucketOptions;
  readonly #clock: Clock;
  #tokens: number;
  #filledAtMs: number;

  constructor(options: TokenBucketOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#tokens = options.burstCount;
    this.#filledAtMs = clock.monotonicMs();
  }

  /** True and the tokens are gone, or false and nothing has changed. */
  take(count = 1): boolean {
    this.#fill();
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }

  /** Milliseconds until `count` tokens are there; 0 now, Infinity when the burst is smaller. */
  waitMs(count = 1): number {
    this.#fill();
    if (count > this.#options.burstCount) return Infinity;
    return (Math.max(0, count - this.#tokens) / this.#options.perSecond) * 1_000;
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    const earned = ((nowMs - this.#filledAtMs) / 1_000) * this.#options.perSecond;
    this.#tokens = Math.min(this.#options.burstCount, this.#tokens + earned);
    this.#filledAtMs = nowMs;
  }
}
