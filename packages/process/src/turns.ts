// packages/process/src/turns.ts
// The hot loop of a table: one turn of one process, up to `turnMessagesMax` messages.
//   P1  Order of acceptance per process and lane. P2  One turn of a process at a time: while a
//   handler's promise has not settled, the process is in no queue.
// Long, since it is one loop: its steps are plain functions in one file for the sake of speed.
import { IGNORE, NO_REPLY } from "./behaviour.ts";
import type { AnyCall, CallMark } from "./calls.ts";
import { crashTurn, noteSuccess } from "./crashes.ts";
import { FAN_OUT } from "./engine.ts";
import { endProcess } from "./endings.ts";
import { KILLED, NOPROC } from "./exit.ts";
import { DownMark, type Item, Mark, TIMER_MARK } from "./mailbox.ts";
import {
  ACTIVATE,
  AGE_MASK,
  BUSY,
  CONTINUED,
  CRASHED,
  FANNED,
  IDLE_TIMER,
  LOAD_WAITING,
  QUARANTINED,
  QUEUED,
  TIMER_DUE,
  TIMER_MARKED,
} from "./rows.ts";
import type { TableCore } from "./table-core.ts";
import type { Turn } from "./turn.ts";

/** Runs what the ready queue gave; returns how many messages it handled. */
export function runTurn<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  slot: number,
): number {
  if (core.isStopped) return 0;
  if (core.isPaused) {
    core.park(slot);
    return 0;
  }
  if (slot === FAN_OUT) return runFanOut(core);
  const { rows, engine } = core;
  if (!rows.hasBits(slot, QUEUED)) return 0; // killed since
  rows.status[slot] = ((rows.status[slot] ?? 0) & ~(QUEUED | AGE_MASK)) | BUSY;
  engine.pulse.enter(core.id, slot);
  const turn = core.takeTurn(slot);
  const messagesMax = Math.min(engine.limits.turnMessagesMax, engine.pace.turnMax);
  let handledCount = 0;
  let isMine = true; // otherwise a promise, a crash or a kill has taken over
  while (isMine && handledCount < messagesMax && mayGoOn(core, slot)) {
    handledCount++;
    isMine = step(core, turn);
  }
  engine.pulse.leave();
  if (!isMine) return handledCount;
  rows.clearBits(slot, BUSY);
  core.giveBack(turn);
  if (core.onForgotten !== undefined) noteForgotten(core, slot);
  core.queueIfNeeded(slot);
  return handledCount;
}

/** The next chunk of the table's oldest fan-out (FO1, FO2). */
function runFanOut<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
): number {
  const { rows, engine } = core;
  const fanOut = core.fanOuts[0];
  if (fanOut === undefined) return 0;
  const { slots, message, next } = fanOut;
  const chunkEnd = fanOut.beginChunk(engine.pace.turnMax);
  let turn = core.takeTurn(0);
  for (; fanOut.next < chunkEnd && !core.isPaused && !core.isStopped;) {
    const slot = slots[fanOut.next] ?? 0;
    const status = rows.status[slot] ?? 0;
    const isFresh = rows.states[slot] === undefined && core.behaviour.onContinue !== undefined;
    if ((status & (FANNED | ACTIVATE)) !== FANNED || isFresh || rows.isWaiting(slot)) {
      fanOut.next++;
      rows.status[slot] = status & ~(QUEUED | FANNED);
      if ((status & FANNED) !== 0) rows.putBack(slot, message, "normal");
      core.queueIfNeeded(slot);
      core.onForgotten?.(slot);
      continue;
    }
    rows.status[slot] = (status & ~(QUEUED | AGE_MASK)) | BUSY;
    engine.pulse.enter(core.id, slot);
    turn.slot = slot;
    turn.generation = rows.generation[slot] ?? 0;
    const hasBegun = rows.states[slot] !== undefined || beginInFanOut(core, turn);
    fanOut.next++;
    if (hasBegun) rows.clearBits(slot, FANNED);
    if (hasBegun && handle(core, turn, message)) {
      rows.clearBits(slot, BUSY);
      if (rows.isWaiting(slot)) core.queueIfNeeded(slot);
      if (core.onForgotten !== undefined) noteForgotten(core, slot);
    } else turn = core.takeTurn(0);
  }
  engine.pulse.leave();
  core.giveBack(turn);
  if (core.isStopped) return fanOut.next - next;
  if (fanOut.isDone) core.fanOuts.shift();
  else if (core.isPaused) core.park(FAN_OUT);
  else engine.ready.push(core.id, FAN_OUT);
  return fanOut.next - next;
}

