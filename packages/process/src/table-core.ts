// packages/process/src/table-core.ts
// A table's inside: its rows, running turns, crash records and timers, and how they change. Long, as
// all that a process's turn, crash and end change together is here, so that they cannot disagree.
import { assert } from "@carillon/kernel";
import type { Behaviour, Down, Lane } from "./behaviour.ts";
import { type AnyCall, CallMark } from "./calls.ts";
import { CrashSweep } from "./crash-sweep.ts";
import { crashTurn } from "./crashes.ts";
import {
  FAN_OUT,
  HANDLER_TIMER,
  PAUSE_TIMER,
  PROCESS_TIMER,
  timerKey,
  type Engine,
} from "./engine.ts";
import type { Exit, QuietExit } from "./exit.ts";
import { FanOut } from "./fan-out.ts";
import { DownMark, type Item, Mark } from "./mailbox.ts";
import { HeldMonitor, Monitors } from "./monitors.ts";
import type { CrashRecord } from "./restart.ts";
import {
  ACTIVATE,
  CANNOT_RUN_NOW,
  CRASHED,
  FANNED,
  IDLE_TIMER,
  LOAD_WAITING,
  QUEUED,
  Rows,
  type Sizes,
  SPAWNED,
  TIMER_DUE,
} from "./rows.ts";
import { CrashStorm } from "./systemic.ts";
import type {
  CallOutcome,
  Monitor,
  Monitorable,
  ProcessTable,
  Refusal,
  TableOptions,
} from "./table-api.ts";
import { Turn } from "./turn.ts";

export interface TableCoreOptions<State, Message extends object, Reply> extends TableOptions<
  State,
  Message,
  Reply
> {
  readonly engine: Engine;
  readonly id: number;
  readonly handle: ProcessTable<State, Message, Reply>;
}

/** Of the status of a slot: something of its process is left. */
const IS_LEFT = (CANNOT_RUN_NOW & ~QUEUED) | ACTIVATE | FANNED | SPAWNED | CRASHED;

/** Who monitors whom. */
interface Watch {
  readonly watcher: number;
  readonly table: Monitorable;
  readonly slot: number;
}

export class TableCore<State, Message extends object, Reply> {
  readonly engine: Engine;
  readonly id: number;
  readonly name: string;
  readonly behaviour: Behaviour<State, Message, Reply>;
  readonly isOnDemand: boolean;
  readonly isTemporary: boolean;
  readonly handle: ProcessTable<State, Message, Reply>;
  readonly rows: Rows<State, Message>;
  /** Async handlers that have not settled, by slot. */
  readonly asyncTurns = new Map<number, Turn<State, Message, Reply>>();
  /** Of the few processes that crashed lately, by slot. */
  readonly crashes = new Map<number, CrashRecord<State>>();
  readonly crashSweep = new CrashSweep(this);
  readonly storm = new CrashStorm();
  readonly monitors: Monitors;
  /** Monitors that its processes hold, by slot. */
  readonly #watching = new Map<number, Set<HeldMonitor>>();
  /** Calls whose answer was promised for later, by slot. */
  readonly #owed = new Map<number, Set<AnyCall>>();
  /** Of processes that shall end after their running handler. */
  readonly exits = new Map<number, QuietExit>();
  readonly fanOuts: FanOut<Message>[] = [];
  /** A process was forgotten or has ended; for a Registry, which may free its name. */
  onForgotten: ((slot: number) => void) | undefined;
  /** Before DOWNs are told, and after each slice; for a Registry. */
  onSlice: (() => void) | undefined;
  residentCount = 0;
  waitingCount = 0;
  processCount = 0; // slots that ever ran: highest + 1
  isStopped = false;
  /** By `onDrop`: what that sends, and kills again, is not told to it anew. */
  isTellingDropped = false;
  #wantsSliceEnd = false;
  /** Whether `onContinue` gives promises; while that is not known it is taken for a load (LG1). */
  loading: "unknown" | "never" | "at times";
  isPaused = false;
  #pausesInRow = 0;
  #pausedAtMs = 0;
  #pauseHandle = 0;
  #parked: number[] = [];
  readonly #keyOf: ((slot: number) => string | undefined) | undefined;
  readonly #spareTurns: Turn<State, Message, Reply>[] = [];

