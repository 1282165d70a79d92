// packages/process/src/crashes.ts
// Crash, back-off, dead letter, quarantine and failed load of a process of a table (P10, S40, S41).
// Its length is that of what may follow a crash: each is decided and undone here, in one place.
import { LoadError } from "./behaviour.ts";
import { endIncarnation, endProcess, forgetCrashes, kindOf, takeWaiting } from "./endings.ts";
import { HOLD_TIMER, timerKey } from "./engine.ts";
import { causeText, type Exit } from "./exit.ts";
import type { CrashReason, CrashReport } from "./limits.ts";
import {
  type CrashRecord,
  createCrashRecord,
  decideCrash,
  forgiveAfterSuccess,
  quarantineMsOf,
  recentCrashCount,
} from "./restart.ts";
import { ACTIVATE, CRASHED, HELD, QUARANTINED } from "./rows.ts";
import type { TableCore } from "./table-core.ts";
import type { Turn } from "./turn.ts";

export interface CrashCause {
  readonly reason: CrashReason;
  readonly cause: unknown;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Core<State, Message extends object, Reply> = TableCore<State, Message, Reply>;

/** Ends the turn: the state is dropped, siblings are untouched. The turn's object is not reused. */
export function crashTurn<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
  { reason, cause }: CrashCause,
): void {
  const { engine, rows } = core;
  const { slot, message } = turn;
  if (turn.during === "continue" && cause instanceof LoadError) return failLoad(core, slot, cause);
  const exit: Exit = { kind: "error", error: cause };
  turn.callMark?.close({ kind: "exit", exit }); // a call is tried once: its caller may try again
  const isLast = core.isTemporary || (!core.isOnDemand && core.exits.has(slot));
  if (isLast) return endByCrash(core, turn, { reason, cause });
  const nowMs = engine.clock.monotonicMs();
  const record = recordOf(core, slot);
  const state = rows.states[slot];
  endIncarnation(core, slot, exit);
  engine.counters.crashes++;
  const decision = decideCrash(record, message, nowMs, engine.limits, engine.random);
  const recentCount = recentCrashCount(record, nowMs, engine.limits);
  record.lastError = causeText(cause);
  record.lastPhase = turn.during;
  record.lastKind = kindOf(turn.callMark?.message ?? message);
  let waiting: Message[] = [];
  switch (decision.kind) {
    case "retry":
      if (message !== undefined) core.putBack(slot, message, turn.lane);
      if (decision.delayMs === 0) {
        engine.counters.restarts++;
        rebuild(core, slot);
        break;
      }
      rows.setBits(slot, HELD);
      hold(core, slot, record, decision.delayMs);
      break;
    case "dead_letter":
      engine.counters.deadLettered++;
      rebuild(core, slot);
      break;
    case "quarantine":
      record.keptState = state;
      rows.setBits(slot, QUARANTINED);
      engine.counters.quarantined++;
      hold(core, slot, record, decision.delayMs);
      if (message !== undefined) core.putBack(slot, message, turn.lane);
      waiting = takeWaiting(core, slot, { kind: "quarantined" });
      break;
  }
  if (decision.kind !== "retry" || engine.observer.onCrash !== undefined) {
    const report = reportOf(core, turn, { reason, cause });
    report.recentCrashCount = recentCount;
    report.next = decision.kind;
    report.delayMs = decision.kind === "dead_letter" ? 0 : decision.delayMs;
    tellCrash(core, report, { message, waiting });
  }
  const stormCount = core.storm.note(slot, nowMs, core.processCount, engine.limits);
  if (stormCount > 0) core.pause(stormCount);
}

/** By a person, or by the watchdog, which saw it hold the thread (P16). */
export function quarantineProcess<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  { cause, forMs }: { readonly cause: unknown; readonly forMs: number | undefined },
): void {
  const { engine, rows } = core;
  if (rows.hasBits(slot, QUARANTINED)) return;
  const turn = core.asyncTurns.get(slot);
  if (turn !== undefined) core.endAsync(turn);
  turn?.callMark?.close({ kind: "quarantined" });
  const record = recordOf(core, slot);
  engine.wheel.cancel(record.holdHandle);
  const state = rows.states[slot];
  endIncarnation(core, slot, { kind: "error", error: cause });
  rows.clearBits(slot, HELD);
  rows.setBits(slot, QUARANTINED);
  engine.counters.quarantined++;
  record.keptState = state;
  record.loadFailure = undefined;
  record.lastError = causeText(cause);
  record.quarantinesInRow++;
  const delayMs = forMs ?? quarantineMsOf(record, engine.limits);
  hold(core, slot, record, delayMs);
  if (turn?.message !== undefined) core.putBack(slot, turn.message, turn.lane);
  const waiting = takeWaiting(core, slot, { kind: "quarantined" });
  const report: CrashReport = {
    table: core.name,
    slot,
    key: core.keyOf(slot),
    reason: "quarantined",
    during: turn?.during ?? "idle",
    messageKind: kindOf(turn?.message),
    cause,
    recentCrashCount: 0,
    next: "quarantine",
    delayMs,
  };
  engine.guard("onCrash", () => engine.observer.onCrash?.(report));
  tellQuarantine(core, report, waiting);
}

/** The back-off, the quarantine or the wait after a failed load is over. */
export function endHold<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): void {
  const record = core.crashes.get(slot);
  if (record === undefined) return;
  const isOnlyLoad = record.loadFailure !== undefined && record.crashes.length === 0;
  release(core, slot, { record, isForgiven: isOnlyLoad });
}

