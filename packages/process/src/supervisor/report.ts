// packages/process/src/supervisor/report.ts
// What supervisors tell their observer. Reports carry no child and no arguments, so that they may
// be logged.
import { causeText, type Exit } from "../exit.ts";

export type SupervisorReport = { readonly supervisor: string } & (
  | { readonly kind: "child_started"; readonly id: string; readonly restartsCount: number }
  | { readonly kind: "child_ignored"; readonly id: string }
  | {
      readonly kind: "start_failed";
      readonly id: string;
      readonly error: unknown;
      readonly during: "start" | "restart";
    }
  /** It ended by itself. `kept`: its spec stays, for `restartChild`. */
  | {
      readonly kind: "child_exited";
      readonly id: string;
      readonly exit: Exit;
      readonly next: "restart" | "kept" | "forgotten";
    }
  /** It was told to. */
  | { readonly kind: "child_stopped"; readonly id: string; readonly exit: Exit }
  /** It did not stop in its shutdown time and was given up; `child_stopped` follows. */
  | { readonly kind: "child_killed"; readonly id: string; readonly shutdownMs: number }
  /** Its `stop` or `kill` failed, or it crashed while it stopped. */
  | { readonly kind: "stop_failed"; readonly id: string; readonly error: unknown }
  /** It started after it had been given up; it was ended at once. */
  | { readonly kind: "late_start"; readonly id: string }
  /** More than `intensity` restarts in `periodMs`: the supervisor ends. */
  | {
      readonly kind: "escalated";
      readonly id: string;
      readonly intensity: number;
      readonly periodMs: number;
    }
  | { readonly kind: "supervisor_exited"; readonly exit: Exit }
);

/** A report before the supervisor has put its name on it. */
export type ChildReport = SupervisorReport extends infer Report
  ? Report extends SupervisorReport
    ? Omit<Report, "supervisor">
    : never
  : never;

const ERROR_TEXT_MAX = 200; // characters: one line on a terminal or in a log

/** Whatever was thrown: "normal", "shutdown: reached_max_restart_intensity", "error: connection refused" … */
export function exitText(exit: Exit): string {
  switch (exit.kind) {
    case "shutdown":
      return exit.detail === undefined ? "shutdown" : `shutdown: ${exit.detail}`;
    case "error": {
      const { error } = exit;
      const text = causeText(error instanceof Error ? error.message : error);
      return `error: ${text.slice(0, ERROR_TEXT_MAX)}`;
    }
    default:
      return exit.kind;
  }
}
