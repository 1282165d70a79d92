// packages/process/src/supervisor/tree.ts
// What a supervisor shows of itself.
//   SV17  Counts, children and tree are answered at once and exact at that moment; plain data.
import type { ChildType, Started } from "./child.ts";
import { exitText } from "./report.ts";
import { statusOf, type ChildStatus, type SlotView } from "./slot.ts";

export interface TreeNode {
  readonly id: string;
  readonly type: ChildType;
  readonly status: ChildStatus;
  readonly restartsCount: number;
  /** Why it ended last; undefined: it never did. */
  readonly lastExit: string | undefined;
  /** All of them; `children` may hold fewer. */
  readonly childrenCount: number;
  readonly children: readonly TreeNode[];
}

export interface ChildInfo<Child extends Started = Started> {
  readonly id: string;
  readonly type: ChildType;
  readonly status: ChildStatus;
  /** What its `start` gave, while it runs. */
  readonly child: Child | undefined;
}

export interface ChildCounts {
  /** Of a dynamic supervisor 1. */
  readonly specs: number;
  /** Started and not ended. */
  readonly active: number;
  /** Running or not. */
  readonly supervisors: number;
  readonly workers: number;
}

export type SupervisorPhase = "new" | "starting" | "running" | "stopping" | "ended";

export const STATUS_OF_PHASE: Readonly<Record<SupervisorPhase, ChildStatus>> = {
  new: "stopped",
  starting: "starting",
  running: "running",
  stopping: "stopping",
  ended: "stopped",
};

type Slots<Child extends Started> = ReadonlyMap<string, SlotView<Child>>;

/** In the order of their start. */
export function infosOf<Child extends Started>(slots: Slots<Child>): ChildInfo<Child>[] {
  return Array.from(slots.values(), (slot) => ({
    id: slot.id,
    type: slot.spec.type,
    status: statusOf(slot),
    child: childOf(slot),
  }));
}

/** The first `childrenMax` in the order of their start. */
export function nodesOf<Child extends Started>(
  slots: Slots<Child>,
  childrenMax: number,
): TreeNode[] {
  return Array.from(slots.values())
    .slice(0, childrenMax)
    .map((slot) => {
      const own = childOf(slot)?.tree?.();
      return {
        id: slot.id,
        type: slot.spec.type,
        status: statusOf(slot),
        restartsCount: slot.restartsCount,
        lastExit: slot.lastExit === undefined ? undefined : exitText(slot.lastExit),
        childrenCount: own?.childrenCount ?? 0,
        children: own?.children ?? [],
      };
    });
}

function childOf<Child extends Started>(slot: SlotView<Child>): Child | undefined {
  return slot.state.kind === "active" ? slot.state.run.child : undefined;
}
