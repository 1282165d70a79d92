// packages/process/src/supervisor/supervisor.ts
// Children by their specs, in an order. A child that ends is restarted as its restart type and the
// strategy say. OTP's semantics, and its supervisor_SUITE for the cases not named.
//   SV1   Children start in the order of their specs and stop in reverse, strictly one by one.
//   SV3   Rejected specs start nothing; the answer names the field.
//   SV4   permanent: always; transient: not after normal or shutdown; temporary: never, forgotten.
//   SV6   The end of one restarts itself, all, or itself and those that started after it.
//   SV12  Requests are answered with what is so, never with an exception.
//   SV13  A child that `start` answers with "ignore" is kept as not running; a temporary is not.
//   SV14  Significant children end the supervisor as autoShutdown says, by their own end only.
import type { ChildSpec, Started } from "./child.ts";
import { STOPPED, SupervisorCore, type StartAnswer } from "./core.ts";
import { createSlot, type Slot } from "./slot.ts";
import {
  checkedSpec,
  childProblems,
  optionProblems,
  type CheckedChildSpec,
  type SpecProblem,
  type SupervisorOptions,
} from "./spec.ts";
import type { ChildCounts } from "./tree.ts";

interface Stopped {
  readonly kind: "stopped"; // the supervisor does not run
}
interface NotFound {
  readonly kind: "not_found";
}
interface StartFailed {
  readonly kind: "start_failed";
  readonly error: unknown;
}

export type StartChildAnswer =
  | { readonly kind: "started"; readonly child: Started }
  | { readonly kind: "ignored" }
  | { readonly kind: "already_started"; readonly child: Started | undefined }
  | { readonly kind: "already_present" } // not running: see restartChild
  | { readonly kind: "rejected"; readonly problems: readonly SpecProblem[] }
  | StartFailed
  | Stopped;

export type RestartChildAnswer =
  | { readonly kind: "started"; readonly child: Started }
  | { readonly kind: "ignored" }
  | { readonly kind: "running" }
  | { readonly kind: "restarting" }
  | StartFailed
  | NotFound
  | Stopped;

export type TerminateChildAnswer = { readonly kind: "terminated" } | NotFound | Stopped;

export type DeleteChildAnswer =
  | { readonly kind: "deleted" }
  | { readonly kind: "running" }
  | { readonly kind: "restarting" }
  | NotFound
  | Stopped;

export type GetChildSpecAnswer<
  Args extends readonly unknown[] = [],
  Child extends Started = Started,
> = { readonly kind: "found"; readonly spec: CheckedChildSpec<Args, Child> } | NotFound;

type StaticSlot = Slot<[], Started>;
const NO_ARGS: [] = [];

export class Supervisor extends SupervisorCore<[], Started> {
  readonly #options: SupervisorOptions;

  constructor(options: SupervisorOptions) {
    super(options);
    this.#options = options;
  }

  /** Starts one more child, the last in the order. A failed start leaves no spec behind. */
  startChild(spec: ChildSpec): Promise<StartChildAnswer> {
    return this.inTurn(async (): Promise<StartChildAnswer> => {
      if (!this.isRunning) return STOPPED;
      const problems = childProblems([spec], this.#options.autoShutdown);
      if (problems.length > 0) return { kind: "rejected", problems };
      const present = this.slots.get(spec.id)?.state;
      if (present?.kind === "active") return { kind: "already_started", child: present.run.child };
      if (present !== undefined) return { kind: "already_present" };
      const slot = createSlot(spec.id, checkedSpec(spec), NO_ARGS);
      this.slots.set(slot.id, slot);
      const outcome = await this.startSlot(slot, "start");
      if (outcome.kind === "start_failed") this.slots.delete(slot.id);
      return outcome.kind === "interrupted" ? STOPPED : outcome;
    });
  }

  /** Stops the child, or its waiting restart. Its spec is kept unless it is temporary. */
  terminateChild(id: string): Promise<TerminateChildAnswer> {
    return this.inTurn(async (): Promise<TerminateChildAnswer> => {
      if (!this.isRunning) return STOPPED;
      const slot = this.slots.get(id);
      if (slot === undefined) return { kind: "not_found" };
      await this.stopSlots([slot], slot.spec.shutdown);
      return { kind: "terminated" };
    });
  }

  /** Starts a child that is kept and does not run. */
  restartChild(id: string): Promise<RestartChildAnswer> {
    return this.inTurn(async (): Promise<RestartChildAnswer> => {
      if (!this.isRunning) return STOPPED;
      const slot = this.slots.get(id);
      if (slot === undefined) return { kind: "not_found" };
      if (slot.state.kind === "active") return { kind: "running" };
      if (slot.state.kind === "restarting") return { kind: "restarting" };
      const outcome = await this.startSlot(slot, "start");
      return outcome.kind === "interrupted" ? STOPPED : outcome;
    });
  }

  /** Forgets a child that does not run. */
  deleteChild(id: string): Promise<DeleteChildAnswer> {
    return this.inTurn((): DeleteChildAnswer => {
      if (!this.isRunning) return STOPPED;
      const slot = this.slots.get(id);
      if (slot === undefined) return { kind: "not_found" };
      if (slot.state.kind === "active") return { kind: "running" };
      if (slot.state.kind === "restarting") return { kind: "restarting" };
      this.slots.delete(id);
      return { kind: "deleted" };
    });
  }

  getChildSpec(id: string): GetChildSpecAnswer {
    const slot = this.slots.get(id);
    return slot === undefined ? { kind: "not_found" } : { kind: "found", spec: slot.spec };
  }

  countChildren(): ChildCounts {
    let supervisors = 0;
    for (const { spec } of this.slots.values()) if (spec.type === "supervisor") supervisors++;
    const specs = this.slots.size;
    return { specs, active: this.runningCount, supervisors, workers: specs - supervisors };
  }

  protected problems(): SpecProblem[] {
    const { autoShutdown, children = [] } = this.#options;
    return [...optionProblems(this.#options), ...childProblems(children, autoShutdown)];
  }

  protected async startChildren(): Promise<StartAnswer> {
    const { children = [] } = this.#options;
    for (const spec of children)
      this.slots.set(spec.id, createSlot(spec.id, checkedSpec(spec), NO_ARGS));
    for (const slot of [...this.slots.values()]) {
      const outcome = await this.startSlot(slot, "start");
      if (outcome.kind === "start_failed") return { ...outcome, id: slot.id };
      if (!this.isStarting) return STOPPED;
    }
    return { kind: "started" };
  }

  protected async stopChildren(): Promise<void> {
    for (const slot of [...this.slots.values()].toReversed())
      await this.stopSlots([slot], slot.spec.shutdown);
  }

  protected groupOf(slot: StaticSlot): readonly StaticSlot[] {
    const { strategy = "one_for_one" } = this.#options;
    if (strategy === "one_for_one") return [slot];
    const all = [...this.slots.values()];
    return strategy === "one_for_all" ? all : all.slice(all.indexOf(slot));
  }

  protected isKept(slot: StaticSlot): boolean {
    return slot.spec.restart !== "temporary";
  }

  protected isAutoShutdownDue(): boolean {
    const { autoShutdown = "never" } = this.#options;
    if (autoShutdown !== "all_significant") return autoShutdown === "any_significant";
    for (const { spec, state } of this.slots.values())
      if (spec.significant && (state.kind === "active" || state.kind === "restarting"))
        return false;
    return true;
  }
}
