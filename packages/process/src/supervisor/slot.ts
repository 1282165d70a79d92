// packages/process/src/supervisor/slot.ts
// A supervisor's place for one child, over all its runs.
import { isQuiet, type Exit } from "../exit.ts";
import type { Started } from "./child.ts";
import type { ChildRun } from "./run.ts";
import type { CheckedChildSpec } from "./spec.ts";

export type SlotState<Child extends Started> =
  | { readonly kind: "stopped" }
  | { readonly kind: "ignored" }
  | { readonly kind: "active"; readonly run: ChildRun<Child> }
  /** Waits for the next attempt. */
  | { readonly kind: "restarting"; cancel(): void };

/** What there is to see of a slot. */
export interface SlotView<Child extends Started> {
  readonly id: string;
  readonly spec: Pick<CheckedChildSpec, "restart" | "type">;
  readonly state: SlotState<Child>;
  readonly restartsCount: number;
  readonly lastExit: Exit | undefined;
}

export interface Slot<
  Args extends readonly unknown[],
  Child extends Started,
> extends SlotView<Child> {
  readonly spec: CheckedChildSpec<Args, Child>;
  /** Forgotten once a temporary child has started: it never starts again. */
  args: Args | undefined;
  state: SlotState<Child>;
  restartsCount: number;
  /** Restart attempts that failed since it last ran. */
  failedAttempts: number;
  lastExit: Exit | undefined;
}

export type ChildStatus =
  | "starting"
  | "running"
  | "restarting"
  | "stopping"
  | "stopped"
  | "ignored";

export function createSlot<Args extends readonly unknown[], Child extends Started>(
  id: string,
  spec: CheckedChildSpec<Args, Child>,
  args: Args,
): Slot<Args, Child> {
  return {
    id,
    spec,
    args,
    state: { kind: "stopped" },
    restartsCount: 0,
    failedAttempts: 0,
    lastExit: undefined,
  };
}

/** The restart types of SV4. */
export function isRestarted(spec: Pick<CheckedChildSpec, "restart">, exit: Exit): boolean {
  return spec.restart === "permanent" || (spec.restart === "transient" && !isQuiet(exit));
}

export function statusOf<Child extends Started>(slot: SlotView<Child>): ChildStatus {
  const { state } = slot;
  if (state.kind !== "active") return state.kind;
  const { phase, exit } = state.run;
  if (phase !== "ended") return phase;
  return exit !== undefined && isRestarted(slot.spec, exit) ? "restarting" : "stopped";
}
