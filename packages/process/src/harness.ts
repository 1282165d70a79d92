// packages/process/src/harness.ts
// For this package's tests: a runtime on FakeClock with one table and everything it tells noted.
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import type { Behaviour } from "./behaviour.ts";
import { PASSIVATED } from "./exit.ts";
import type { CrashReport, PauseReport, RuntimeLimits } from "./limits.ts";
import { createRuntime, type RuntimeOptions } from "./runtime.ts";
import type { CallOutcome, ProcessTable, TableOptions } from "./table-api.ts";
import type { Table } from "./table.ts";

/** What the handler shall do is in the message. */
export interface Step {
  readonly kind: "step";
  readonly say: string;
  readonly crash?: boolean;
  /** Takes so long, as a promise. */
  readonly asyncMs?: number;
  /** Forgets its state. */
  readonly forget?: boolean;
}

export interface Counted {
  count: number;
}

export type StepTable = ProcessTable<Counted, Step>;

export function say(text: string, more: Partial<Step> = {}): Step {
  return { kind: "step", say: text, ...more };
}

type Kind = Pick<TableOptions<Counted, Step>, "activation" | "restart" | "keyOf" | "slotOf">;

export interface StartOptions extends Kind {
  readonly pulse?: NonNullable<RuntimeOptions["pulse"]>;
  readonly limits?: Partial<RuntimeLimits>;
  readonly behaviour?: Partial<Behaviour<Counted, Step>>;
  readonly seed?: number;
}

/** `handled` has "slot:text#count@ms" for each message that went through. */
export function start(options: StartOptions = {}) {
  const { limits = {}, behaviour = {}, seed = 1, pulse, ...kind } = options;
  const clock = new FakeClock();
  const handled: string[] = [];
  const told: string[] = [];
  const crashes: CrashReport[] = [];
  const pauses: PauseReport[] = [];
  const runtime = createRuntime({
    clock,
    scheduler: clock,
    random: createSeededRandom(seed),
    limits,
    ...(pulse === undefined ? {} : { pulse }),
    onCrash: (report) => crashes.push(report),
    onPause: (report) => pauses.push(report),
    onResume: (name) => told.push(`resume ${name}@${clock.monotonicMs()}`),
    onLoadFailed: (name, slot, cause) => told.push(`load ${name}/${slot} ${String(cause)}`),
    onCallbackError: (callback, cause) => told.push(`${callback}: ${String(cause)}`),
  });
  const table: StepTable = runtime.createTable<Counted, Step>({
    ...kind,
    name: "p7",
    behaviour: {
      init: () => ({ count: 0 }),
      onCast(context, step) {
        if (step.crash === true && step.asyncMs === undefined) throw new Error(step.say);
        const finish = (): void => {
          if (step.crash === true) throw new Error(step.say);
          const count = context.state?.count ?? -1;
          handled.push(`${context.slot}:${step.say}#${count}@${clock.monotonicMs()}`);
          context.state = step.forget === true ? undefined : { count: count + 1 };
        };
        return step.asyncMs === undefined ? finish() : clock.sleep(step.asyncMs).then(finish);
      },
      onStop: (slot, state, exit) => {
        const why = exit === PASSIVATED ? "passivated" : exit.kind;
        told.push(`stop ${slot} #${state.count} ${why}`);
      },
      ...behaviour,
    },
  });
  /** What is kept beside the rows; 0 when all has ended. */
  const keptCount = (): number => (table as Table<Counted, Step, unknown>).core.keptCount;
  return { clock, runtime, table, handled, told, crashes, pauses, keptCount };
}

/** "reply 7", "exit killed", "timeout": an outcome as a text. */
export function textOf(outcome: CallOutcome<unknown>): string {
  switch (outcome.kind) {
    case "reply":
      return `reply ${String(outcome.reply)}`;
    case "exit":
      return `exit ${outcome.exit.kind}`;
    case "load_failed":
      return `load_failed ${String(outcome.cause)}`;
    default:
      return outcome.kind;
  }
}

/** Notes each call's outcome with its time when it comes: "reply 7@20". */
export function noteOutcomes(clock: FakeClock) {
  const outcomes: string[] = [];
  const note = (call: Promise<CallOutcome<unknown>>): void =>
    void call.then((outcome) => outcomes.push(`${textOf(outcome)}@${clock.monotonicMs()}`));
  return { outcomes, note };
}
