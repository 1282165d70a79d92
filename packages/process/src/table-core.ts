// packages/process/src/table-core.ts
// A table's inside: its rows, running turns, crash records and timers, and how they change.
import { assert } from "@carillon/kernel";
import type { Behaviour, Lane, ProcessTable } from "./behaviour.ts";
import { crashTurn } from "./crashes.ts";
import { HANDLER_TIMER, PROCESS_TIMER, timerKey, type Engine } from "./engine.ts";
import type { CrashRecord } from "./restart.ts";
import { ACTIVATE, IDLE_TIMER, QUEUED, Rows, TIMER_DUE } from "./rows.ts";
import { Turn } from "./turn.ts";

export interface TableCoreOptions<State, Message extends object> {
  readonly engine: Engine;
  readonly id: number;
  readonly name: string;
  readonly behaviour: Behaviour<State, Message>;
  readonly capacityCount: number;
  readonly handle: ProcessTable<State, Message>;
}

export class TableCore<State, Message extends object> {
  readonly engine: Engine;
  readonly id: number;
  readonly name: string;
  readonly behaviour: Behaviour<State, Message>;
  readonly handle: ProcessTable<State, Message>;
  readonly rows: Rows<State, Message>;
  /** Async handlers that have not settled, by slot. */
  readonly asyncTurns = new Map<number, Turn<State, Message>>();
  /** Of the few processes that crashed lately, by slot. */
  readonly crashes = new Map<number, CrashRecord<State>>();
  residentCount = 0;
  waitingCount = 0;
  isStopped = false;
  readonly #spareTurns: Turn<State, Message>[] = [];

  constructor(options: TableCoreOptions<State, Message>) {
    this.engine = options.engine;
    this.id = options.id;
    this.name = options.name;
    this.behaviour = options.behaviour;
    this.handle = options.handle;
    this.rows = new Rows(options.capacityCount, options.engine.limits);
  }

  isCurrent(slot: number, generation: number): boolean {
    return !this.isStopped && this.rows.generation[slot] === generation;
  }

  setState(slot: number, state: State | undefined): void {
    const { states } = this.rows;
    const change = (state === undefined ? 0 : 1) - (states[slot] === undefined ? 0 : 1);
    states[slot] = state;
    this.residentCount += change;
    this.engine.counters.resident += change;
  }

  armTimer(slot: number, delayMs: number, { isIdleTimer }: { isIdleTimer: boolean }): void {
    assert(delayMs >= 0 && delayMs < Infinity, "P21 a delay is a number of milliseconds");
    this.clearTimer(slot);
    const handle = this.engine.wheel.arm(delayMs, timerKey(this.id, slot, PROCESS_TIMER));
    this.rows.setTimerHandle(slot, handle);
    if (isIdleTimer) this.rows.setBits(slot, IDLE_TIMER);
  }

  clearTimer(slot: number): void {
    const handle = this.rows.timerOf(slot);
    if (handle !== 0) {
      this.engine.wheel.cancel(handle);
      this.rows.setTimerHandle(slot, 0);
    }
    this.rows.clearBits(slot, TIMER_DUE | IDLE_TIMER);
  }

  onTimerFired(slot: number): void {
    this.rows.setTimerHandle(slot, 0);
    this.rows.setBits(slot, TIMER_DUE);
    this.rows.putTimerMark(slot);
    this.queueIfNeeded(slot);
  }

  onHandlerTimeout(slot: number): void {
    const turn = this.asyncTurns.get(slot);
    if (turn === undefined) return;
    this.endAsync(turn);
    const cause = new Error(`handler not settled after ${this.engine.limits.handlerMaxMs} ms`);
    crashTurn(this, turn, { reason: "handler_timeout", cause });
  }

  takeTurn(slot: number): Turn<State, Message> {
    const turn = this.#spareTurns.pop() ?? new Turn(this);
    turn.slot = slot;
    turn.generation = this.rows.generation[slot] ?? 0;
    return turn;
  }

  giveBack(turn: Turn<State, Message>): void {
    turn.message = undefined;
    this.#spareTurns.push(turn); // never more than ran at once
  }

  beginAsync(turn: Turn<State, Message>): void {
    const { wheel, limits, counters } = this.engine;
    this.asyncTurns.set(turn.slot, turn);
    turn.deadlineHandle = wheel.arm(
      limits.handlerMaxMs,
      timerKey(this.id, turn.slot, HANDLER_TIMER),
    );
    counters.busy++;
  }

  endAsync(turn: Turn<State, Message>): void {
    this.asyncTurns.delete(turn.slot);
    this.engine.wheel.cancel(turn.deadlineHandle);
    this.engine.counters.busy--;
  }

  queueIfNeeded(slot: number): void {
    const { rows, engine } = this;
    if (!rows.mayQueue(slot)) return;
    if (!rows.isWaiting(slot) && !rows.hasBits(slot, ACTIVATE)) return;
    rows.setBits(slot, QUEUED);
    engine.ready.push(this.id, slot);
    engine.schedule();
  }

  countWaiting(change: number): void {
    this.waitingCount += change;
    this.engine.counters.waiting += change;
  }

  putBack(slot: number, message: Message, lane: Lane): void {
    this.rows.putBack(slot, message, lane);
    this.countWaiting(1);
  }

  takeAllMessages(slot: number): Message[] {
    const messages = this.rows.takeAll(slot);
    this.countWaiting(-messages.length);
    return messages;
  }
}
