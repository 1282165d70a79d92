// packages/process/src/supervisor/child.ts
// What a supervisor's child is, seen from the child: the public types.
import type { Exit } from "../exit.ts";
import type { TreeNode } from "./tree.ts";

/** `permanent`: always; `transient`: not after normal or shutdown; `temporary`: never. */
export type RestartType = "permanent" | "transient" | "temporary";
/** What a stop may take: `kill` asks nobody, a number is milliseconds. */
export type Shutdown = "kill" | number | "infinity";
export type ChildType = "worker" | "supervisor";

/** One run of a child, as that run sees it. A restarted child gets a new one. */
export interface ChildContext {
  readonly id: string;
  /** Aborts when the run shall stop and when it has ended; its `reason` is the `Exit`. */
  readonly signal: AbortSignal;
  /** False once this run has ended: nothing it says counts any more. */
  readonly isCurrent: boolean;
  /**
   * The run has ended by itself. Counts once; from a run that has ended already it is ignored and
   * counted (SV11). Said before `start` has settled, it counts right after that. Needs no `this`.
   */
  readonly exited: (exit: Exit) => void;
}

/** A child that has started. */
export interface Started {
  /**
   * Ends the child; it has ended when this returns or its promise settles, or when the child says
   * `exited`. After the shutdown time it is given up (SV9). A throw or rejection is reported.
   */
  stop(reason: Exit): void | Promise<void>;
  /**
   * Ends it at once, without being asked; nobody waits for it. Without it `stop` is called instead. A
   * throw or rejection is reported (SV9).
   */
  kill?(): void | Promise<void>;
  /** Of a child that is a supervisor. */
  tree?(): TreeNode;
}

export interface ChildSpec<Args extends readonly unknown[] = [], Child extends Started = Started> {
  readonly id: string;
  /** A throw or rejection is a start error. `ignore`: it is not needed, and that is no error. */
  start(context: ChildContext, ...args: Args): Child | "ignore" | Promise<Child | "ignore">;
  /** Default `permanent`. */
  readonly restart?: RestartType;
  /** Default 5,000 ms; of a supervisor `infinity`, since its children have limits. */
  readonly shutdown?: Shutdown;
  /** Default `worker`. */
  readonly type?: ChildType;
  /** Its own end may end the supervisor, see `autoShutdown`. Never with `permanent`. */
  readonly significant?: boolean;
  /** A worker's `shutdown: "infinity"` is meant so. */
  readonly mayWaitForever?: true;
  /** A start that takes longer has failed. Default 30,000 ms; of a supervisor `infinity`. */
  readonly startMaxMs?: number | "infinity";
}