/**
 * The message waits for it meanwhile: every end of the process finds it. False: there is no process
 * for it now, or `init` has filled the mailbox, so that it waits or was dropped there.
 */
function beginInFanOut<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
): boolean {
  turn.message = undefined;
  turn.callMark = undefined;
  try {
    if (!initialize(core, turn)) return false;
  } catch (cause) {
    core.moveFanned(turn.slot);
    if (turn.isCurrent) crashTurn(core, turn, { reason: "error", cause });
    return false;
  }
  if (core.rows.hasBits(turn.slot, FANNED)) return true;
  core.rows.clearBits(turn.slot, BUSY);
  core.queueIfNeeded(turn.slot);
  return false;
}

/** For a Registry: nothing may be left of the process. */
function noteForgotten<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  slot: number,
): void {
  if (core.rows.states[slot] === undefined) core.onForgotten?.(slot);
}

function mayGoOn<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  slot: number,
): boolean {
  return core.rows.isWaiting(slot) || core.rows.hasBits(slot, ACTIVATE);
}

/** True: the turn may go on with the next message. */
function step<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
): boolean {
  const { rows } = core;
  const { slot } = turn;
  const status = rows.status[slot] ?? 0;
  const isNew = rows.states[slot] === undefined || (status & ACTIVATE) !== 0; // or spawned just now
  if (isNew && (status & CONTINUED) === 0 && !activate(core, turn)) return false;
  rows.clearBits(slot, ACTIVATE | CONTINUED);
  const item = rows.take(slot);
  if (item === undefined) {
    forgetIfStateless(core, slot);
    return endIfAsked(core, turn);
  }
  return handle(core, turn, item, rows.takenLane);
}

/** `init` and `onContinue`. True: both are done, messages may follow. */
function activate<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
): boolean {
  const { rows, behaviour, engine } = core;
  const { slot } = turn;
  if (core.loading !== "never" && engine.loads.isClosed) {
    rows.clearBits(slot, BUSY);
    rows.setBits(slot, LOAD_WAITING);
    core.giveBack(turn);
    engine.loads.wait(core.id, slot);
    return false;
  }
  turn.message = undefined;
  turn.callMark = undefined;
  engine.freshNowMs = Number.NaN; // foreign code runs now
  let result: void | Promise<void>;
  let isLoad: boolean;
  try {
    if (rows.states[slot] === undefined && !initialize(core, turn)) return false;
    if (rows.states[slot] === undefined || behaviour.onContinue === undefined)
      return endIfAsked(core, turn);
    turn.during = "continue";
    result = behaviour.onContinue(turn);
    isLoad = isPromise(result);
  } catch (cause) {
    if (turn.isCurrent) crashTurn(core, turn, { reason: "error", cause });
    return false;
  }
  if (!isLoad) {
    if (core.loading === "unknown") core.loading = "never";
    return turn.isCurrent && endIfAsked(core, turn);
  }
  core.loading = "at times";
  return wait(core, turn, result as Promise<void>);
}

/** Throws what `init` throws. False: the process is not to be started (P5). */
function initialize<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
): boolean {
  const { slot } = turn;
  turn.during = "init";
  core.engine.freshNowMs = Number.NaN;
  if (slot >= core.processCount) core.processCount = slot + 1;
  const state = core.behaviour.init(slot);
  if (!turn.isCurrent) return false;
  if (state !== IGNORE) {
    core.setState(slot, state);
    return true;
  }
  endProcess(core, slot, { exit: NOPROC, isReady: false });
  return false;
}

