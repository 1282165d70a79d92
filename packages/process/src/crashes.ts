// packages/process/src/crashes.ts
// Crash, back-off, dead letter, quarantine and kill of a process of a table (P10, P11, S40, S41).
import type { CrashReason, CrashReport } from "./behaviour.ts";
import { HOLD_TIMER, timerKey } from "./engine.ts";
import {
  createCrashRecord,
  decideCrash,
  forgiveAfterSuccess,
  recentCrashCount,
  type CrashRecord,
} from "./restart.ts";
import { ACTIVATE, BUSY, CONTINUED, CRASHED, HELD, QUARANTINED } from "./rows.ts";
import type { TableCore } from "./table-core.ts";
import type { Turn } from "./turn.ts";

export interface CrashCause {
  readonly reason: CrashReason;
  readonly cause: unknown;
}

/** Ends the turn: the state is dropped, siblings are untouched. The turn's object is not reused. */
export function crashTurn<State, Message extends object>(
  core: TableCore<State, Message>,
  turn: Turn<State, Message>,
  { reason, cause }: CrashCause,
): void {
  const { engine, rows } = core;
  const { slot, message } = turn;
  const nowMs = engine.clock.monotonicMs();
  const record = recordOf(core, slot);
  const state = rows.states[slot];
  endIncarnation(core, slot);
  engine.counters.crashes++;
  const decision = decideCrash(record, message, nowMs, engine.limits, engine.random);
  const report: CrashReport = {
    table: core.name,
    slot,
    reason,
    during: turn.during,
    messageKind: kindOf(message),
    cause,
    recentCrashCount: recentCrashCount(record, nowMs, engine.limits),
    next: decision.kind,
    delayMs: decision.kind === "dead_letter" ? 0 : decision.delayMs,
  };
  switch (decision.kind) {
    case "retry":
      if (message !== undefined) core.putBack(slot, message, turn.lane);
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
      break;
  }
  engine.guard("onCrash", () => engine.observer.onCrash?.(report));
  if (decision.kind === "dead_letter" && message !== undefined) {
    engine.guard("onDeadLetter", () => engine.observer.onDeadLetter?.(report));
    engine.guard("onDeadLetter", () => core.behaviour.onDeadLetter?.(slot, message, cause));
  }
  if (decision.kind === "quarantine") {
    const waiting = core.takeAllMessages(slot);
    if (message !== undefined) waiting.unshift(message);
    engine.guard("onQuarantine", () => engine.observer.onQuarantine?.(report));
    engine.guard("onQuarantine", () => core.behaviour.onQuarantine?.(slot, waiting, cause));
  }
}

/** The back-off or the quarantine is over. */
export function endHold<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): void {
  const { engine, rows } = core;
  const record = core.crashes.get(slot);
  if (record === undefined) return;
  record.holdHandle = 0;
  const wasQuarantined = rows.hasBits(slot, QUARANTINED);
  rows.clearBits(slot, HELD | QUARANTINED);
  engine.counters.restarts++;
  if (wasQuarantined) {
    engine.counters.quarantined--;
    record.crashes = [];
    record.deadLettersInRow = 0;
    record.keptState = undefined;
  }
  rebuild(core, slot);
  if (wasQuarantined) engine.guard("onRelease", () => core.behaviour.onRelease?.(slot));
}

/** An operator's reset: all crashes are forgiven (S40). False: it was in no hold. */
export function resetProcess<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): boolean {
  const record = core.crashes.get(slot);
  if (record === undefined || record.holdHandle === 0) return false;
  core.engine.wheel.cancel(record.holdHandle);
  core.rows.generation[slot] = (core.rows.generation[slot] ?? 0) + 1;
  endHold(core, slot);
  forgetCrashes(core, slot);
  return true;
}

/** P11: forgets the process with all it has; returns the number of messages lost. */
export function killProcess<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): number {
  const { engine, rows } = core;
  const record = core.crashes.get(slot);
  const isThere =
    rows.states[slot] !== undefined ||
    rows.isWaiting(slot) ||
    rows.hasBits(slot, BUSY) ||
    (record !== undefined && record.holdHandle !== 0);
  if (!isThere) return 0;
  const isBusy = rows.hasBits(slot, BUSY);
  const turn = core.asyncTurns.get(slot);
  if (turn !== undefined) core.endAsync(turn);
  endIncarnation(core, slot);
  const lostCount = core.takeAllMessages(slot).length + (turn?.message === undefined ? 0 : 1);
  if (rows.hasBits(slot, QUARANTINED)) engine.counters.quarantined--;
  rows.clearBits(slot, HELD | QUARANTINED); // QUEUED stays: its entry is in the ready queue
  if (record !== undefined) {
    engine.wheel.cancel(record.holdHandle);
    forgetCrashes(core, slot);
  }
  engine.counters.crashes++;
  const report: CrashReport = {
    table: core.name,
    slot,
    reason: "killed",
    during: turn?.during ?? (isBusy ? "message" : "idle"),
    messageKind: kindOf(turn?.message),
    cause: undefined,
    recentCrashCount: 0,
    next: "forgotten",
    delayMs: 0,
  };
  engine.guard("onCrash", () => engine.observer.onCrash?.(report));
  return lostCount;
}

/** The process has handled something although it crashed lately. */
export function noteSuccess<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
  message: Message | undefined,
): void {
  const record = core.crashes.get(slot);
  if (record === undefined) return;
  const { clock, limits } = core.engine;
  if (forgiveAfterSuccess(record, message, clock.monotonicMs(), limits)) forgetCrashes(core, slot);
}

/** Without a message only where onContinue has to arm the rebuilt process's timer. */
function rebuild<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): void {
  if (core.behaviour.onContinue !== undefined) core.rows.setBits(slot, ACTIVATE);
  core.queueIfNeeded(slot);
}

/** What an incarnation leaves behind goes: its state, its timer, and its right to write. */
function endIncarnation<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): void {
  core.rows.generation[slot] = (core.rows.generation[slot] ?? 0) + 1;
  core.setState(slot, undefined);
  core.clearTimer(slot);
  core.rows.clearBits(slot, BUSY | ACTIVATE | CONTINUED);
}

function recordOf<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): CrashRecord<State> {
  const known = core.crashes.get(slot);
  if (known !== undefined) return known;
  const record = createCrashRecord<State>();
  core.crashes.set(slot, record);
  core.rows.setBits(slot, CRASHED);
  return record;
}

function forgetCrashes<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): void {
  core.crashes.delete(slot);
  core.rows.clearBits(slot, CRASHED);
}

function hold<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
  record: CrashRecord<State>,
  delayMs: number,
): void {
  const { clock, wheel } = core.engine;
  record.holdUntilMs = clock.monotonicMs() + delayMs;
  record.holdHandle = wheel.arm(delayMs, timerKey(core.id, slot, HOLD_TIMER));
}

function kindOf(message: object | undefined): string | undefined {
  if (message === undefined || !("kind" in message)) return undefined;
  return typeof message.kind === "string" ? message.kind : undefined;
}
