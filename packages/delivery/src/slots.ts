// packages/delivery/src/slots.ts
// Places for work that takes connections of the store: so many at a time; a bounded number waits in turn, for a
// bounded time (D6).
import type { Clock } from "@carillon/kernel";

export interface SlotLimits {
  readonly firingMax: number;
  readonly waitingMax: number;
  readonly waitMaxMs: number;
}

export class Slots {
  readonly #limits: SlotLimits;
  readonly #clock: Pick<Clock, "setTimer">;
  readonly #waiting = new Set<() => void>();
  #freeCount: number;

  constructor(limits: SlotLimits, clock: Pick<Clock, "setTimer">) {
    this.#limits = limits;
    this.#clock = clock;
    this.#freeCount = limits.firingMax;
  }

  /** True: a place, which whoever has it gives back. False: too many wait, or it took too long. */
  async take(): Promise<boolean> {
    if (this.#freeCount > 0) {
      this.#freeCount--;
      return true;
    }
    const { waitingMax, waitMaxMs } = this.#limits;
    if (this.#waiting.size >= waitingMax) return false;
    const turn = Promise.withResolvers<boolean>();
    const mine = (): void => turn.resolve(true);
    this.#waiting.add(mine);
    const timer = this.#clock.setTimer(waitMaxMs, () => {
      if (this.#waiting.delete(mine)) turn.resolve(false);
    });
    try {
      return await turn.promise;
    } finally {
      timer.cancel();
    }
  }

  give(): void {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      next();
      return;
    }
    this.#freeCount++;
  }
}
