// apps/ingest/src/intake.ts
// Requests from other regions come in here: decoded, limited, answered, whatever happens.
//   IN22 At most `runningMax` are handled at once and `queueMax` wait; the next is answered
//        `failed: overloaded` at once, so that its sender backs off.
//   IN23 What is malformed is counted and answered `failed: malformed`; its content is not logged.
import type { Bus, Message, Subscription } from "@carillon/bus";
import { decodeMessage, encodeMessage, INGEST_QUEUE } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";

/** What `decodeMessage` takes: a zod schema of contracts. */
export type WireSchema<T> = Parameters<typeof decodeMessage<T>>[0];

export interface IntakeOptions {
  readonly runningMax: number;
  readonly queueMax: number;
  readonly onMalformed: (subject: string) => void;
  readonly onOverloaded: (subject: string) => void;
  readonly onFailure: (subject: string, cause: unknown) => void;
  /** A request could not even be answered: a bug; its place is not free again. */
  readonly onCrash: (cause: unknown) => void;
}

export interface Intake {
  /** A Fault is answered `failed` with its code, a bug `failed: internal`. */
  serve<T>(subject: string, schema: WireSchema<T>, handle: (message: T) => Promise<unknown>): void;
  readonly waitingCount: number;
  /** Takes nothing new; resolves when what was taken is answered. Safe to call twice. */
  drain(): Promise<void>;
}

export function createIntake(bus: Bus, options: IntakeOptions): Intake {
  const subscriptions: Subscription[] = [];
  const waiting: (() => Promise<void>)[] = [];
  let runningCount = 0;
  let drained: (() => void)[] = [];

  const run = (job: () => Promise<void>): void => {
    runningCount++;
    job().then(onDone).catch(options.onCrash);
  };

  const onDone = (): void => {
    runningCount--;
    const next = waiting.shift();
    if (next !== undefined) run(next);
    else if (runningCount === 0) {
      for (const tell of drained) tell();
      drained = [];
    }
  };

  const take = (message: Message, job: () => Promise<void>): void => {
    if (runningCount < options.runningMax) run(job);
    else if (waiting.length < options.queueMax) waiting.push(job);
    else {
      options.onOverloaded(message.subject);
      message.reply(failed("overloaded"));
    }
  };

  return {
    get waitingCount() {
      return waiting.length;
    },
    serve(subject, schema, handle) {
      const onMessage = (message: Message): void =>
        take(message, async () => {
          const decoded = decodeMessage(schema, message.data);
          if (decoded.kind === "malformed") {
            options.onMalformed(subject);
            return message.reply(failed("malformed"));
          }
          try {
            return message.reply(encodeMessage(await handle(decoded.message)));
          } catch (cause) {
            options.onFailure(subject, cause);
            return message.reply(failed(cause instanceof Fault ? cause.code : "internal"));
          }
        });
      subscriptions.push(bus.subscribe(subject, onMessage, { queue: INGEST_QUEUE }));
    },
    async drain() {
      for (const subscription of subscriptions.splice(0)) subscription.unsubscribe();
      if (runningCount === 0) return;
      await new Promise<void>((resolve) => void drained.push(resolve));
    },
  };
}

function failed(code: string): Uint8Array {
  return encodeMessage({ kind: "failed", code });
}
