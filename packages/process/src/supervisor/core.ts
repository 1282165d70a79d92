// packages/process/src/supervisor/core.ts
// What static and dynamic supervisors have in common. All that changes children runs in turns, one
// after another, each to its end; between them nothing is under way.
//   SV2   A start that fails stops what has started, in reverse, and answers the error.
//   SV5   More than `intensity` restarts in `periodMs`, failed attempts included, are escalated.
//   SV7   Between two restart attempts everything else has its turn.
//   SV8   Escalation stops the children, then ends the supervisor with `shutdown`, told once.
//   SV18  A supervisor that has ended has no running child and no timer, and answers `stopped`.
// Long: start, restart, escalation and end are one state machine, and share its turns.
import { assert, type Clock } from "@carillon/kernel";
import { KILLED, SHUTDOWN, type Exit } from "../exit.ts";
import type { Shutdown, Started } from "./child.ts";
import { Observer, type SupervisorStats } from "./observer.ts";
import { exitText } from "./report.ts";
import { RestartWindow } from "./restart-window.ts";
import { ChildRun, type RunOwner, type StartOutcome } from "./run.ts";
import { isRestarted, type Slot } from "./slot.ts";
import {
  DEFAULT_INTENSITY,
  DEFAULT_PERIOD_MS,
  type CommonSupervisorOptions,
  type SpecProblem,
} from "./spec.ts";
import { stopRuns } from "./stop-runs.ts";
import {
  STATUS_OF_PHASE,
  infosOf,
  nodesOf,
  type ChildInfo,
  type SupervisorPhase,
  type TreeNode,
} from "./tree.ts";

export type StartAnswer =
  | { readonly kind: "started" }
  /** Nothing was started. */
  | { readonly kind: "rejected"; readonly problems: readonly SpecProblem[] }
  /** Of the child `id`; what had started before it has been stopped. */
  | { readonly kind: "start_failed"; readonly id: string; readonly error: unknown }
  | { readonly kind: "stopped" };

export const STOPPED = { kind: "stopped" } as const;
const TREE_CHILDREN_MAX = 1_000;

export abstract class SupervisorCore<Args extends readonly unknown[], Child extends Started> {
  protected readonly slots = new Map<string, Slot<Args, Child>>();
  readonly #owner: RunOwner<Child>;
  readonly #options: CommonSupervisorOptions;
  readonly #clock: Clock;
  readonly #window: RestartWindow;
  readonly #whenEnded = Promise.withResolvers<Exit>();
  readonly #observer: Observer;
  #phase: SupervisorPhase = "new";
  #hasStarted = false;
  #exit: Exit | undefined;
  #lastTurn: Promise<unknown> = Promise.resolve();
  #starting: Promise<StartAnswer> | undefined;
  /** Its `start` has not settled. */
  #startingRun: ChildRun<Child> | undefined;

  constructor(options: CommonSupervisorOptions) {
    this.#options = options;
    this.#clock = options.clock;
    const { intensity = DEFAULT_INTENSITY, periodMs = DEFAULT_PERIOD_MS } = options;
    this.#observer = new Observer(options);
    this.#window = new RestartWindow(intensity, periodMs);
    this.#owner = {
      clock: options.clock,
      runningCount: 0,
      onEndedByItself: (run) => void this.inTurn(() => this.#onEndedByItself(run)),
      onIgnoredExit: () => void this.#observer.counted.ignoredExitsTotal++,
      report: this.#observer.report,
    };
  }

  get id(): string {
    return this.#options.id;
  }

  /** Starts the children. Safe to call twice. */
  start(): Promise<StartAnswer> {
    this.#starting ??= this.inTurn(() => this.#start());
    return this.#starting;
  }

