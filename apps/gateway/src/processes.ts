// apps/gateway/src/processes.ts
// The process runtime of this gateway: its limits, and what becomes of a crash in it. A crash is
// logged with the key of its process and the place in the code, without what was being handled.
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import {
  createRuntime,
  type CrashReport,
  type ProcessRuntime,
  type TurnPulse,
} from "@carillon/process";
import type { GatewayLog } from "./log.ts";
import {
  type Occupant,
  ProcessSlots,
  type SlotBehaviour,
  type SlotMessage,
} from "./process-slots.ts";

export interface ProcessLimits {
  readonly inboundWaitingMax: number; // frames in one mailbox
  readonly inboundWaitingMaxBytes: number;
  readonly inboundTurnMax: number; // frames of one process before the next has its turn
}

export interface ProcessesDeps {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: GatewayLog;
  readonly limits: ProcessLimits;
  readonly pulse?: TurnPulse | undefined; // of the node's watchdog
}

export class Processes {
  readonly runtime: ProcessRuntime;
  readonly #log: GatewayLog;
  readonly #kinds = new Map<string, { onCrash(report: CrashReport): void }>(); // by table

  constructor({ clock, scheduler, random, log, limits, pulse }: ProcessesDeps) {
    this.#log = log;
    this.runtime = createRuntime({
      ...(pulse && { pulse }),
      clock,
      scheduler,
      random,
      limits: {
        mailboxMax: limits.inboundWaitingMax,
        mailboxMaxBytes: limits.inboundWaitingMaxBytes,
        turnMessagesMax: limits.inboundTurnMax,
      },
      onCrash: (report) => this.#onCrash(report),
      onCallbackError: (callback, cause) =>
        log.error("gateway.callback_failed", { callback, ...errorFields(cause) }),
    });
  }

  /** A kind of processes, named in the plural: its table is `gateway.<kind>`. */
  kind<O extends Occupant, M extends SlotMessage>(
    kind: string,
    behaviour: SlotBehaviour<O, M>,
  ): ProcessSlots<O, M> {
    const slots = new ProcessSlots<O, M>(this.runtime, `gateway.${kind}`, behaviour);
    this.#kinds.set(slots.name, slots);
    return slots;
  }

  /** Ends all of them; `onStop` closes what they hold. Safe to call twice. */
  stop(): void {
    this.runtime.stop();
  }

  #onCrash(report: CrashReport): void {
    const { table, key, reason, during, cause } = report;
    const messageKind = report.messageKind ?? null;
    // Not `key`: a field of that name is a secret to the log.
    const fields = { process: key, reason, during, messageKind, ...errorFields(cause) };
    this.#log.error(`${table.replace(/s$/, "")}_crashed`, fields);
    this.#kinds.get(table)?.onCrash(report);
  }
}

/** Not the message: it may quote what was being handled. */
function errorFields(cause: unknown): { error: string; place: string | null } {
  if (!(cause instanceof Error)) return { error: typeof cause, place: null };
  const { name, message, stack = "" } = cause;
  const frames = stack.slice(stack.indexOf(message) + message.length);
  return { error: name, place: /^ *at (.*)$/m.exec(frames)?.[1] ?? null };
}
