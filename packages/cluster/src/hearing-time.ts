// packages/cluster/src/hearing-time.ts
// The time during which this member could have heard others: it stands still while its own link is
// down, and while it did not run itself (SIGSTOP, a long stall). Silence is measured with it, so
// that "I cannot hear" is never taken for "they do not speak" (CL13).
import type { Clock } from "@carillon/kernel";

export class HearingTime {
  readonly #clock: Clock;
  readonly #gapMaxMs: number;
  #isHearing: boolean;
  #countedMs = 0;
  #countedAtMs: number;

  /** A gap between two calls of `count` longer than `gapMaxMs` means that this member slept. */
  constructor(clock: Clock, options: { readonly gapMaxMs: number; readonly isHearing: boolean }) {
    this.#clock = clock;
    this.#gapMaxMs = options.gapMaxMs;
    this.#isHearing = options.isHearing;
    this.#countedAtMs = clock.monotonicMs();
  }

  /** Never goes back. */
  nowMs(): number {
    if (!this.#isHearing) return this.#countedMs;
    return (
      this.#countedMs + Math.min(this.#gapMaxMs, this.#clock.monotonicMs() - this.#countedAtMs)
    );
  }

  /** To be called with every beat, and with every change of the link. */
  count(isHearing: boolean): void {
    this.#countedMs = this.nowMs();
    this.#countedAtMs = this.#clock.monotonicMs();
    this.#isHearing = isHearing;
  }
}
