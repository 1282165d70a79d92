// apps/cli/src/dev/kept.ts
// Keeps one operating-system process running: starts it again when it ends unasked.
//   DV4  Between an end and the next start lies a jittered back-off of 0.2 s, growing to 5 s; it
//        begins anew once the process has run for 10 s.
//   DV5  After `stop` resolves nothing runs, and nothing is started, until `start` is called.
import { backoffDelayMs, type Clock, Fault, type Random } from "@carillon/kernel";

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface KeptProcess {
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  kill(signal: NodeJS.Signals): void;
  /** Bounded: asks, then kills. Safe to call twice. */
  stop(): Promise<unknown>;
}

export interface KeptOptions<P extends KeptProcess> {
  readonly start: () => Promise<P>;
  /** Told at every end, asked for or not. */
  readonly onExit: (exit: ProcessExit, isRestarting: boolean) => void;
  readonly onRestarted: (process: P) => void;
  /** A restart failed; it is tried again. */
  readonly onFault: (cause: unknown) => void;
}

const RESTART = { baseMs: 200, factor: 2, maxMs: 5_000, jitterShare: 0.25 };
const STABLE_AFTER_MS = 10_000;

export class Kept<P extends KeptProcess> {
  readonly #options: KeptOptions<P>;
  readonly #deps: { readonly clock: Clock; readonly random: Random };
  #isWanted = false;
  #generation = 0; // of the wish: a retry of an older one gives up
  #running: P | undefined;
  #starting: Promise<P> | undefined;
  #stopping: Promise<void> | undefined;
  #attempt = 0;
  readonly #waiting: ((process: P) => void)[] = [];

  constructor(options: KeptOptions<P>, deps: { readonly clock: Clock; readonly random: Random }) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Undefined while it is down. */
  get running(): P | undefined {
    return this.#running;
  }

  /**
   * Rejects with the cause when the first start fails: a start that never worked is no crash.
   * Resolves without a process when `stop` was called meanwhile.
   */
  async start(): Promise<void> {
    if (this.#isWanted) return;
    this.#isWanted = true;
    const generation = ++this.#generation;
    this.#attempt = 0;
    await this.#stopping;
    if (this.#generation !== generation) return;
    try {
      await this.#begin();
    } catch (cause) {
      if (this.#generation === generation) this.#isWanted = false;
      throw cause;
    }
  }

  /** DV5. Waits for a start that is under way. Safe to call twice. */
  stop(): Promise<void> {
    this.#isWanted = false;
    this.#generation++;
    this.#stopping ??= this.#end().finally(() => {
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  /** The process once it runs, now or after a restart. Throws Fault `not_running` after the limit. */
  async whenRunning(maxMs: number): Promise<P> {
    if (this.#running !== undefined) return this.#running;
    return new Promise((resolve, reject) => {
      const timer = this.#deps.clock.setTimer(maxMs, () => {
        this.#waiting.splice(this.#waiting.indexOf(settle), 1);
        reject(new Fault("did not come up", { code: "not_running", isRetryable: true }));
      });
      const settle = (process: P): void => {
        timer.cancel();
        resolve(process);
      };
      this.#waiting.push(settle);
    });
  }

  async #begin(): Promise<P> {
    this.#starting = this.#options.start();
    try {
      const process = await this.#starting;
      this.#running = process;
      for (const resolve of this.#waiting.splice(0)) resolve(process);
      void this.#watch(process);
      return process;
    } finally {
      this.#starting = undefined;
    }
  }

  async #watch(process: P): Promise<void> {
    const startedAtMs = this.#deps.clock.monotonicMs();
    const exit = await process.exited;
    if (this.#running === process) this.#running = undefined;
    const isUnasked = this.#isWanted && this.#stopping === undefined;
    this.#options.onExit(exit, isUnasked);
    if (this.#deps.clock.monotonicMs() - startedAtMs >= STABLE_AFTER_MS) this.#attempt = 0;
    if (isUnasked) await this.#restart(this.#generation);
  }

  async #restart(generation: number): Promise<void> {
    for (;;) {
      const delayMs = backoffDelayMs(RESTART, ++this.#attempt, this.#deps.random);
      await this.#deps.clock.sleep(delayMs); // DV4
      if (this.#generation !== generation) return;
      try {
        const process = await this.#begin();
        if (this.#generation === generation) this.#options.onRestarted(process);
        return;
      } catch (cause) {
        if (this.#generation !== generation) return;
        this.#options.onFault(cause);
      }
    }
  }

  async #end(): Promise<void> {
    await this.#starting?.catch(() => undefined); // its failure is told to who started it
    const process = this.#running;
    if (process === undefined) return;
    await process.stop();
    await process.exited;
  }
}
