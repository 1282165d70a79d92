// packages/process/src/runtime.ts
// The process runtime of one thread: runs what is ready in slices, gives I/O the thread between
// them, and owns the one timer wheel.
//   RT1  A slice ends at the first look at the clock after `sliceMs`; looks are at most
//        `sliceCheckCount` + `turnMessagesMax` messages apart (P15).
//   RT2  Slice listeners are called after every slice, before I/O gets the thread.
//   RT3  After `stop` no handler and no listener is called again.
import { TimerWheel, type Clock, type Random, type Scheduler } from "@carillon/kernel";
import {
  DEFAULT_RUNTIME_LIMITS,
  type DrainOutcome,
  type ProcessRuntime,
  type ProcessTable,
  type RuntimeLimits,
  type RuntimeObserver,
  type RuntimeStats,
  type TableOptions,
} from "./behaviour.ts";
import { purposeOfKey, slotOfKey, tableIdOfKey, type Counters, type Engine } from "./engine.ts";
import { ReadyQueue } from "./ready-queue.ts";
import { Table } from "./table.ts";

export interface RuntimeOptions extends RuntimeObserver {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly limits?: Partial<RuntimeLimits>;
}

export function createRuntime(options: RuntimeOptions): ProcessRuntime {
  return new Runtime(options);
}

/** What the runtime needs of a table, whatever its processes do. */
type AnyTable = Pick<
  Table<unknown, object>,
  "runTurn" | "onTimer" | "afterSlice" | "drain" | "stop"
>;

class Runtime implements ProcessRuntime {
  readonly #engine: Engine;
  readonly #scheduler: Scheduler;
  /** By id; ids are not used again, so that a late timer or entry of an old table finds nothing. */
  readonly #tables = new Map<number, AnyTable>();
  readonly #sliceListeners = new Set<() => void>();
  #nextTableId = 0;
  #isScheduled = false;
  #isInSlice = false;
  #isStopped = false;
  #isDraining = false;
  #longestTurnMs = 0;

  constructor(options: RuntimeOptions) {
    const { clock, random } = options;
    this.#scheduler = options.scheduler;
    const counters = createCounters();
    this.#engine = {
      clock,
      random,
      limits: { ...DEFAULT_RUNTIME_LIMITS, ...options.limits },
      observer: options,
      wheel: new TimerWheel({ clock, onFire: (key) => this.#onTimer(key) }),
      ready: new ReadyQueue(),
      counters,
      schedule: () => this.#schedule(),
      guard: (callback, call) => {
        try {
          call();
        } catch (cause) {
          counters.callbackErrors++;
          options.onCallbackError?.(callback, cause);
        }
      },
      forgetTable: (tableId) => void this.#tables.delete(tableId),
    };
  }

  createTable<State, Message extends object>(
    options: TableOptions<State, Message>,
  ): ProcessTable<State, Message> {
    const table = new Table(this.#engine, this.#nextTableId++, options);
    if (this.#isStopped) table.stop();
    else this.#tables.set(this.#nextTableId - 1, table);
    if (this.#isDraining) void table.drain(0);
    return table;
  }

  onSliceEnd(listener: () => void): () => void {
    this.#sliceListeners.add(listener);
    return () => void this.#sliceListeners.delete(listener);
  }

  stats(): RuntimeStats {
    const { counters, ready, wheel } = this.#engine;
    const longestTurnMs = this.#longestTurnMs;
    this.#longestTurnMs = 0;
    return {
      residentCount: counters.resident,
      busyCount: counters.busy,
      queuedCount: ready.length,
      waitingCount: counters.waiting,
      quarantinedCount: counters.quarantined,
      timersCount: wheel.armedCount,
      handledTotal: counters.handled,
      crashesTotal: counters.crashes,
      restartsTotal: counters.restarts,
      deadLetteredTotal: counters.deadLettered,
      refusedTotal: counters.refused,
      staleWritesTotal: counters.staleWrites,
      callbackErrorsTotal: counters.callbackErrors,
      longestTurnMs,
    };
  }

  async drain(maxMs: number): Promise<DrainOutcome> {
    this.#isDraining = true;
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

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    for (const table of this.#tables.values()) table.stop();
    this.#engine.wheel.stop();
    this.#engine.ready.clear();
    this.#sliceListeners.clear();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isInSlice || this.#isStopped) return;
    this.#isScheduled = true;
    this.#scheduler.defer(() => this.#runSlice());
  }

  #runSlice(): void {
    this.#isScheduled = false;
    if (this.#isStopped) return;
    this.#isInSlice = true;
    try {
      this.#runReady();
      for (const table of this.#tables.values()) table.afterSlice();
      for (const listener of this.#sliceListeners) this.#engine.guard("onSliceEnd", listener);
    } finally {
      this.#isInSlice = false;
      if (this.#engine.ready.length > 0) this.#schedule();
    }
  }

  #runReady(): void {
    const { clock, ready, limits } = this.#engine;
    const startMs = clock.monotonicMs();
    let lookedAtMs = startMs;
    let sinceLookCount = 0;
    while (ready.shift()) {
      sinceLookCount += 1 + (this.#tables.get(ready.tableId)?.runTurn(ready.slot) ?? 0);
      if (sinceLookCount < limits.sliceCheckCount) continue;
      sinceLookCount = 0;
      const nowMs = clock.monotonicMs();
      this.#longestTurnMs = Math.max(this.#longestTurnMs, nowMs - lookedAtMs);
      lookedAtMs = nowMs;
      if (nowMs - startMs >= limits.sliceMs) return;
    }
    this.#longestTurnMs = Math.max(this.#longestTurnMs, clock.monotonicMs() - lookedAtMs);
  }

  #onTimer(key: number): void {
    this.#tables.get(tableIdOfKey(key))?.onTimer(slotOfKey(key), purposeOfKey(key));
  }
}

function createCounters(): Counters {
  return {
    resident: 0,
    busy: 0,
    waiting: 0,
    quarantined: 0,
    handled: 0,
    crashes: 0,
    restarts: 0,
    deadLettered: 0,
    refused: 0,
    staleWrites: 0,
    callbackErrors: 0,
  };
}
