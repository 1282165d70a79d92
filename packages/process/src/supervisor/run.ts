// packages/process/src/supervisor/run.ts
// One run of a child, from its start to its end. A restart is a new run.
//   SV9   A stop ends within the shutdown time; after it the child is killed, given up and reported.
//   SV10  A start ends within its limit; what starts later than that is ended at once.
//   SV11  A run ends once. What it says after its end is ignored and counted.
import { BugError, Fault, type Clock, type Timer } from "@carillon/kernel";
import { KILLED, SHUTDOWN, type Exit } from "../exit.ts";
import type { ChildContext, Started } from "./child.ts";
import type { ChildReport } from "./report.ts";

export type StartOutcome<Child extends Started> =
  | { readonly kind: "started"; readonly child: Child }
  | { readonly kind: "ignored" }
  | { readonly kind: "start_failed"; readonly error: unknown }
  /** The supervisor is to end; the run is still to be stopped. */
  | { readonly kind: "interrupted" };

export type RunPhase = "starting" | "running" | "stopping" | "ended";

export interface RunOwner<Child extends Started> {
  readonly clock: Clock;
  /** Runs that have started and not ended; kept by the runs. */
  runningCount: number;
  /** The run has started and has ended by itself, not by `requestStop` or `kill`. */
  onEndedByItself(run: ChildRun<Child>): void;
  onIgnoredExit(): void;
  report(report: ChildReport): void;
}

type StartAnswer<Child> = Child | "ignore";

export class ChildRun<Child extends Started> implements ChildContext {
  readonly id: string;
  readonly #owner: RunOwner<Child>;
  #phase: RunPhase = "starting";
  /** Set at the end, or when it was said before the start had settled. */
  #exit: Exit | undefined;
  #child: Child | undefined;
  #controller: AbortController | undefined;
  #startTimer: Timer | undefined;
  #answerStart: ((outcome: StartOutcome<Child>) => void) | undefined;
  #ending: PromiseWithResolvers<void> | undefined;

  constructor(id: string, owner: RunOwner<Child>) {
    this.id = id;
    this.#owner = owner;
  }

  get phase(): RunPhase {
    return this.#phase;
  }

  get isCurrent(): boolean {
    return this.#phase !== "ended";
  }

  get child(): Child | undefined {
    return this.#child;
  }

