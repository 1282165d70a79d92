// packages/process/src/turns.ts
// The hot loop of a table: one turn of one process, up to `turnMessagesMax` messages.
//   P1  Order of acceptance per process and lane. P2  One turn of a process at a time: while a
//   handler's promise has not settled, the process is in no queue.
import type { TableCore } from "./table-core.ts";
import {
  ACTIVATE,
  AGE_MASK,
  BUSY,
  CONTINUED,
  CRASHED,
  IDLE_TIMER,
  QUEUED,
  TIMER_DUE,
  TIMER_MARKED,
  TimerMark,
} from "./rows.ts";
import type { Turn } from "./turn.ts";
import { crashTurn, noteSuccess } from "./crashes.ts";

/** Runs the process that the ready queue gave; returns how many messages it handled. */
export function runTurn<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): number {
  const { rows } = core;
  if (core.isStopped || !rows.hasBits(slot, QUEUED)) return 0; // stopped or killed since
  rows.status[slot] = ((rows.status[slot] ?? 0) & ~(QUEUED | AGE_MASK)) | BUSY;
  const turn = core.takeTurn(slot);
  const messagesMax = core.engine.limits.turnMessagesMax;
  let handledCount = 0;
  for (; handledCount < messagesMax && mayGoOn(core, slot); handledCount++)
    if (!step(core, turn)) return handledCount + 1; // a promise, a crash or a kill has taken over
  rows.clearBits(slot, BUSY);
  core.giveBack(turn);
  core.queueIfNeeded(slot);
  return handledCount;
}

function mayGoOn<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): boolean {
  return core.rows.isWaiting(slot) || core.rows.hasBits(slot, ACTIVATE);
}

/** True: the turn may go on with the next message. */
function step<State, Message extends object>(
  core: TableCore<State, Message>,
  turn: Turn<State, Message>,
): boolean {
  const { rows, behaviour } = core;
  const { slot } = turn;
  turn.message = undefined;
  let result: void | Promise<void>;
  try {
    if (rows.states[slot] === undefined && !rows.hasBits(slot, CONTINUED)) {
      turn.during = "init";
      const state = behaviour.init(slot);
      core.setState(slot, state);
      if (state !== undefined && behaviour.onContinue !== undefined) {
        turn.during = "continue";
        result = behaviour.onContinue(turn);
        if (isPromise(result)) return wait(core, turn, result);
        if (!turn.isCurrent) return false;
      }
    }
    rows.clearBits(slot, ACTIVATE | CONTINUED);
    const item = rows.take(slot);
    if (item === undefined) {
      forgetIfStateless(core, slot);
      return true;
    }
    if (item instanceof TimerMark) {
      const isDue = rows.hasBits(slot, TIMER_DUE);
      rows.clearBits(slot, TIMER_DUE | TIMER_MARKED | IDLE_TIMER);
      if (!isDue) return true; // cleared after it had fired
      turn.during = "timer";
      result = behaviour.onTimer?.(turn);
    } else {
      core.countWaiting(-1);
      if (rows.hasBits(slot, IDLE_TIMER)) core.clearTimer(slot); // P13
      turn.during = "message";
      turn.message = item;
      turn.lane = rows.takenLane;
      result = behaviour.onMessage(turn, item);
    }
  } catch (cause) {
    if (turn.isCurrent) crashTurn(core, turn, { reason: "error", cause });
    return false;
  }
  if (isPromise(result)) return wait(core, turn, result);
  if (!turn.isCurrent) return false;
  core.engine.counters.handled++;
  afterSuccess(core, turn);
  return true;
}

function wait<State, Message extends object>(
  core: TableCore<State, Message>,
  turn: Turn<State, Message>,
  promise: Promise<void>,
): false {
  if (turn.isCurrent) core.beginAsync(turn);
  void Promise.resolve(promise).then(turn.onResolved, turn.onRejected);
  return false;
}

/** An async handler has settled; `failure` when its promise was rejected. */
export function settleTurn<State, Message extends object>(
  core: TableCore<State, Message>,
  turn: Turn<State, Message>,
  failure: { cause: unknown } | undefined,
): void {
  if (!turn.isCurrent) return; // abandoned: the crash was told then (P10)
  core.endAsync(turn);
  core.engine.schedule(); // what the handler has put out is flushed at the slice's end
  if (failure !== undefined)
    return crashTurn(core, turn, { reason: "error", cause: failure.cause });
  const { slot } = turn;
  if (turn.during === "continue") {
    core.rows.clearBits(slot, ACTIVATE);
    core.rows.setBits(slot, CONTINUED);
    forgetIfStateless(core, slot);
  } else {
    core.engine.counters.handled++;
    afterSuccess(core, turn);
  }
  core.rows.clearBits(slot, BUSY);
  core.giveBack(turn);
  core.queueIfNeeded(slot);
}

function afterSuccess<State, Message extends object>(
  core: TableCore<State, Message>,
  turn: Turn<State, Message>,
): void {
  forgetIfStateless(core, turn.slot);
  if (core.rows.hasBits(turn.slot, CRASHED)) noteSuccess(core, turn.slot, turn.message);
}

/** A process without a state is forgotten: no timer stays behind. */
function forgetIfStateless<State, Message extends object>(
  core: TableCore<State, Message>,
  slot: number,
): void {
  if (core.rows.states[slot] === undefined) core.clearTimer(slot);
}

/** P2, mechanics: never wait for what is no promise. */
function isPromise(result: void | Promise<void>): result is Promise<void> {
  return typeof result === "object" && result !== null && typeof result.then === "function";
}
