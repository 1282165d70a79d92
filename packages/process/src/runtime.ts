// packages/process/src/runtime.ts
// The process runtime of one thread: runs what is ready in slices, gives I/O the thread between
// them, and owns the one timer wheel.
//   RT1  A slice ends at the first look at the clock after `sliceMs`; looks are at most
//        `sliceCheckCount` + `turnMessagesMax` messages apart, and as few as the slice has time for
//        where messages are slow (P15).
//   RT2  Slice listeners are called after every slice, before I/O gets the thread.
//   RT4  A call is answered without waiting for I/O, but never keeps I/O waiting longer than a slice.
//   RT3  After `stop` no handler and no listener is called again.
// Long by what it makes: the engine that all tables share, and the public numbers of it.
import { TimerWheel, type Clock, type Random, type Scheduler } from "@carillon/kernel";
import { OpenCalls } from "./calls.ts";
import {
  CALL_TIMER,
  createCounters,
  FAN_OUT,
  purposeOfKey,
  slotOfKey,
  tableIdOfKey,
  TICK_MS,
  type Engine,
  type TurnPulse,
} from "./engine.ts";
import { assertDrainMs } from "./drain.ts";
import type { Exit } from "./exit.ts";
import {
  checkedLimits,
  type RuntimeLimits,
  type RuntimeObserver,
  type RuntimeStats,
} from "./limits.ts";
import { LoadGate } from "./load-gate.ts";
import { Pace } from "./pace.ts";
import { ReadyQueue } from "./ready-queue.ts";
import type { DrainOutcome, ProcessTable, TableOptions } from "./table-api.ts";
import { Table } from "./table.ts";

/** The process runtime of one thread. */
export interface ProcessRuntime {
  createTable<State, Message extends object, Reply = unknown>(
    options: TableOptions<State, Message, Reply>,
  ): ProcessTable<State, Message, Reply>;
  /** Tables that have not stopped, in the order of creation. For inspection. */
  tables(): readonly InspectableTable[];
  /**
   * Called after each slice of turns, before I/O gets the thread: the place to flush what the
   * turns have put out. Returns what removes the listener.
   */
  onSliceEnd(listener: () => void): () => void;
  stats(): RuntimeStats;
  /**
   * Turns that are to come now: processes that are queued, and those that a fan-out has not reached.
   * For whoever paces what it sends. Cost O(tables).
   */
  runnableCount(): number;
  /** For whoever publishes it: the longest turn counts anew from now on. */
  resetLongestTurn(): void;
  /** Accepts nothing more and finishes what was accepted in all tables. Safe to call twice. */
  drain(maxMs: number): Promise<DrainOutcome>;
  /** Stops all tables. Safe to call twice. */
  stop(exit?: Exit): void;
}

/** A table, whatever its processes do. */
export type InspectableTable = Pick<
  ProcessTable<unknown, object>,
  | "name"
  | "find"
  | "inspect"
  | "active"
  | "quarantined"
  | "sums"
  | "quarantine"
  | "reset"
  | "resume"
  | "kill"
> & { readonly residentCount: number };

export interface RuntimeOptions extends RuntimeObserver {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly limits?: Partial<RuntimeLimits>;
  /** Of a watchdog on another thread. */
  readonly pulse?: TurnPulse;
}

function noPulse(): TurnPulse {
  let nextTableId = 0;
  return {
    newTableId: () => nextTableId++,
    enter: () => {},
    leave: () => {},
    nameTable: () => {},
    forgetTable: () => {},
  };
}

export function createRuntime(options: RuntimeOptions): ProcessRuntime {
  return new Runtime(options);
}

const RESOLVED = Promise.resolve();

/** What the runtime needs of a table, whatever its processes do. */
type AnyTable = InspectableTable &
  Pick<
    Table<unknown, object, unknown>,
    | "runTurn"
    | "onTimer"
    | "beforeDowns"
    | "afterSlice"
    | "drain"
    | "stop"
    | "runLoad"
    | "fanWaitingCount"
  >;

