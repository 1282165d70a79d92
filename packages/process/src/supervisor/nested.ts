// packages/process/src/supervisor/nested.ts
// A supervisor as the child of another.
//   SV20  Each start makes a new supervisor; its exit is the child's, its tree is the child's tree,
//         its start and its stop are bounded by the limits of its own children.
import { Fault } from "@carillon/kernel";
import type { Exit } from "../exit.ts";
import type { ChildContext, ChildSpec, RestartType, Shutdown, Started } from "./child.ts";
import type { StartAnswer } from "./core.ts";
import { exitText } from "./report.ts";
import type { TreeNode } from "./tree.ts";

/** `Supervisor` and `DynamicSupervisor`, without what is theirs only. */
export interface AnySupervisor {
  readonly id: string;
  start(): Promise<StartAnswer>;
  stop(exit?: Exit): Promise<Exit>;
  kill(exit?: Exit): void;
  tree(childrenMax?: number): TreeNode;
}

export interface SupervisorChildSpec<Child extends AnySupervisor> {
  readonly id: string;
  readonly restart?: RestartType;
  /** Default `infinity`: its children have limits. */
  readonly shutdown?: Shutdown;
  readonly significant?: boolean;
  /** Called for each start; `onExit` belongs into the options of what it makes. */
  create(onExit: (exit: Exit) => void): Child;
}

export interface StartedSupervisor<Child extends AnySupervisor> extends Started {
  readonly supervisor: Child;
}

export function supervisorChild<Child extends AnySupervisor>(
  spec: SupervisorChildSpec<Child>,
): ChildSpec<[], StartedSupervisor<Child>> {
  return {
    ...spec,
    type: "supervisor",
    start: (context) => startSupervisor(spec.create(context.exited), context),
  };
}

async function startSupervisor<Child extends AnySupervisor>(
  supervisor: Child,
  { signal }: ChildContext,
): Promise<StartedSupervisor<Child>> {
  const end = (): void => {
    const exit = signal.reason as Exit;
    if (exit.kind === "shutdown") void supervisor.stop(exit);
    else supervisor.kill(exit);
  };
  signal.addEventListener("abort", end, { once: true });
  const answer = await supervisor.start();
  if (answer.kind !== "started") {
    await supervisor.stop(); // the answer may be there before its children have ended
    throw startFault(supervisor.id, answer);
  }
  return {
    supervisor,
    stop: async (reason) => void (await supervisor.stop(reason)),
    kill: () => supervisor.kill(),
    tree: () => supervisor.tree(),
  };
}

function startFault(id: string, answer: Exclude<StartAnswer, { kind: "started" }>): Fault {
  const isFailure = answer.kind === "start_failed";
  const why = isFailure
    ? `child ${answer.id}: ${exitText({ kind: "error", error: answer.error })}`
    : answer.kind;
  return new Fault(`supervisor ${id} did not start: ${why}`, {
    code: "supervisor_start_failed",
    isRetryable: isFailure,
    cause: isFailure ? answer.error : answer,
  });
}
