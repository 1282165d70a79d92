// packages/process/src/supervisor/observer.ts
// A supervisor's one way to its observer, and its counters.
//   SV19  Each event makes one report; an observer that throws is counted and does no harm.
import type { Exit } from "../exit.ts";
import type { ChildReport } from "./report.ts";
import type { CommonSupervisorOptions } from "./spec.ts";

export interface SupervisorStats {
  /** Restarts that succeeded, of any child. */
  readonly restartsTotal: number;
  readonly startFailuresTotal: number;
  /** Children that did not stop in their shutdown time. */
  readonly killedTotal: number;
  /** `exited` said by runs that had ended (SV11). */
  readonly ignoredExitsTotal: number;
  /** `onExit` or `onReport` threw. */
  readonly callbackErrorsTotal: number;
}

export class Observer {
  readonly counted = {
    restartsTotal: 0,
    startFailuresTotal: 0,
    killedTotal: 0,
    ignoredExitsTotal: 0,
    callbackErrorsTotal: 0,
  };
  readonly #options: CommonSupervisorOptions;

  constructor(options: CommonSupervisorOptions) {
    this.#options = options;
  }

  readonly report = (report: ChildReport): void => {
    this.#callBack(() => this.#options.onReport?.({ supervisor: this.#options.id, ...report }));
  };

  exited(exit: Exit): void {
    this.report({ kind: "supervisor_exited", exit });
    this.#callBack(() => this.#options.onExit?.(exit));
  }

  #callBack(call: () => void): void {
    try {
      call();
    } catch {
      this.counted.callbackErrorsTotal++;
    }
  }
}