class Runtime implements ProcessRuntime {
  readonly #engine: Engine;
  readonly #scheduler: Scheduler;
  /** By id; ids are not used again, so that a late timer or entry of an old table finds nothing. */
  readonly #tables = new Map<number, AnyTable>();
  readonly #sliceListeners = new Set<() => void>();
  #isScheduled = false;
  #isSoon = false;
  /** When I/O had the thread last, as far as slices know. */
  #ioAtMs = -Infinity;
  #isInSlice = false;
  #isStopped = false;
  #isDraining = false;
  #longestTurnMs = 0;

  constructor(options: RuntimeOptions) {
    const { clock, random } = options;
    this.#scheduler = options.scheduler;
    const limits = checkedLimits(options.limits);
    const counters = createCounters();
    const wheel = new TimerWheel({ clock, onFire: (key) => this.#onTimer(key) });
    this.#engine = {
      clock,
      random,
      limits,
      observer: options,
      wheel,
      ready: new ReadyQueue(),
      loads: new LoadGate(limits.loadsMax, (tableId, slot) =>
        this.#tables.get(tableId)?.runLoad(slot),
      ),
      calls: new OpenCalls(clock, wheel),
      downs: [],
      pace: new Pace(limits),
      counters,
      pulse: options.pulse ?? noPulse(),
      sliceEnds: [],
      nowTick: Math.floor(clock.monotonicMs() / TICK_MS),
      freshNowMs: Number.NaN,
      schedule: () => this.#schedule(),
      scheduleSoon: (nowMs) => this.#scheduleSoon(nowMs),
      guard: (callback, call) => {
        try {
          call();
        } catch (cause) {
          counters.callbackErrors++;
          options.onCallbackError?.(callback, cause);
        }
      },
      forgetTable: (tableId) => {
        this.#tables.delete(tableId);
        this.#engine.pulse.forgetTable(tableId);
      },
    };
  }

  createTable<State, Message extends object, Reply = unknown>(
    options: TableOptions<State, Message, Reply>,
  ): ProcessTable<State, Message, Reply> {
    const id = this.#engine.pulse.newTableId();
    const table = new Table(this.#engine, id, options);
    if (this.#isStopped) table.stop();
    else this.#tables.set(id, table);
    if (this.#isDraining) void table.drain(0);
    return table;
  }

  tables(): readonly InspectableTable[] {
    return [...this.#tables.values()];
  }

  onSliceEnd(listener: () => void): () => void {
    this.#sliceListeners.add(listener);
    return () => void this.#sliceListeners.delete(listener);
  }

  stats(): RuntimeStats {
    const { counters, ready, wheel, loads, calls } = this.#engine;
    return {
      residentCount: counters.resident,
      busyCount: counters.busy,
      queuedCount: ready.length,
      waitingCount: counters.waiting,
      loadsCount: loads.runningCount,
      loadsWaitingCount: loads.waitingCount,
      callsCount: calls.count,
      quarantinedCount: counters.quarantined,
      pausedTablesCount: counters.pausedTables,
      timersCount: wheel.armedCount - calls.armedCount - counters.forgetTimers,
      handledTotal: counters.handled,
      crashesTotal: counters.crashes,
      restartsTotal: counters.restarts,
      deadLetteredTotal: counters.deadLettered,
      refusedTotal: counters.refused,
      coalescedTotal: counters.coalesced,
      droppedTotal: counters.dropped,
      spilledTotal: counters.spilled,
      loadsFailedTotal: counters.loadsFailed,
      callTimeoutsTotal: counters.callTimeouts,
      skippedCallsTotal: counters.skippedCalls,
      lateRepliesTotal: counters.lateReplies,
      staleWritesTotal: counters.staleWrites,
      callbackErrorsTotal: counters.callbackErrors,
      longestTurnMs: this.#longestTurnMs,
    };
  }

  runnableCount(): number {
    let count = this.#engine.ready.length;
    for (const table of this.#tables.values()) count += table.fanWaitingCount;
    return count;
  }

  resetLongestTurn(): void {
    this.#longestTurnMs = 0;
  }

  drain(maxMs: number): Promise<DrainOutcome> {
    assertDrainMs(maxMs);
    this.#isDraining = true;
    return this.#drainTables(maxMs);
  }

  async #drainTables(maxMs: number): Promise<DrainOutcome> {
    const tables = [...this.#tables.values()];
    const outcomes = await Promise.all(tables.map((table) => table.drain(maxMs)));
    const late = outcomes.filter((outcome) => outcome.kind === "timeout");
    if (late.length === 0) return { kind: "drained" };
    const sum = (counts: number[]): number => counts.reduce((total, count) => total + count, 0);
    return {
      kind: "timeout",
      waitingCount: sum(late.map((outcome) => outcome.waitingCount)),
      busyCount: sum(late.map((outcome) => outcome.busyCount)),
    };
  }

  stop(exit?: Exit): void {
    if (this.#isStopped) return;
    this.#isStopped = true; // what callbacks begin from here on is stopped at once
    for (const table of this.#tables.values()) table.stop(exit);
    this.#tellDowns();
    this.#engine.wheel.stop();
    this.#engine.ready.clear();
    this.#engine.loads.clear();
    this.#sliceListeners.clear();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isInSlice || this.#isStopped) return;
    this.#isScheduled = true;
    this.#scheduler.defer(() => {
      this.#isScheduled = false;
      this.#ioAtMs = this.#engine.clock.monotonicMs();
      this.#runSlice();
    });
  }

  /** RT4: in this turn of the event loop, while I/O has had the thread within a slice's time. */
  #scheduleSoon(nowMs: number): void {
    if (this.#isSoon || this.#isInSlice || this.#isStopped) return;
    if (nowMs - this.#ioAtMs >= this.#engine.limits.sliceMs) return this.#schedule();
    this.#isSoon = true;
    void RESOLVED.then(this.#runSoon); // half the price of queueMicrotask: 48 against 95 ns
  }

  readonly #runSoon = (): void => {
    this.#isSoon = false;
    this.#runSlice();
  };

  #runSlice(): void {
    if (this.#isStopped || this.#isInSlice) return;
    this.#isInSlice = true;
    try {
      this.#tellDowns();
      this.#runReady();
      this.#engine.loads.pump();
      if (this.#engine.sliceEnds.length > 0) this.#endSliceOfTables();
      if (this.#sliceListeners.size > 0)
        for (const listener of this.#sliceListeners) this.#engine.guard("onSliceEnd", listener);
    } finally {
      this.#isInSlice = false;
      const { ready, loads, downs, calls } = this.#engine;
      calls.armFresh();
      if (ready.length > 0 || loads.mayPump || downs.length > 0) this.#schedule();
    }
  }

  #endSliceOfTables(): void {
    const { sliceEnds } = this.#engine;
    this.#engine.sliceEnds = [];
    for (const tableId of sliceEnds) this.#tables.get(tableId)?.afterSlice();
  }

  #tellDowns(): void {
    const { downs } = this.#engine;
    if (downs.length === 0) return;
    for (const table of this.#tables.values()) table.beforeDowns();
    for (const { ref, down } of downs.splice(0))
      this.#engine.guard("monitor", () => ref.tell(down));
  }

  #runReady(): void {
    const { clock, ready, limits, pace } = this.#engine;
    const startMs = clock.monotonicMs();
    this.#engine.nowTick = Math.floor(startMs / TICK_MS);
    if (ready.length === 0) return;
    this.#engine.freshNowMs = startMs;
    pace.beginSlice();
    let lookedAtMs = startMs;
    let sinceLookCount = 0;
    while (ready.shift()) {
      sinceLookCount += 1 + (this.#tables.get(ready.tableId)?.runTurn(ready.slot) ?? 0);
      if (sinceLookCount < pace.lookCount && ready.slot !== FAN_OUT) continue;
      const nowMs = clock.monotonicMs();
      const leftMs = limits.sliceMs - (nowMs - startMs);
      this.#longestTurnMs = Math.max(this.#longestTurnMs, nowMs - lookedAtMs);
      pace.look(nowMs - lookedAtMs, sinceLookCount, leftMs);
      sinceLookCount = 0;
      lookedAtMs = nowMs;
      if (leftMs <= 0) break;
    }
    this.#engine.freshNowMs = Number.NaN;
    if (sinceLookCount > 0)
      this.#longestTurnMs = Math.max(this.#longestTurnMs, clock.monotonicMs() - lookedAtMs);
  }

  #onTimer(key: number): void {
    if (purposeOfKey(key) === CALL_TIMER) {
      this.#engine.calls.at(slotOfKey(key))?.expire();
      return;
    }
    this.#tables.get(tableIdOfKey(key))?.onTimer(slotOfKey(key), purposeOfKey(key));
  }
}