  constructor(options: TableCoreOptions<State, Message, Reply>) {
    const { engine, behaviour } = options;
    this.engine = engine;
    this.id = options.id;
    this.name = options.name;
    this.behaviour = behaviour;
    this.isOnDemand = options.activation !== "spawned";
    this.isTemporary = options.restart === "temporary";
    this.handle = options.handle;
    this.#keyOf = options.keyOf;
    this.rows = new Rows(options.capacityCount ?? 0, engine.limits, sizesOf(behaviour, engine));
    this.monitors = new Monitors(engine, (slot) => this.onForgotten?.(slot));
    this.loading = behaviour.onContinue === undefined ? "never" : "unknown";
    engine.pulse.nameTable(this.id, this.name);
  }

  keyOf(slot: number): string {
    if (this.#keyOf === undefined) return String(slot);
    let key: string | undefined;
    this.engine.guard("keyOf", () => (key = this.#keyOf?.(slot)));
    return key ?? String(slot);
  }

  isCurrent(slot: number, generation: number): boolean {
    return !this.isStopped && this.rows.generation[slot] === generation;
  }

  setState(slot: number, state: State | undefined): void {
    const { states } = this.rows;
    const change = (state === undefined ? 0 : 1) - (states[slot] === undefined ? 0 : 1);
    states[slot] = state;
    if (change === 0) return;
    this.residentCount += change;
    this.engine.counters.resident += change;
    if (change < 0) return this.onForgotten?.(slot);
    this.rows.bornTick[slot] = this.engine.nowTick;
    if (this.behaviour.mayPassivate !== undefined) this.wantSliceEnd(); // which begins to sweep
  }

  /** The table's `afterSlice` is called once, at the end of this slice or of the next one. */
  wantSliceEnd(): void {
    if (this.#wantsSliceEnd) return;
    this.#wantsSliceEnd = true;
    this.engine.sliceEnds.push(this.id);
  }

  /** It is called now. */
  beginSliceEnd(): void {
    this.#wantsSliceEnd = false;
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

  takeTurn(slot: number): Turn<State, Message, Reply> {
    const turn = this.#spareTurns.pop() ?? new Turn(this);
    turn.slot = slot;
    turn.generation = this.rows.generation[slot] ?? 0;
    return turn;
  }

  giveBack(turn: Turn<State, Message, Reply>): void {
    turn.message = undefined;
    turn.callMark = undefined;
    this.#spareTurns.push(turn); // never more than ran at once
  }

  beginAsync(turn: Turn<State, Message, Reply>): void {
    const { wheel, limits, counters, loads } = this.engine;
    this.asyncTurns.set(turn.slot, turn);
    turn.deadlineHandle = wheel.arm(
      limits.handlerMaxMs,
      timerKey(this.id, turn.slot, HANDLER_TIMER),
    );
    counters.busy++;
    if (turn.during === "continue") loads.begin();
  }

  endAsync(turn: Turn<State, Message, Reply>): void {
    this.asyncTurns.delete(turn.slot);
    this.engine.wheel.cancel(turn.deadlineHandle);
    this.engine.counters.busy--;
    if (turn.during !== "continue") return;
    this.engine.loads.end();
    this.engine.schedule(); // whoever waits for its room
  }

  queueIfNeeded(slot: number): void {
    const { rows, engine } = this;
    if (!rows.mayQueue(slot)) return;
    if (!rows.isWaiting(slot) && !rows.hasBits(slot, ACTIVATE)) return;
    rows.setBits(slot, QUEUED);
    engine.ready.push(this.id, slot);
    engine.schedule();
  }

  /** P20: a process that waited for its turn to load goes on. False: it is gone. */
  releaseLoad(slot: number): boolean {
    if (!this.rows.hasBits(slot, LOAD_WAITING)) return false;
    this.rows.clearBits(slot, LOAD_WAITING);
    this.rows.setBits(slot, QUEUED); // its turn follows at once
    return true;
  }

  countWaiting(change: number): void {
    this.waitingCount += change;
    this.engine.counters.waiting += change;
  }

  refuse<Why extends Refusal>(why: Why): Why {
    this.engine.counters.refused++;
    return why;
  }

  putBack(slot: number, item: Item<Message>, lane: Lane): void {
    this.rows.putBack(slot, item, lane);
    this.countWaiting(1);
  }

  /** Empties the mailbox. */
  takeAllItems(slot: number): Item<Message>[] {
    this.moveFanned(slot);
    const items = this.rows.takeAll(slot);
    this.countWaiting(-items.length);
    return items;
  }

  /** A fan-out's message that waits for the process, its oldest, goes into its mailbox. */
  moveFanned(slot: number): void {
    if (!this.rows.hasBits(slot, FANNED)) return;
    this.rows.clearBits(slot, FANNED);
    const fanOut = this.fanOuts.find((one) => one.has(slot));
    if (fanOut !== undefined) this.rows.putBack(slot, fanOut.message, "normal");
  }

  /** Without calls and other marks. */
  messagesOf(items: readonly Item<Message>[]): Message[] {
    return items.filter((item): item is Message => !(item instanceof Mark));
  }

  // --- calls -------------------------------------------------------------------------------------

  owe(call: AnyCall): void {
    call.isOwed = true;
    const known = this.#owed.get(call.slot);
    if (known === undefined) this.#owed.set(call.slot, new Set([call]));
    else known.add(call);
  }

  disown(call: AnyCall): void {
    const known = this.#owed.get(call.slot);
    known?.delete(call);
    if (known?.size === 0) this.#owed.delete(call.slot);
  }

  /** Calls that its handlers promised to answer later. */
  closeOwed(slot: number, exit: Exit): void {
    if (this.#owed.size === 0) return;
    for (const call of [...(this.#owed.get(slot) ?? [])]) call.close({ kind: "exit", exit });
  }

  /** Calls that wait in its mailbox; their marks are skipped later. */
  closeWaiting(slot: number, outcome: CallOutcome<never>): void {
    this.rows.forEachWaiting(slot, (item) => {
      if (item instanceof CallMark) item.close(outcome);
    });
  }

  // --- monitors of its processes ---------------------------------------------------------------

  watch({ watcher, table, slot }: Watch): Monitor {
    const monitor = new HeldMonitor(watcher, (one) => this.#unwatch(one));
    monitor.ref = table.monitor(slot, (down) => this.#putDown(monitor, down));
    const known = this.#watching.get(watcher);
    if (known === undefined) this.#watching.set(watcher, new Set([monitor]));
    else known.add(monitor);
    return monitor;
  }

  unwatchAll(slot: number): void {
    if (this.#watching.size === 0) return;
    for (const monitor of [...(this.#watching.get(slot) ?? [])]) monitor.demonitor();
  }

  unwatchEverybody(): void {
    for (const slot of [...this.#watching.keys()]) this.unwatchAll(slot);
  }

  #unwatch(monitor: HeldMonitor): void {
    const known = this.#watching.get(monitor.slot);
    known?.delete(monitor);
    if (known?.size === 0) this.#watching.delete(monitor.slot);
  }

  /** It stays known until it is handled: whoever demonitors or ends before is not told (P8). */
  #putDown(monitor: HeldMonitor, down: Down): void {
    if (!monitor.isActive) return;
    monitor.ref = undefined;
    this.rows.putMark(monitor.slot, new DownMark(monitor, down));
    this.countWaiting(1);
    this.queueIfNeeded(monitor.slot);
  }

  // --- pause (S41) -------------------------------------------------------------------------------

  /** While paused: what was ready stays so. */
  park(slot: number): void {
    this.#parked.push(slot);
  }

  pause(crashedCount: number): void {
    if (this.isPaused || this.isStopped) return;
    const { limits, wheel, counters, clock } = this.engine;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#pausedAtMs > 2 * limits.pauseMaxMs) this.#pausesInRow = 0;
    const resumesInMs = Math.min(limits.pauseMaxMs, limits.pauseMs * 2 ** this.#pausesInRow++);
    this.#pausedAtMs = nowMs;
    this.isPaused = true;
    counters.pausedTables++;
    this.#pauseHandle = wheel.arm(resumesInMs, timerKey(this.id, 0, PAUSE_TIMER));
    const report = { table: this.name, crashedCount, resumesInMs };
    this.engine.guard("onPause", () => this.engine.observer.onPause?.(report));
  }

  resume(): boolean {
    if (!this.isPaused) return false;
    this.endPause();
    const parked = this.#parked;
    this.#parked = [];
    for (const slot of parked) this.engine.ready.push(this.id, slot);
    this.engine.schedule();
    this.engine.guard("onResume", () => this.engine.observer.onResume?.(this.name));
    return true;
  }

  endPause(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.storm.clear();
    this.engine.counters.pausedTables--;
    this.engine.wheel.cancel(this.#pauseHandle);
  }

  /** What goes with the table. */
  clear(): void {
    this.endPause();
    this.fanOuts.length = 0;
    this.#parked = [];
    this.exits.clear();
    this.crashes.clear();
    this.crashSweep.stop();
    this.storm.clear();
    this.rows.clear();
  }

  /** Entries beside the rows that somebody has to take away again: 0 when all has ended. */
  get keptCount(): number {
    const lists = this.exits.size + this.fanOuts.length + this.asyncTurns.size;
    return lists + this.#watching.size + this.#owed.size + this.monitors.slotsCount;
  }

  isSpawned(slot: number): boolean {
    return this.rows.hasBits(slot, SPAWNED);
  }

  isIdle(slot: number): boolean {
    return ((this.rows.status[slot] ?? 0) & CANNOT_RUN_NOW) === 0 && !this.rows.isWaiting(slot);
  }

  /** RG2: nothing of its process is left, but perhaps an entry in the ready queue that finds nothing. */
  isOver(slot: number): boolean {
    if (this.rows.states[slot] !== undefined || this.rows.isWaiting(slot)) return false;
    return !this.rows.hasBits(slot, IS_LEFT) && !this.monitors.has(slot);
  }

  /** Known from here on, so that whoever ends meanwhile finds its message; runs when queued. */
  beginFanOut(message: Message): FanOut<Message> {
    const fanOut = new FanOut(message);
    this.fanOuts.push(fanOut);
    return fanOut;
  }

  /** Beyond the one turn that each fan-out has in the ready queue. */
  get fanWaitingCount(): number {
    if (this.fanOuts.length === 0 || this.isPaused) return 0;
    return this.fanOuts.reduce((total, { length, next }) => total + length - next - 1, 0);
  }

  queueFanOut(fanOut: FanOut<Message>): void {
    if (this.isStopped) return; // by a callback of castEach
    this.countWaiting(fanOut.length);
    this.engine.ready.push(this.id, FAN_OUT);
    this.engine.schedule();
  }
}

function sizesOf<State, Message extends object, Reply>(
  behaviour: Behaviour<State, Message, Reply>,
  engine: Engine,
): Sizes<Message> | undefined {
  const of = behaviour.messageBytes?.bind(behaviour);
  if (of === undefined) return undefined;
  const onError = (cause: unknown): void =>
    engine.guard("messageBytes", () => {
      throw cause;
    });
  return { of, onError };
}
