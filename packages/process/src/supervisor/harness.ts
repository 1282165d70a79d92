// packages/process/src/supervisor/harness.ts
// For this folder's tests: children that do as they are told, and a log of what became of them.
import { FakeClock } from "@carillon/testkit";
import type { Exit } from "../exit.ts";
import type { ChildContext, ChildSpec, Started } from "./child.ts";
import type { SupervisorReport } from "./report.ts";
import type { SupervisorOptions } from "./spec.ts";
import { Supervisor } from "./supervisor.ts";

export interface Script extends Partial<Omit<ChildSpec, "start">> {
  /** What start number `count` (0, 1, …) does; default: starts. */
  readonly onStart?: (count: number, context: ChildContext) => unknown;
  /** Default: has ended when `stop` returns. */
  readonly onStop?: (reason: Exit) => void | Promise<void>;
  /** Has a `kill`. */
  readonly canKill?: boolean;
}

export const CRASH: Exit = { kind: "error", error: new Error("crash") };
export const never = new Promise<never>(() => {});

export class Nursery {
  readonly clock = new FakeClock();
  /** "+a" started, "-a" asked to stop, "!a" killed. */
  readonly log: string[] = [];
  readonly reports: SupervisorReport[] = [];
  readonly exits: Exit[] = [];
  /** Every run's context, by child. */
  readonly contexts = new Map<string, ChildContext[]>();
  readonly running = new Set<string>();

  /** A child with the script; "+a" is logged when its start has gone through. */
  child(id: string, { onStart, onStop, canKill = false, ...traits }: Script = {}): ChildSpec {
    const begin = (answer: unknown): Started | "ignore" => {
      if (answer === "ignore") return answer;
      this.log.push(`+${id}`);
      this.running.add(id);
      const stop = (reason: Exit): void | Promise<void> => {
        this.log.push(`-${id}`);
        const waiting = onStop?.(reason);
        if (waiting === undefined) this.running.delete(id);
        return waiting?.then(() => void this.running.delete(id));
      };
      const kill = (): void => {
        this.log.push(`!${id}`);
        this.running.delete(id);
      };
      return canKill ? { stop, kill } : { stop };
    };
    return {
      id,
      ...traits,
      start: (context) => {
        const contexts = this.contexts.get(id) ?? [];
        this.contexts.set(id, [...contexts, context]);
        const answer = onStart?.(contexts.length, context);
        return answer instanceof Promise ? answer.then(begin) : begin(answer);
      },
    };
  }

  async start(options: Partial<SupervisorOptions>): Promise<Supervisor> {
    const supervisor = this.create(options);
    await supervisor.start();
    return supervisor;
  }

  create(options: Partial<SupervisorOptions> = {}): Supervisor {
    return new Supervisor({ ...this.observed, id: "top", ...options });
  }

  get observed() {
    return {
      clock: this.clock,
      onExit: (exit: Exit) => void this.exits.push(exit),
      onReport: (report: SupervisorReport) => void this.reports.push(report),
    };
  }

  /** The newest run of the child ends by itself; then everything settles. */
  async exit(id: string, exit: Exit = CRASH): Promise<void> {
    this.running.delete(id);
    this.contexts.get(id)?.at(-1)?.exited(exit);
    await this.clock.settle();
  }

  startsOf(id: string): number {
    return this.contexts.get(id)?.length ?? 0;
  }

  /** What was logged since the last time. */
  news(): string {
    return this.log.splice(0).join(" ");
  }

  kinds(): string[] {
    return this.reports.splice(0).map(({ kind }) => kind);
  }
}

export const ESCALATED: Exit = { kind: "shutdown", detail: "reached_max_restart_intensity" };
export const AUTO_SHUTDOWN: Exit = { kind: "shutdown", detail: "auto_shutdown" };

export function statuses(supervisor: Pick<Supervisor, "whichChildren">): string {
  return supervisor
    .whichChildren()
    .map(({ id, status }) => `${id} ${status}`)
    .join(", ");
}
