// packages/process/src/drain.ts
// The drain of a table: it accepts nothing more, finishes what it has, and has a limit (S43).
import { assert, type Timer } from "@carillon/kernel";
import type { DrainOutcome } from "./table-api.ts";
import type { TableCore } from "./table-core.ts";

export function assertDrainMs(maxMs: number): void {
  assert(maxMs >= 0 && maxMs < Infinity, "P25 a drain's limit is a number of milliseconds");
}

export class Drain<State, Message extends object, Reply> {
  readonly #core: TableCore<State, Message, Reply>;
  /** From its beginning on, also when it is over. */
  isBegun = false;
  #open: { readonly timer: Timer; readonly settle: (outcome: DrainOutcome) => void } | undefined;
  #drained: Promise<DrainOutcome> | undefined;

  constructor(core: TableCore<State, Message, Reply>) {
    this.#core = core;
  }

  begin(maxMs: number): Promise<DrainOutcome> {
    const { engine, isStopped } = this.#core;
    assertDrainMs(maxMs);
    if (isStopped) return this.#drained ?? Promise.resolve({ kind: "drained" });
    this.isBegun = true;
    this.#drained ??= new Promise((resolve) => {
      const timer = engine.clock.setTimer(maxMs, () => this.end(false));
      this.#open = { timer, settle: resolve };
      this.#core.wantSliceEnd(); // which looks whether it is done
      engine.schedule();
    });
    return this.#drained;
  }

  /** After a slice; again after the next one while something is left. */
  look(): void {
    if (this.#open === undefined) return;
    const { waitingCount, asyncTurns } = this.#core;
    if (waitingCount === 0 && asyncTurns.size === 0) this.end(true);
    else this.#core.wantSliceEnd();
  }

  end(isDone: boolean): void {
    const open = this.#open;
    this.#open = undefined;
    open?.timer.cancel();
    if (open !== undefined) this.#core.crashSweep.stop(); // what is left goes with the table
    const { waitingCount, asyncTurns } = this.#core;
    open?.settle(
      isDone ? { kind: "drained" } : { kind: "timeout", waitingCount, busyCount: asyncTurns.size },
    );
  }
}
