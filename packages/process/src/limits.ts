// packages/process/src/limits.ts
// Limits, reports and numbers of a runtime: the public types of the one who runs it.
import { assert } from "@carillon/kernel";

export type CrashReason = "error" | "killed" | "handler_timeout" | "quarantined";
export type Phase = "init" | "continue" | "cast" | "call" | "timer" | "down";

/** One per crash (P10). Carries no state and no message, so that it may be logged. */
export interface CrashReport {
  readonly table: string;
  readonly slot: number;
  readonly key: string;
  readonly reason: CrashReason;
  readonly during: Phase | "idle";
  /** The message's `kind`, when it has one that is a text. */
  readonly messageKind: string | undefined;
  readonly cause: unknown;
  readonly recentCrashCount: number;
  readonly next: "retry" | "dead_letter" | "quarantine" | "forgotten";
  /** Until the retry, or the release from quarantine; 0 when there is nothing to wait for. */
  readonly delayMs: number;
}

/** S41: that many distinct processes of a table crashed within `systemicWindowMs`. */
export interface PauseReport {
  readonly table: string;
  readonly crashedCount: number;
  readonly resumesInMs: number;
}

/** Logged and counted by the node; the owner's part is in the behaviour. */
export interface RuntimeObserver {
  onCrash?(report: CrashReport): void;
  onQuarantine?(report: CrashReport): void;
  onDeadLetter?(report: CrashReport): void;
  onPause?(report: PauseReport): void;
  onResume?(table: string): void;
  onLoadFailed?(table: string, slot: number, cause: unknown): void;
  /** A callback that must not throw did: onStop, onDeadLetter, a slice listener. Also counted. */
  onCallbackError?(callback: string, cause: unknown): void;
}

export interface RuntimeLimits {
  /** Waiting messages per process; a 257th is refused. Source: spec P14. */
  readonly mailboxMax: number;
  /** Their bytes, as `messageBytes` tells them. */
  readonly mailboxMaxBytes: number;
  /** Further places for the control lane. */
  readonly controlMax: number;
  /** Messages of one process before the next one has its turn. */
  readonly turnMessagesMax: number;
  /** Then I/O gets the thread. */
  readonly sliceMs: number;
  /** The clock is read once in so many messages, more often where they are slow. */
  readonly sliceCheckCount: number;
  /** An async handler is abandoned after this; it counts as a crash. */
  readonly handlerMaxMs: number;
  /** A call without a time-out of its own. Source: OTP. */
  readonly callMs: number;
  /** Loads (async `onContinue`) under way at once, over all tables. Source: spec P20. */
  readonly loadsMax: number;
  /** A failed load is not tried again before this. */
  readonly loadRetryMs: number;
  /** More crashes than this inside `crashWindowMs` lead to quarantine. */
  readonly crashMax: number;
  readonly crashWindowMs: number;
  /** So many crashes by one message dead-letter it. */
  readonly poisonMax: number;
  readonly backoffBaseMs: number;
  readonly backoffFactor: number;
  readonly backoffJitterShare: number;
  readonly quarantineMs: number;
  readonly quarantineMaxMs: number;
  /** More distinct processes than max(this, share × all) crashing in the window pause the table. */
  readonly systemicMax: number;
  readonly systemicShare: number;
  readonly systemicWindowMs: number;
  /** A pause ends by itself after this, doubling to the maximum while it goes on. */
  readonly pauseMs: number;
  readonly pauseMaxMs: number;
  /** A resident process without a turn for so long is asked whether it may passivate. */
  readonly idleMs: number;
}

export const DEFAULT_RUNTIME_LIMITS: RuntimeLimits = {
  mailboxMax: 256,
  mailboxMaxBytes: 262_144,
  controlMax: 32,
  turnMessagesMax: 16,
  sliceMs: 3,
  sliceCheckCount: 32,
  handlerMaxMs: 30_000,
  callMs: 5_000,
  loadsMax: 50,
  loadRetryMs: 1_000,
  crashMax: 3,
  crashWindowMs: 60_000,
  poisonMax: 3,
  backoffBaseMs: 100,
  backoffFactor: 4,
  backoffJitterShare: 0.5,
  quarantineMs: 300_000,
  quarantineMaxMs: 3_600_000,
  systemicMax: 20,
  systemicShare: 0.01,
  systemicWindowMs: 10_000,
  pauseMs: 30_000,
  pauseMaxMs: 300_000,
  idleMs: 60_000,
};

/** Below it the runtime could not work: it would spin, refuse everything or never end a slice. */
const LEAST: RuntimeLimits = {
  mailboxMax: 1,
  mailboxMaxBytes: 0,
  controlMax: 0,
  turnMessagesMax: 1,
  sliceMs: 0.1,
  sliceCheckCount: 1,
  handlerMaxMs: 0,
  callMs: 0,
  loadsMax: 1,
  loadRetryMs: 0,
  crashMax: 0,
  crashWindowMs: 1,
  poisonMax: 1,
  backoffBaseMs: 0,
  backoffFactor: 1,
  backoffJitterShare: 0,
  quarantineMs: 0,
  quarantineMaxMs: 0,
  systemicMax: 0,
  systemicShare: 0,
  systemicWindowMs: 0,
  pauseMs: 0,
  pauseMaxMs: 0,
  idleMs: 1,
};
const FRACTION = /(Ms|Share|Factor)$/u; // the others are counts

/** The defaults where nothing is given. A limit that is none is a bug of the caller (P25). */
export function checkedLimits(given: Partial<RuntimeLimits> = {}): RuntimeLimits {
  const limits: RuntimeLimits = { ...DEFAULT_RUNTIME_LIMITS, ...given };
  for (const [name, least] of Object.entries(LEAST) as [keyof RuntimeLimits, number][]) {
    const value = limits[name];
    const isNumber = FRACTION.test(name) ? Number.isFinite(value) : Number.isSafeInteger(value);
    assert(
      isNumber && value >= least,
      `P25 the limit ${name} is ${value}, and must be ${least} or more`,
    );
  }
  return limits;
}

export interface RuntimeStats {
  readonly residentCount: number; // processes with a state
  readonly busyCount: number; // async handlers that have not settled
  readonly queuedCount: number; // processes in the ready queue
  readonly waitingCount: number; // messages in mailboxes
  readonly loadsCount: number; // under way
  readonly loadsWaitingCount: number;
  readonly callsCount: number; // waiting for their answer
  readonly quarantinedCount: number;
  readonly pausedTablesCount: number;
  readonly timersCount: number; // armed; those that forget old crashes not counted
  readonly handledTotal: number; // messages and timers that went through
  readonly crashesTotal: number;
  readonly restartsTotal: number; // ends of a back-off or a quarantine
  readonly deadLetteredTotal: number;
  readonly refusedTotal: number; // casts and calls
  readonly coalescedTotal: number;
  readonly droppedTotal: number; // by drop_oldest, or lost with a process that ended or was killed
  readonly spilledTotal: number;
  readonly loadsFailedTotal: number;
  readonly callTimeoutsTotal: number;
  readonly skippedCallsTotal: number; // their deadline had passed before their turn
  readonly lateRepliesTotal: number;
  readonly staleWritesTotal: number; // state written by an abandoned turn
  readonly callbackErrorsTotal: number; // callbacks that must not throw and did
  /** Longest stretch of the thread between two looks at the clock; see `resetLongestTurn`. */
  readonly longestTurnMs: number;
}