/** An operator's reset: all crashes are forgiven (S40). False: it was in no hold. */
export function resetProcess<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): boolean {
  const record = core.crashes.get(slot);
  if (record === undefined || record.holdHandle === 0) return false;
  core.engine.wheel.cancel(record.holdHandle);
  core.rows.generation[slot] = (core.rows.generation[slot] ?? 0) + 1;
  release(core, slot, { record, isForgiven: true });
  return true;
}

/** `onRelease` comes last, when all has changed: it may quarantine the process again. */
function release<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  { record, isForgiven }: { readonly record: CrashRecord<State>; readonly isForgiven: boolean },
): void {
  const { engine, rows } = core;
  record.holdHandle = 0;
  const wasQuarantined = rows.hasBits(slot, QUARANTINED);
  const wasLoad = record.loadFailure !== undefined;
  rows.clearBits(slot, HELD | QUARANTINED);
  record.loadFailure = undefined;
  if (wasQuarantined) {
    engine.counters.quarantined--;
    record.crashes = [];
    record.deadLettersInRow = 0;
    record.keptState = undefined;
  }
  if (isForgiven) forgetCrashes(core, slot);
  if (wasLoad) return core.queueIfNeeded(slot); // loads again when something waits for it
  engine.counters.restarts++;
  rebuild(core, slot);
  if (wasQuarantined) engine.guard("onRelease", () => core.behaviour.onRelease?.(slot));
}

/** The process has handled something although it crashed lately. */
export function noteSuccess<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  message: Message | undefined,
): void {
  const record = core.crashes.get(slot);
  if (record === undefined) return;
  const { clock, limits } = core.engine;
  if (forgiveAfterSuccess(record, message, clock.monotonicMs(), limits)) forgetCrashes(core, slot);
}

/** P20: what it needs could not be had; whoever calls is told for a while, casts wait. */
function failLoad<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  cause: LoadError,
): void {
  const { engine, rows } = core;
  const record = recordOf(core, slot);
  const wasAsked = rows.hasBits(slot, ACTIVATE); // it shall load although no message waits
  endIncarnation(core, slot, { kind: "error", error: cause });
  engine.counters.loadsFailed++;
  record.loadFailure = cause;
  rows.setBits(slot, wasAsked ? HELD | ACTIVATE : HELD);
  hold(core, slot, record, engine.limits.loadRetryMs);
  core.closeWaiting(slot, { kind: "load_failed", cause });
  engine.guard("onLoadFailed", () => engine.observer.onLoadFailed?.(core.name, slot, cause));
}

/**
 * `restart: temporary`: a crash ends it, as OTP's temporary children (Phoenix's channels). So it ends
 * a spawned one that was to end after this handler.
 */
function endByCrash<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
  crash: CrashCause,
): void {
  const { engine } = core;
  engine.counters.crashes++;
  const report = reportOf(core, turn, crash);
  const isReady = turn.during !== "init" && turn.during !== "continue";
  const { slot, message } = turn;
  endProcess(core, slot, { exit: { kind: "error", error: crash.cause }, isReady });
  engine.guard("onCrash", () => engine.observer.onCrash?.(report));
  if (message === undefined) return;
  engine.counters.deadLettered++;
  engine.guard("onDeadLetter", () => core.behaviour.onDeadLetter?.(slot, message, crash.cause));
}

/** All has changed: whoever is told may do anything. */
function tellCrash<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  report: CrashReport,
  what: { readonly message: Message | undefined; readonly waiting: readonly Message[] },
): void {
  const { engine, behaviour } = core;
  const { slot, cause } = report;
  const { message, waiting } = what;
  engine.guard("onCrash", () => engine.observer.onCrash?.(report));
  if (report.next === "dead_letter" && message !== undefined) {
    engine.guard("onDeadLetter", () => engine.observer.onDeadLetter?.(report));
    engine.guard("onDeadLetter", () => behaviour.onDeadLetter?.(slot, message, cause));
  }
  if (report.next === "quarantine") tellQuarantine(core, report, waiting);
}

function tellQuarantine<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  report: CrashReport,
  waiting: readonly Message[],
): void {
  const { engine } = core;
  const { slot } = report;
  engine.guard("onQuarantine", () => engine.observer.onQuarantine?.(report));
  engine.guard("onQuarantine", () => core.behaviour.onQuarantine?.(slot, waiting, report.cause));
}

function reportOf<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
  { reason, cause }: CrashCause,
): Writable<CrashReport> {
  return {
    table: core.name,
    slot: turn.slot,
    key: core.keyOf(turn.slot),
    reason,
    during: turn.during,
    messageKind: kindOf(turn.callMark?.message ?? turn.message),
    cause,
    recentCrashCount: 0,
    next: "forgotten",
    delayMs: 0,
  };
}

/** Without a message only where onContinue has to arm the rebuilt process's timer. */
function rebuild<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): void {
  const isThere = core.isOnDemand || core.isSpawned(slot); // a free name may be in quarantine too
  if (isThere && core.behaviour.onContinue !== undefined) core.rows.setBits(slot, ACTIVATE);
  core.queueIfNeeded(slot);
}

function recordOf<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
): CrashRecord<State> {
  const known = core.rows.hasBits(slot, CRASHED) ? core.crashes.get(slot) : undefined;
  if (known !== undefined) return known;
  const record = createCrashRecord<State>();
  core.crashes.set(slot, record);
  core.rows.setBits(slot, CRASHED);
  core.crashSweep.start();
  return record;
}

function hold<State, Message extends object, Reply>(
  core: Core<State, Message, Reply>,
  slot: number,
  record: CrashRecord<State>,
  delayMs: number,
): void {
  const { clock, wheel } = core.engine;
  record.holdUntilMs = clock.monotonicMs() + delayMs;
  record.holdHandle = wheel.arm(delayMs, timerKey(core.id, slot, HOLD_TIMER));
}
