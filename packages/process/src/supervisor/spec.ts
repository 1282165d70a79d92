// packages/process/src/supervisor/spec.ts
// Specs and options: defaults filled in, and everything that is wrong with them named (SV3).
import type { Clock } from "@carillon/kernel";
import type { Exit } from "../exit.ts";
import type { ChildSpec, Started } from "./child.ts";
import type { SupervisorReport } from "./report.ts";

/** `never`, or the supervisor ends with the first or the last of its significant children. */
export type AutoShutdown = "never" | "any_significant" | "all_significant";
/** Whom the end of one child restarts: itself, all, or itself and those that started after it. */
export type Strategy = "one_for_one" | "one_for_all" | "rest_for_one";

export interface CommonSupervisorOptions {
  /** Its name in reports and in the tree. */
  readonly id: string;
  readonly clock: Clock;
  /** Restarts it makes within `periodMs`; one more and it escalates. Default 3. */
  readonly intensity?: number;
  /** Default 5,000. */
  readonly periodMs?: number;
  /** Default `never`. */
  readonly autoShutdown?: AutoShutdown;
  /** Wait after the failed restart attempt 1, 2, …; default 0: the next turn of the clock. */
  readonly restartDelayMs?: (failedAttempts: number) => number;
  /** Told exactly once, after the last child has ended, if the supervisor had started. */
  readonly onExit?: (exit: Exit) => void;
  readonly onReport?: (report: SupervisorReport) => void;
}

export interface SupervisorOptions extends CommonSupervisorOptions {
  /** Default `one_for_one`. */
  readonly strategy?: Strategy;
  /** In the order of their start. */
  readonly children?: readonly ChildSpec[];
}

export interface DynamicSupervisorOptions<
  Args extends readonly unknown[],
  Child extends Started,
> extends CommonSupervisorOptions {
  /** All children are made after it; each gets its own arguments and the id `<id>:<number>`. */
  readonly child: ChildSpec<Args, Child>;
  /** Default: no limit. */
  readonly maxChildren?: number;
}

export interface SpecProblem {
  /** Undefined: the supervisor's own options. */
  readonly childId: string | undefined;
  readonly field: string;
  readonly problem: string;
}

/** With all defaults filled in. */
export interface CheckedChildSpec<
  Args extends readonly unknown[] = [],
  Child extends Started = Started,
> extends Required<Omit<ChildSpec<Args, Child>, "mayWaitForever" | "start">> {
  readonly start: ChildSpec<Args, Child>["start"];
}

export const DEFAULT_INTENSITY = 3;
export const DEFAULT_PERIOD_MS = 5_000;
const DEFAULT_SHUTDOWN_MS = 5_000;
const DEFAULT_START_MAX_MS = 30_000;
const TIMER_MAX_MS = 2 ** 31 - 1; // a longer timer fires at once

const STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"];
const AUTO_SHUTDOWNS = ["never", "any_significant", "all_significant"];
const RESTARTS = ["permanent", "transient", "temporary"];
const TYPES = ["worker", "supervisor"];

export function checkedSpec<Args extends readonly unknown[], Child extends Started>(
  given: ChildSpec<Args, Child>,
): CheckedChildSpec<Args, Child> {
  const spec = Object(given) as ChildSpec<Args, Child>; // what is none at all is named at the start
  const isSupervisor = spec.type === "supervisor";
  return {
    id: spec.id,
    start: (context, ...args) => spec.start(context, ...args),
    restart: spec.restart ?? "permanent",
    shutdown: spec.shutdown ?? (isSupervisor ? "infinity" : DEFAULT_SHUTDOWN_MS),
    type: spec.type ?? "worker",
    significant: spec.significant ?? false,
    startMaxMs: spec.startMaxMs ?? (isSupervisor ? "infinity" : DEFAULT_START_MAX_MS),
  };
}

