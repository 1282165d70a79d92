// packages/process/src/pace.ts
// How many messages may go by until the clock is read again. Reading it costs as much as a quick
// message: once in `sliceCheckCount` is enough while they are quick, and far too seldom when each
// takes a millisecond (P15).
//   RT1  Where messages are slow, the next look is as many messages away as the slice has time for.
import type { RuntimeLimits } from "./limits.ts";

/** A slice begins with a look after so many: what came since the last one may be slow. */
const FIRST_LOOK_COUNT = 8;

export class Pace {
  readonly #limits: Pick<RuntimeLimits, "sliceMs" | "sliceCheckCount">;
  /** Messages until the next look. */
  lookCount = FIRST_LOOK_COUNT;
  /** Of one turn, or of a fan-out's chunk: as many as a slice has time for. No limit while quick. */
  turnMax = Infinity;

  constructor(limits: Pick<RuntimeLimits, "sliceMs" | "sliceCheckCount">) {
    this.#limits = limits;
  }

  beginSlice(): void {
    this.lookCount = Math.min(FIRST_LOOK_COUNT, this.turnMax, this.#limits.sliceCheckCount);
  }

  /** `count` messages took `elapsedMs`; the slice has `leftMs`. Grows at most twofold at a time. */
  look(elapsedMs: number, count: number, leftMs: number): void {
    const { sliceMs, sliceCheckCount } = this.#limits;
    const eachMs = elapsedMs / count;
    this.turnMax = Math.max(1, Math.min(Math.floor(sliceMs / eachMs), this.turnMax * 2));
    const fittingCount = Math.max(1, Math.floor(leftMs / eachMs));
    this.lookCount = Math.min(fittingCount, this.lookCount * 2, sliceCheckCount);
  }
}
