// packages/process/src/supervisor/restart-window.ts
// How many restarts a supervisor has made lately: a sliding window.

export class RestartWindow {
  readonly #intensity: number;
  readonly #periodMs: number;
  /** The last `intensity` restarts, as a ring. */
  readonly #restartsAtMs: number[] = [];
  #oldest = 0;

  constructor(intensity: number, periodMs: number) {
    this.#intensity = intensity;
    this.#periodMs = periodMs;
  }

  /**
   * Counts a restart. False: it is one more than `intensity` within `periodMs`, both ends included.
   * `nowMs` never goes back. Cost O(1).
   */
  add(nowMs: number): boolean {
    if (this.#restartsAtMs.length < this.#intensity) {
      this.#restartsAtMs.push(nowMs);
      return true;
    }
    const oldestAtMs = this.#restartsAtMs[this.#oldest];
    if (oldestAtMs === undefined || nowMs - oldestAtMs <= this.#periodMs) return false;
    this.#restartsAtMs[this.#oldest] = nowMs;
    this.#oldest = (this.#oldest + 1) % this.#intensity;
    return true;
  }
}