/** Problems of the specs one by one and together. Empty: they may be started. */
export function childProblems(
  specs: readonly ChildSpec<never>[],
  autoShutdown: AutoShutdown = "never",
): SpecProblem[] {
  if (!Array.isArray(specs)) return [childrenProblem("must be an array of specs")];
  const seen = new Set<string>();
  return specs.flatMap((spec) => {
    if (!isObject(spec)) return [childrenProblem("every spec must be an object")];
    const problems = problemsOf(spec, autoShutdown);
    if (seen.has(spec.id)) problems.push(["id", "is there twice"]);
    seen.add(spec.id);
    return problems.map(([field, problem]) => ({ childId: spec.id, field, problem }));
  });
}

function childrenProblem(problem: string): SpecProblem {
  return { childId: undefined, field: "children", problem };
}

type FieldProblem = [field: string, problem: string];

function problemsOf(spec: ChildSpec<never>, autoShutdown: AutoShutdown): FieldProblem[] {
  const { id, restart, shutdown, type, significant, mayWaitForever, startMaxMs } = spec;
  const problems: FieldProblem[] = [];
  const expect = (isGood: boolean, field: string, problem: string): void => {
    if (!isGood) problems.push([field, problem]);
  };
  expect(isName(id), "id", "must be a text that is not empty");
  expect(typeof spec.start === "function", "start", "must be a function");
  expect(isOneOf(RESTARTS, restart), "restart", `must be one of ${RESTARTS.join(", ")}`);
  expect(isOneOf(TYPES, type), "type", `must be one of ${TYPES.join(", ")}`);
  expect(
    shutdown === undefined || shutdown === "kill" || isInfinity(shutdown) || isWait(shutdown),
    "shutdown",
    `must be kill, infinity, or 0 to ${TIMER_MAX_MS} ms`,
  );
  expect(
    !isInfinity(shutdown) || type === "supervisor" || mayWaitForever === true,
    "shutdown",
    "is infinity, and the child is no supervisor: say mayWaitForever if that is meant",
  );
  expect(
    startMaxMs === undefined || isInfinity(startMaxMs) || isWait(startMaxMs),
    "startMaxMs",
    `must be infinity, or 0 to ${TIMER_MAX_MS} ms`,
  );
  expect(
    significant === undefined || typeof significant === "boolean",
    "significant",
    "must be true or false",
  );
  if (significant === true) {
    expect(autoShutdown !== "never", "significant", "means nothing while autoShutdown is never");
    expect((restart ?? "permanent") !== "permanent", "significant", "cannot be permanent");
  }
  return problems;
}

export function optionProblems(
  options: CommonSupervisorOptions & { strategy?: Strategy; maxChildren?: number },
): SpecProblem[] {
  const { id, strategy, intensity = 0, periodMs = 1, autoShutdown, maxChildren = 0 } = options;
  const checks: readonly [boolean, string, string][] = [
    [isName(id), "id", "must be a text that is not empty"],
    [isOneOf(STRATEGIES, strategy), "strategy", `must be one of ${STRATEGIES.join(", ")}`],
    [isCount(intensity), "intensity", "must be a whole number from 0"],
    [Number.isFinite(periodMs) && periodMs > 0, "periodMs", "must be more than 0"],
    [
      isOneOf(AUTO_SHUTDOWNS, autoShutdown),
      "autoShutdown",
      `must be one of ${AUTO_SHUTDOWNS.join(", ")}`,
    ],
    [isCount(maxChildren), "maxChildren", "must be a whole number from 0"],
  ];
  return checks
    .filter(([isGood]) => !isGood)
    .map(([, field, problem]) => ({ childId: undefined, field, problem }));
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;
const isName = (value: unknown): boolean => typeof value === "string" && value !== "";
const isOneOf = (known: readonly string[], value: string | undefined): boolean =>
  value === undefined || known.includes(value);
const isInfinity = (value: unknown): boolean => value === "infinity";
const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const isWait = (value: unknown): boolean =>
  typeof value === "number" && value >= 0 && value <= TIMER_MAX_MS;
