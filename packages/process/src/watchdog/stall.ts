// packages/process/src/watchdog/stall.ts
// Decides, tick by tick, whether the event loop is stuck and who is to blame. Pure.
//   WD1  A stall of `warnMs` or more is told once, when it is over, with its culprit: the process
//        whose turns were seen in more than half of it.
//   WD3  A look counts for the time since the look before it, but for `TICKS_COUNTED_MAX` ticks at
//        most: while the watch thread did not run itself (a suspended machine, SIGSTOP), nothing is
//        held against the main thread.
//   WD4  With a debugger open the node is not ended.
import { OUTSIDE } from "./pulse.ts";

/** On a loaded machine a tick of 100 ms takes 200 ms and must count as such (measured). */
const TICKS_COUNTED_MAX = 3;

export interface StallLimits {
  /** Between two looks. */
  readonly tickMs: number;
  readonly warnMs: number;
  readonly endMs: number;
}

/** What one look saw. */
export interface Look {
  /** Monotonic, of the watch thread. */
  readonly nowMs: number;
  readonly beatCount: number;
  readonly running: number;
  readonly isDebuggerOpen: boolean;
}

/** `running`: as in the pulse; undefined when no process was seen in more than half of it. */
export interface MeteredStall {
  readonly running: number | undefined;
  readonly blockedMs: number;
}

export type StallStep =
  | { readonly kind: "wait" }
  | ({ readonly kind: "over" } & MeteredStall)
  | ({ readonly kind: "end" } & MeteredStall);

const WAIT: StallStep = { kind: "wait" };

export class StallMeter {
  readonly #limits: StallLimits;
  /** By what ran. */
  readonly #seenMs = new Map<number, number>();
  #beatCount: number | undefined;
  #lookedAtMs = 0;
  #blockedMs = 0;

  constructor(limits: StallLimits) {
    this.#limits = limits;
  }

  /** Once per tick. Exact to about a tick and a beat. After "end" it need not be asked again. */
  look({ nowMs, beatCount, running, isDebuggerOpen }: Look): StallStep {
    const countedMaxMs = this.#limits.tickMs * TICKS_COUNTED_MAX;
    const elapsedMs = Math.min(nowMs - this.#lookedAtMs, countedMaxMs);
    this.#lookedAtMs = nowMs;
    if (beatCount !== this.#beatCount) {
      this.#beatCount = beatCount;
      return this.#finish();
    }
    this.#blockedMs += elapsedMs;
    this.#seenMs.set(running, (this.#seenMs.get(running) ?? 0) + elapsedMs);
    const mayEnd = !isDebuggerOpen && this.#blockedMs >= this.#limits.endMs;
    return mayEnd ? { kind: "end", ...this.#metered() } : WAIT;
  }

  #finish(): StallStep {
    const isTold = this.#blockedMs >= this.#limits.warnMs;
    const step: StallStep = isTold ? { kind: "over", ...this.#metered() } : WAIT;
    this.#blockedMs = 0;
    this.#seenMs.clear();
    return step;
  }

  #metered(): MeteredStall {
    const blockedMs = Math.round(this.#blockedMs);
    for (const [running, seenMs] of this.#seenMs)
      if (seenMs * 2 > this.#blockedMs) return { running, blockedMs };
    return { running: undefined, blockedMs };
  }
}

/**
 * `outside`: of any turn, so in the runtime, a timer, I/O, or behind an `await` of a handler.
 * `several`: turns of different processes, none of which is to blame alone.
 */
export type Culprit =
  | { readonly kind: "process"; readonly table: string; readonly slot: number }
  | { readonly kind: "outside" }
  | { readonly kind: "several" };

/** Carries no state and no message, so that it may be logged. */
export interface Stall {
  readonly culprit: Culprit;
  readonly blockedMs: number;
}

/** `describe` is asked for a process only. */
export function culpritOf(
  running: number | undefined,
  describe: (running: number) => { table: string; slot: number },
): Culprit {
  if (running === undefined) return { kind: "several" };
  if (running === OUTSIDE) return { kind: "outside" };
  return { kind: "process", ...describe(running) };
}
