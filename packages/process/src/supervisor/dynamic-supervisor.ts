// packages/process/src/supervisor/dynamic-supervisor.ts
// Any number of children after one spec, each with its own arguments: OTP's simple_one_for_one.
//   SV15  Children are told apart by their arguments and ids, restarted one by one, and forgotten
//         when they have ended; at most `maxChildren`. They stop together, with one timer for all.
//   SV16  Start, end, stop and count of a child cost the same with ten children or 100,000.
import type { Started } from "./child.ts";
import { STOPPED, SupervisorCore, type StartAnswer } from "./core.ts";
import { createSlot, type Slot } from "./slot.ts";
import {
  checkedSpec,
  childProblems,
  optionProblems,
  type CheckedChildSpec,
  type DynamicSupervisorOptions,
  type SpecProblem,
} from "./spec.ts";
import type { GetChildSpecAnswer, TerminateChildAnswer } from "./supervisor.ts";
import type { ChildCounts } from "./tree.ts";

export type StartDynamicChildAnswer<Child extends Started> =
  | { readonly kind: "started"; readonly id: string; readonly child: Child }
  | { readonly kind: "ignored" }
  | { readonly kind: "max_children"; readonly maxChildren: number }
  | { readonly kind: "start_failed"; readonly error: unknown }
  | { readonly kind: "stopped" };

export class DynamicSupervisor<
  Args extends readonly unknown[] = [],
  Child extends Started = Started,
> extends SupervisorCore<Args, Child> {
  readonly #options: DynamicSupervisorOptions<Args, Child>;
  readonly #spec: CheckedChildSpec<Args, Child>;
  #lastNumber = 0;

  constructor(options: DynamicSupervisorOptions<Args, Child>) {
    super(options);
    this.#options = options;
    this.#spec = checkedSpec(options.child);
  }

  startChild(...args: Args): Promise<StartDynamicChildAnswer<Child>> {
    return this.inTurn(async (): Promise<StartDynamicChildAnswer<Child>> => {
      if (!this.isRunning) return STOPPED;
      const { maxChildren = Infinity } = this.#options;
      if (this.slots.size >= maxChildren) return { kind: "max_children", maxChildren };
      const id = `${this.#spec.id}:${++this.#lastNumber}`;
      const slot = createSlot(id, this.#spec, args);
      this.slots.set(id, slot);
      const outcome = await this.startSlot(slot, "start");
      if (outcome.kind === "start_failed") this.slots.delete(id);
      if (outcome.kind === "interrupted") return STOPPED;
      return outcome.kind === "started" ? { ...outcome, id } : outcome;
    });
  }

  /** Stops the child, or its waiting restart, and forgets it. */
  terminateChild(id: string): Promise<TerminateChildAnswer> {
    return this.inTurn(async (): Promise<TerminateChildAnswer> => {
      if (!this.isRunning) return STOPPED;
      const slot = this.slots.get(id);
      if (slot === undefined) return { kind: "not_found" };
      await this.stopSlots([slot], slot.spec.shutdown);
      return { kind: "terminated" };
    });
  }

  /** All children have the same. */
  getChildSpec(id: string): GetChildSpecAnswer<Args, Child> {
    return this.slots.has(id) ? { kind: "found", spec: this.#spec } : { kind: "not_found" };
  }

  countChildren(): ChildCounts {
    const isSupervisor = this.#spec.type === "supervisor";
    const { size } = this.slots;
    return {
      specs: 1,
      active: this.runningCount,
      supervisors: isSupervisor ? size : 0,
      workers: isSupervisor ? 0 : size,
    };
  }

  protected problems(): SpecProblem[] {
    const { autoShutdown, child } = this.#options;
    return [...optionProblems(this.#options), ...childProblems([child], autoShutdown)];
  }

  protected startChildren(): Promise<StartAnswer> {
    return Promise.resolve({ kind: "started" });
  }

  protected stopChildren(): Promise<void> {
    return this.stopSlots([...this.slots.values()].toReversed(), this.#spec.shutdown);
  }

  protected groupOf(slot: Slot<Args, Child>): readonly Slot<Args, Child>[] {
    return [slot];
  }

  protected isKept(): boolean {
    return false;
  }

  protected isAutoShutdownDue(): boolean {
    const { autoShutdown = "never" } = this.#options;
    return (
      autoShutdown === "any_significant" ||
      (autoShutdown === "all_significant" && this.slots.size === 0)
    );
  }
}