/** Lets the process handle one item. True: the turn may go on. Hot. */
function handle<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
  item: Item<Message>,
  lane: "normal" | "control" = "normal",
): boolean {
  const { rows, behaviour, engine } = core;
  const { slot } = turn;
  const { freshNowMs } = engine;
  engine.freshNowMs = Number.NaN; // foreign code runs now
  turn.message = undefined;
  turn.callMark = undefined;
  let result: unknown;
  let isAsync: boolean;
  try {
    if (!(item instanceof Mark)) {
      core.countWaiting(-1);
      if (rows.hasBits(slot, IDLE_TIMER)) core.clearTimer(slot); // P13
      turn.during = "cast";
      turn.message = item;
      turn.lane = lane;
      result = behaviour.onCast?.(turn, item);
    } else if (item === TIMER_MARK) {
      const isDue = rows.hasBits(slot, TIMER_DUE);
      rows.clearBits(slot, TIMER_DUE | TIMER_MARKED | IDLE_TIMER);
      if (!isDue) return true; // cleared after it had fired
      turn.during = "timer";
      result = behaviour.onTimer?.(turn);
    } else {
      core.countWaiting(-1);
      if (rows.hasBits(slot, IDLE_TIMER)) core.clearTimer(slot);
      if (item instanceof DownMark) {
        if (!item.monitor.isActive) return true; // P8
        item.monitor.demonitor();
        turn.during = "down";
        result = behaviour.onDown?.(turn, item.down);
      } else {
        const call = item as CallMark<Message, Reply>;
        const isFresh = !Number.isNaN(freshNowMs);
        if (call.isExpired(isFresh ? freshNowMs : engine.clock.monotonicMs())) {
          engine.counters.skippedCalls++;
          return true;
        }
        turn.during = "call";
        turn.callMark = call;
        call.begin(turn.generation);
        const answer = behaviour.onCall?.(turn, call.message, call);
        if (isPromise(answer)) result = answer;
        else if (turn.isCurrent) replyOrOwe(core, call, answer);
      }
    }
    isAsync = isPromise(result);
  } catch (cause) {
    if (turn.isCurrent) crashTurn(core, turn, { reason: "error", cause });
    else closeEnded(core, turn);
    return false;
  }
  if (isAsync) return wait(core, turn, result as Promise<unknown>);
  if (!turn.isCurrent) return closeEnded(core, turn);
  engine.counters.handled++;
  return afterSuccess(core, turn);
}

function wait<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
  promise: Promise<unknown>,
): false {
  if (turn.isCurrent) core.beginAsync(turn);
  else closeEnded(core, turn);
  void Promise.resolve(promise).then(turn.onResolved, turn.onRejected);
  return false;
}

/** The process was ended inside its own handler: whoever called it is told so (P11). */
function closeEnded<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
): false {
  const isQuarantined = core.rows.hasBits(turn.slot, QUARANTINED);
  turn.callMark?.close(isQuarantined ? { kind: "quarantined" } : { kind: "exit", exit: KILLED });
  return false;
}

type Settled = { readonly answer: unknown } | { readonly cause: unknown };

/** An async handler has settled. */
export function settleTurn<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
  settled: Settled,
): void {
  const { engine } = core;
  if (!turn.isCurrent) {
    if (turn.during === "call" && "answer" in settled) engine.counters.lateReplies++;
    return; // abandoned: the crash was told then (P10)
  }
  core.endAsync(turn);
  engine.schedule(); // what the handler has put out is flushed at the slice's end
  if ("cause" in settled) return crashTurn(core, turn, { reason: "error", cause: settled.cause });
  const { slot } = turn;
  let isAlive = true;
  if (turn.during === "continue") {
    core.rows.clearBits(slot, ACTIVATE);
    if (core.rows.isWaiting(slot)) core.rows.setBits(slot, CONTINUED);
    forgetIfStateless(core, slot);
    isAlive = endIfAsked(core, turn);
  } else {
    if (turn.callMark !== undefined) replyOrOwe(core, turn.callMark, settled.answer);
    engine.counters.handled++;
    isAlive = afterSuccess(core, turn);
  }
  if (!isAlive) return;
  core.rows.clearBits(slot, BUSY);
  core.giveBack(turn);
  noteForgotten(core, slot);
  core.queueIfNeeded(slot);
}

function replyOrOwe<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  call: CallMark<Message, Reply>,
  answer: unknown,
): void {
  if (answer !== NO_REPLY) call.reply(answer as Reply);
  else if (call.isOpen) core.owe(call as unknown as AnyCall);
}

function afterSuccess<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
): boolean {
  forgetIfStateless(core, turn.slot);
  if (core.rows.hasBits(turn.slot, CRASHED)) noteSuccess(core, turn.slot, turn.message);
  return endIfAsked(core, turn);
}

/** False: the process has ended, as it or its owner wished. */
function endIfAsked<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  turn: Turn<State, Message, Reply>,
): boolean {
  if (core.exits.size === 0) return true;
  const exit = core.exits.get(turn.slot);
  if (exit === undefined) return true;
  endProcess(core, turn.slot, { exit, isReady: turn.during !== "continue" });
  return false;
}

/** A process without a state is forgotten: no timer and no monitor of its own stays behind. */
function forgetIfStateless<State, Message extends object, Reply>(
  core: TableCore<State, Message, Reply>,
  slot: number,
): void {
  if (core.rows.states[slot] !== undefined) return;
  core.clearTimer(slot);
  core.unwatchAll(slot);
}

/** P2, mechanics: never wait for what is no promise. Throws what a getter of `then` throws. */
function isPromise(result: unknown): result is Promise<unknown> {
  return (
    typeof result === "object" &&
    result !== null &&
    "then" in result &&
    typeof result.then === "function"
  );
}
