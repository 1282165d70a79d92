// packages/kernel/src/backoff.ts
// Exponential back-off with jitter: no retry is without a bound and without jitter (STYLE §4).
import type { Random } from "./random.ts";

export interface BackoffOptions {
  readonly baseMs: number; // delay of attempt 1
  readonly factor: number;
  readonly maxMs: number;
  /** 0.5 spreads a delay evenly over ± 50 %; 1 is full jitter over [0, 2 × delay]. */
  readonly jitterShare: number;
}

/** Delay before retry number `attempt` (1, 2, …) in milliseconds. */
export function backoffDelayMs(options: BackoffOptions, attempt: number, random: Random): number {
  const exponent = Math.max(0, attempt - 1);
  const plainMs = Math.min(options.maxMs, options.baseMs * options.factor ** exponent);
  if (plainMs === 0) return 0;
  return plainMs * (1 + options.jitterShare * (2 * random.next() - 1));
}