  /**
   * Stops the children and ends; a start under way is given its child's shutdown time. Resolves
   * with the exit, within the shutdown times of the children (SV9). Safe to call twice.
   */
  stop(exit: Exit = SHUTDOWN): Promise<Exit> {
    if (this.#phase !== "stopping" && this.#phase !== "ended") {
      this.#phase = "stopping";
      this.#startingRun?.interruptStart();
      void this.inTurn(() => this.#finish(exit));
    }
    return this.#whenEnded.promise;
  }

  /** Ends all children and itself now; asks and waits for nobody. */
  kill(exit: Exit = KILLED): void {
    if (this.#phase === "ended") return;
    this.#phase = "stopping";
    for (const slot of [...this.slots.values()].toReversed()) {
      const { state } = slot;
      if (state.kind === "active") state.run.kill();
      this.settle(slot);
    }
    this.#end(exit);
  }

  whichChildren(): ChildInfo<Child>[] {
    return infosOf(this.slots);
  }

  /** Itself and what is below it, with at most `childrenMax` children (of this supervisor). */
  tree(childrenMax: number = TREE_CHILDREN_MAX): TreeNode {
    return {
      id: this.id,
      type: "supervisor",
      status: STATUS_OF_PHASE[this.#phase],
      restartsCount: 0,
      lastExit: this.#exit === undefined ? undefined : exitText(this.#exit),
      childrenCount: this.slots.size,
      children: nodesOf(this.slots, childrenMax),
    };
  }

  stats(): SupervisorStats {
    return { ...this.#observer.counted };
  }

  /** What is wrong with its options and specs. */
  protected abstract problems(): SpecProblem[];
  protected abstract startChildren(): Promise<StartAnswer>;
  /** All of them; afterwards every slot is settled. */
  protected abstract stopChildren(): Promise<void>;
  /** Those that the end of one restarts, in the order of their start. */
  protected abstract groupOf(slot: Slot<Args, Child>): readonly Slot<Args, Child>[];
  /** Is the spec of a child that has ended kept? */
  protected abstract isKept(slot: Slot<Args, Child>): boolean;
  /** The slot's child has ended and will not be restarted. */
  protected abstract isAutoShutdownDue(slot: Slot<Args, Child>): boolean;

  /** Children that have started and not ended. */
  protected get runningCount(): number {
    return this.#owner.runningCount;
  }

  protected get isRunning(): boolean {
    return this.#phase === "running";
  }

  protected get isStarting(): boolean {
    return this.#phase === "starting";
  }

  /** After all turns that were asked for before it. A throw in a turn is a bug and ends it all. */
  protected inTurn<Answer>(turn: () => Answer | Promise<Answer>): Promise<Answer> {
    const answer = this.#lastTurn.then(turn);
    this.#lastTurn = answer.catch((error: unknown) => this.kill({ kind: "error", error }));
    return answer;
  }

  protected async startSlot(
    slot: Slot<Args, Child>,
    during: "start" | "restart",
  ): Promise<StartOutcome<Child>> {
    const { id, spec, args } = slot;
    assert(args !== undefined, `SV4 the temporary child ${id} starts once`);
    const run = new ChildRun<Child>(id, this.#owner);
    slot.state = { kind: "active", run };
    const answer = run.start(() => spec.start(run, ...args), spec.startMaxMs);
    if (answer instanceof Promise) this.#startingRun = run;
    const outcome = answer instanceof Promise ? await answer : answer;
    this.#startingRun = undefined;
    if (outcome.kind === "started") {
      if (during === "restart") slot.restartsCount++;
      slot.failedAttempts = 0;
      if (spec.restart === "temporary") slot.args = undefined;
      this.#observer.report({ kind: "child_started", id, restartsCount: slot.restartsCount });
    } else if (outcome.kind === "ignored") {
      slot.state = { kind: "ignored" };
      this.settle(slot);
      this.#observer.report({ kind: "child_ignored", id });
    } else if (outcome.kind === "start_failed") {
      this.#observer.counted.startFailuresTotal++;
      slot.lastExit = run.exit;
      slot.state = STOPPED;
      this.#observer.report({ kind: "start_failed", id, error: outcome.error, during });
    }
    return outcome;
  }

  /** Stops those that run, together; all are settled afterwards. */
  protected async stopSlots(
    slots: readonly Slot<Args, Child>[],
    shutdown: Shutdown,
  ): Promise<void> {
    const runs = slots.flatMap(({ state }) =>
      state.kind === "active" && state.run.isCurrent ? [state.run] : [],
    );
    const onLate = ({ id }: ChildRun<Child>, shutdownMs: number): void => {
      this.#observer.counted.killedTotal++;
      this.#observer.report({ kind: "child_killed", id, shutdownMs });
    };
    await stopRuns(runs, { shutdown, clock: this.#clock, onLate });
    for (const slot of slots) this.settle(slot);
    for (const { id, exit = KILLED } of runs) {
      if (exit.kind === "error")
        this.#observer.report({ kind: "stop_failed", id, error: exit.error });
      this.#observer.report({ kind: "child_stopped", id, exit });
    }
  }

  /** Nothing of it runs or waits any more. */
  protected settle(slot: Slot<Args, Child>): void {
    if (slot.state.kind === "restarting") slot.state.cancel();
    if (slot.state.kind === "active") slot.lastExit = slot.state.run.exit;
    if (slot.state.kind !== "ignored") slot.state = STOPPED;
    if (!this.isKept(slot)) this.slots.delete(slot.id);
  }

  async #start(): Promise<StartAnswer> {
    if (this.#phase !== "new") return STOPPED;
    this.#phase = "starting";
    const problems = this.problems();
    const answer: StartAnswer =
      problems.length > 0 ? { kind: "rejected", problems } : await this.startChildren();
    if (!this.isStarting) return STOPPED;
    if (answer.kind === "started") {
      this.#phase = "running";
      this.#hasStarted = true;
    } else {
      this.#phase = "stopping";
      await this.#finish({ kind: "shutdown", detail: answer.kind });
    }
    return answer;
  }

  async #onEndedByItself(run: ChildRun<Child>): Promise<void> {
    const slot = this.slots.get(run.id);
    if (!this.isRunning || slot?.state.kind !== "active" || slot.state.run !== run) return;
    const exit = run.exit ?? KILLED;
    const isRestart = isRestarted(slot.spec, exit);
    const next = isRestart ? "restart" : this.isKept(slot) ? "kept" : "forgotten";
    this.#observer.report({ kind: "child_exited", id: run.id, exit, next });
    if (isRestart) return this.#restart(slot);
    this.settle(slot);
    if (slot.spec.significant && this.isAutoShutdownDue(slot))
      await this.#shutDown({ kind: "shutdown", detail: "auto_shutdown" });
  }

  async #restart(slot: Slot<Args, Child>): Promise<void> {
    if (!this.#window.add(this.#clock.monotonicMs())) return this.#escalate(slot);
    const group = this.groupOf(slot);
    for (const one of group.toReversed())
      if (one !== slot) await this.stopSlots([one], one.spec.shutdown);
    if (slot.state.kind === "active") slot.lastExit = slot.state.run.exit;
    slot.state = STOPPED;
    for (const one of group) {
      if (!this.isRunning) return;
      if (!this.slots.has(one.id)) continue;
      const outcome = await this.startSlot(one, "restart");
      if (outcome.kind === "started") this.#observer.counted.restartsTotal++;
      if (outcome.kind === "start_failed") return this.#retryLater(one);
    }
  }

  #retryLater(slot: Slot<Args, Child>): void {
    slot.failedAttempts++;
    if (!this.isRunning) return;
    const delayMs = this.#options.restartDelayMs?.(slot.failedAttempts) ?? 0;
    const timer = this.#clock.setTimer(delayMs, () => {
      void this.inTurn(() => {
        if (this.isRunning && slot.state === waiting) return this.#restart(slot);
      });
    });
    const waiting = { kind: "restarting" as const, cancel: () => timer.cancel() };
    slot.state = waiting;
  }

  #escalate(slot: Slot<Args, Child>): Promise<void> {
    const { intensity = DEFAULT_INTENSITY, periodMs = DEFAULT_PERIOD_MS } = this.#options;
    this.#observer.report({ kind: "escalated", id: slot.id, intensity, periodMs });
    return this.#shutDown({ kind: "shutdown", detail: "reached_max_restart_intensity" });
  }

  async #shutDown(exit: Exit): Promise<void> {
    if (!this.isRunning) return;
    this.#phase = "stopping";
    await this.#finish(exit);
  }

  async #finish(exit: Exit): Promise<void> {
    await this.stopChildren();
    this.#end(exit);
  }

  #end(exit: Exit): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#exit = exit;
    if (this.#hasStarted) this.#observer.exited(exit);
    this.#whenEnded.resolve(exit);
  }
}
