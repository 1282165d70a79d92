// packages/delivery/src/thread-slices.ts
// Work of one turn of the loop that comes in pieces, from many places at once: pieces go on while a slice lasts,
// and the rest waits for later turns, first come first served.
//   TS1  A turn begins no piece after `sliceMs`: the thread is held so long, and one piece, at most (D7).
import type { Clock, Scheduler } from "@carillon/kernel";

export interface ThreadSlicesDeps {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly scheduler: Scheduler;
  readonly sliceMs: number;
}

const RESOLVED = Promise.resolve();

export class ThreadSlices {
  readonly #deps: ThreadSlicesDeps;
  readonly #waiting: (() => void)[] = [];
  /** Undefined: no piece was done in this turn. */
  #startedAtMs: number | undefined;

  constructor(deps: ThreadSlicesDeps) {
    this.#deps = deps;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Undefined: go on, at once. Otherwise the turn is over: go on, without waiting, when it resolves. */
  next(): Promise<void> | undefined {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#startedAtMs === undefined) {
      this.#startedAtMs = nowMs;
      this.#deps.scheduler.defer(() => this.#beginTurn());
    }
    if (nowMs - this.#startedAtMs < this.#deps.sliceMs) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #beginTurn(): void {
    this.#startedAtMs = undefined;
    if (this.#waiting.length > 0) void this.#letGo();
  }

  /** One after the other: whoever goes on has done its piece when the clock is read again. */
  async #letGo(): Promise<void> {
    const { clock, scheduler, sliceMs } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    this.#startedAtMs = startedAtMs;
    scheduler.defer(() => this.#beginTurn());
    do {
      this.#waiting.shift()?.();
      await RESOLVED;
    } while (this.#waiting.length > 0 && clock.monotonicMs() - startedAtMs < sliceMs);
  }
}
