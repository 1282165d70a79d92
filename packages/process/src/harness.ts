// packages/process/src/harness.ts
// For this package's tests: a runtime on FakeClock with one table and everything it tells noted.
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import type { Behaviour } from "./behaviour.ts";
import { PASSIVATED } from "./exit.ts";
import type { CrashReport, RuntimeLimits } from "./limits.ts";
import { createRuntime } from "./runtime.ts";
import type { ProcessTable } from "./table-api.ts";

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

export interface StartOptions {
  readonly limits?: Partial<RuntimeLimits>;
  readonly behaviour?: Partial<Behaviour<Counted, Step>>;
  readonly seed?: number;
}

/** `handled` has "slot:text#count@ms" for each message that went through. */
export function start({ limits = {}, behaviour = {}, seed = 1 }: StartOptions = {}) {
  const clock = new FakeClock();
  const handled: string[] = [];
  const told: string[] = [];
  const crashes: CrashReport[] = [];
  const runtime = createRuntime({
    clock,
    scheduler: clock,
    random: createSeededRandom(seed),
    limits,
    onCrash: (report) => crashes.push(report),
    onCallbackError: (callback, cause) => told.push(`${callback}: ${String(cause)}`),
  });
  const table: StepTable = runtime.createTable<Counted, Step>({
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
  return { clock, runtime, table, handled, told, crashes };
}