  /** Of a run that has ended. */
  get exit(): Exit | undefined {
    return this.#phase === "ended" ? this.#exit : undefined;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#phase === "ended") this.#controller.abort(this.#exit);
    if (this.#phase === "stopping") this.#controller.abort(SHUTDOWN);
    return this.#controller.signal;
  }

  readonly exited = (exit: Exit): void => {
    if (this.#phase === "starting" && this.#exit === undefined) {
      this.#exit = exit;
    } else if (this.#phase === "running") {
      this.#end(exit);
      this.#owner.onEndedByItself(this);
    } else if (this.#phase === "stopping") {
      this.#end(exit);
    } else {
      this.#owner.onIgnoredExit();
    }
  };

  /** Never throws; waits only when `start` does. */
  start(
    start: () => StartAnswer<Child> | Promise<StartAnswer<Child>>,
    limitMs: number | "infinity",
  ): StartOutcome<Child> | Promise<StartOutcome<Child>> {
    try {
      const answer = start();
      return isThenable(answer) ? this.#waitForStart(answer, limitMs) : this.#begin(answer);
    } catch (error) {
      return this.#failStart(error);
    }
  }

  /** Lets a start that waits be answered at once; `requestStop` must follow. */
  interruptStart(): void {
    this.#startTimer?.cancel();
    this.#answerStart?.({ kind: "interrupted" });
  }

  /** Asks it to stop. Undefined: it has ended; otherwise resolves at its end, whatever that is. */
  requestStop(): Promise<void> | undefined {
    if (this.#phase === "starting" || this.#phase === "running") {
      this.#phase = "stopping";
      this.#controller?.abort(SHUTDOWN);
      this.#callStop();
    }
    if (!this.isCurrent) return undefined;
    this.#ending ??= Promise.withResolvers();
    return this.#ending.promise;
  }

  /** Ends it now and gives it up. */
  kill(): void {
    if (!this.isCurrent) return;
    const child = this.#child;
    const isAsked = this.#phase === "stopping";
    this.#end(KILLED);
    this.#answerStart?.({ kind: "interrupted" });
    if (child !== undefined) this.#forceEnd(child, isAsked);
  }

  async #waitForStart(
    answer: PromiseLike<StartAnswer<Child>>,
    limitMs: number | "infinity",
  ): Promise<StartOutcome<Child>> {
    const { promise, resolve } = Promise.withResolvers<StartOutcome<Child>>();
    this.#answerStart = resolve;
    if (limitMs !== "infinity")
      this.#startTimer = this.#owner.clock.setTimer(limitMs, () => {
        resolve(this.#failStart(startTimeout(limitMs)));
      });
    answer.then(
      (child) => resolve(this.#begin(child)),
      (error: unknown) => resolve(this.#failStart(error)),
    );
    const outcome = await promise;
    this.#answerStart = undefined;
    return outcome;
  }

  #begin(answer: StartAnswer<Child>): StartOutcome<Child> {
    this.#startTimer?.cancel();
    if (answer === "ignore") {
      this.#end(SHUTDOWN);
      return { kind: "ignored" };
    }
    if (typeof (answer as Partial<Started> | undefined)?.stop !== "function")
      return this.#failStart(new BugError("SV10 start gave neither a child nor ignore"));
    if (this.#phase === "ended") {
      this.#owner.report({ kind: "late_start", id: this.id });
      this.#forceEnd(answer, false);
      return { kind: "interrupted" };
    }
    this.#child = answer;
    this.#owner.runningCount++;
    if (this.#phase === "stopping") {
      this.#callStop();
      return { kind: "interrupted" };
    }
    this.#phase = "running";
    const earlyExit = this.#exit;
    if (earlyExit !== undefined) this.exited(earlyExit);
    return { kind: "started", child: answer };
  }

  #failStart(error: unknown): StartOutcome<Child> {
    // Told to stop while it started: that it did not finish is what was asked.
    this.#end(this.#phase === "stopping" ? SHUTDOWN : { kind: "error", error });
    return { kind: "start_failed", error };
  }

  /** Without effect while the start has not settled: `#begin` calls it then. */
  #callStop(): void {
    if (this.#child === undefined || this.#phase !== "stopping") return;
    try {
      const waiting = this.#child.stop(SHUTDOWN);
      if (!isThenable(waiting)) return this.#end(SHUTDOWN);
      waiting.then(
        () => this.#end(SHUTDOWN),
        (error: unknown) => this.#failStop(error),
      );
    } catch (error) {
      this.#failStop(error);
    }
  }

  #failStop(error: unknown): void {
    const child = this.#child;
    this.#end({ kind: "error", error });
    if (child !== undefined) this.#forceEnd(child, true);
  }

  /** Nothing waits for it. `isAsked`: its `stop` was called already. */
  #forceEnd(child: Child, isAsked: boolean): void {
    const onError = (error: unknown): void => {
      this.#owner.report({ kind: "stop_failed", id: this.id, error });
    };
    const stopUnasked = (): void | Promise<void> => (isAsked ? undefined : child.stop(KILLED));
    try {
      const waiting = child.kill === undefined ? stopUnasked() : child.kill();
      if (isThenable(waiting)) waiting.then(undefined, onError);
    } catch (error) {
      onError(error);
    }
  }

  #end(exit: Exit): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#exit = exit;
    if (this.#child !== undefined) this.#owner.runningCount--;
    this.#child = undefined;
    this.#startTimer?.cancel();
    this.#controller?.abort(exit);
    this.#ending?.resolve();
  }
}

function startTimeout(limitMs: number): Fault {
  const message = `did not start in ${limitMs} ms`;
  return new Fault(message, { code: "start_timeout", isRetryable: true });
}

function isThenable<Value>(value: Value | PromiseLike<Value>): value is PromiseLike<Value> {
  return typeof (value as Partial<PromiseLike<Value>> | undefined)?.then === "function";
}
