// packages/process/src/restart.ts
// What happens after a crash: a pure decision over the process's recent crashes (S40, S41).
//   RS1  A message that crashed its process `poisonMax` times is dead-lettered; its crashes are
//        forgiven. After `crashMax` dead letters in a row with nothing handled in between the fault
//        is the process's, not the messages': quarantine.
//   RS2  More than `crashMax` crashes inside `crashWindowMs` otherwise lead to quarantine.
//   RS3  Everything else is tried again, each time later, with jitter.
//   RS4  A record says nothing any more `crashWindowMs` after the last crash, or the end of its hold;
//        `quarantineMaxMs` while quarantines or dead letters in a row count. As long as a message
//        that crashed its process may still wait, it is kept.
import { backoffDelayMs, type Random } from "@carillon/kernel";
import type { LoadError } from "./behaviour.ts";
import type { Phase, RuntimeLimits } from "./limits.ts";

interface Crash {
  readonly atMs: number;
  /** What it handled; undefined for the timer and init, or once the message went through. */
  message: object | undefined;
}

/** Of a process that has crashed lately; the others have none. */
export interface CrashRecord<State> {
  crashes: Crash[];
  lastCrashAtMs: number;
  deadLettersInRow: number;
  quarantinesInRow: number;
  /** Wheel handle of the back-off or the quarantine; 0: neither. */
  holdHandle: number;
  holdUntilMs: number;
  /** In quarantine: for a person to look at. */
  keptState: State | undefined;
  /** Holds back loads after one has failed; no crash. */
  loadFailure: LoadError | undefined;
  lastError: string | undefined;
  /** What it did when it crashed, and the kind of its message. */
  lastPhase: Phase | undefined;
  lastKind: string | undefined;
}

export type CrashDecision =
  | { readonly kind: "retry"; readonly delayMs: number }
  | { readonly kind: "dead_letter" }
  | { readonly kind: "quarantine"; readonly delayMs: number };

const RETRY_NOW: CrashDecision = { kind: "retry", delayMs: 0 };
const QUARANTINE_SPREAD_SHARE = 0.1; // never earlier, up to a tenth later: no herd after 5 min

export function createCrashRecord<State>(): CrashRecord<State> {
  return {
    crashes: [],
    lastCrashAtMs: 0,
    deadLettersInRow: 0,
    quarantinesInRow: 0,
    holdHandle: 0,
    holdUntilMs: 0,
    keptState: undefined,
    loadFailure: undefined,
    lastError: undefined,
    lastPhase: undefined,
    lastKind: undefined,
  };
}

/** Adds the crash to the record and decides. Undefined `message`: the timer, init or onContinue. */
export function decideCrash(
  record: CrashRecord<unknown>,
  message: object | undefined,
  nowMs: number,
  limits: RuntimeLimits,
  random: Random,
): CrashDecision {
  const crash: Crash = { atMs: nowMs, message };
  record.lastCrashAtMs = nowMs;
  if (record.crashes.length === 0) record.crashes = [crash]; // pushing would make room for 17
  else {
    // Crashes of a message that still waits do not expire: a handler may take half a minute to fail.
    record.crashes = record.crashes.filter(
      (old) => old.message !== undefined || isRecent(old, nowMs, limits),
    );
    record.crashes.push(crash);
  }
  const isPoison = message !== undefined && countOf(record, message) >= limits.poisonMax;
  if (isPoison && record.deadLettersInRow < limits.crashMax) {
    record.deadLettersInRow++;
    record.crashes = record.crashes.filter((one) => one.message !== message);
    return { kind: "dead_letter" };
  }
  const recentCount = recentCrashCount(record, nowMs, limits);
  if (isPoison || recentCount > limits.crashMax) {
    record.quarantinesInRow++;
    const spread = 1 + QUARANTINE_SPREAD_SHARE * random.next();
    return { kind: "quarantine", delayMs: quarantineMsOf(record, limits) * spread };
  }
  if (limits.backoffBaseMs === 0) return RETRY_NOW;
  const backoff = {
    baseMs: limits.backoffBaseMs,
    factor: limits.backoffFactor,
    maxMs: limits.crashWindowMs,
    jitterShare: limits.backoffJitterShare,
  };
  return { kind: "retry", delayMs: backoffDelayMs(backoff, Math.max(1, recentCount), random) };
}

/** Of the quarantine that has just been counted: the second in a row is twice as long. */
export function quarantineMsOf(record: CrashRecord<unknown>, limits: RuntimeLimits): number {
  const plainMs = limits.quarantineMs * 2 ** (record.quarantinesInRow - 1);
  return Math.min(limits.quarantineMaxMs, plainMs);
}

/** RS4. `isIdle`: nothing of the process runs or waits. */
export function isForgettable(
  record: CrashRecord<unknown>,
  now: { readonly nowMs: number; readonly limits: RuntimeLimits; readonly isIdle: boolean },
): boolean {
  if (record.holdHandle !== 0) return false;
  const { nowMs, limits, isIdle } = now;
  const isInRow = record.quarantinesInRow > 0 || record.deadLettersInRow > 0;
  const keptMs = isInRow ? limits.quarantineMaxMs : limits.crashWindowMs;
  if (nowMs - Math.max(record.lastCrashAtMs, record.holdUntilMs) < keptMs) return false;
  return isIdle || record.crashes.every(({ message }) => message === undefined);
}

/** Something was handled. True: nothing is left to remember. */
export function forgiveAfterSuccess(
  record: CrashRecord<unknown>,
  message: object | undefined,
  nowMs: number,
  limits: RuntimeLimits,
): boolean {
  record.deadLettersInRow = 0;
  let isOver = true;
  for (const crash of record.crashes) {
    if (message !== undefined && crash.message === message) crash.message = undefined;
    if (crash.message !== undefined || isRecent(crash, nowMs, limits)) isOver = false;
  }
  return isOver;
}

export function recentCrashCount(
  record: CrashRecord<unknown>,
  nowMs: number,
  limits: RuntimeLimits,
): number {
  let count = 0;
  for (const crash of record.crashes) if (isRecent(crash, nowMs, limits)) count++;
  return count;
}

function countOf(record: CrashRecord<unknown>, message: object): number {
  let count = 0;
  for (const crash of record.crashes) if (crash.message === message) count++;
  return count;
}

function isRecent(crash: Crash, nowMs: number, limits: RuntimeLimits): boolean {
  return nowMs - crash.atMs < limits.crashWindowMs;
}
