// packages/process/src/table.ts
// The processes of one partition, as their owner uses them. `cast`, `castEach`, `call` are hot.
import { assert, type Timer } from "@carillon/kernel";
import { type Down, IGNORE, type Lane } from "./behaviour.ts";
import { CallMark } from "./calls.ts";
import { endHold, quarantineProcess, resetProcess } from "./crashes.ts";
import { downOf, endProcess, killProcess } from "./endings.ts";
import {
  HANDLER_TIMER,
  HOLD_TIMER,
  PAUSE_TIMER,
  PROCESS_TIMER,
  TICK_MS,
  type Engine,
} from "./engine.ts";
import { type Exit, NOPROC, type QuietExit, SHUTDOWN, isQuiet } from "./exit.ts";
import type { FanOut } from "./fan-out.ts";
import { inspectProcess, sumsOf } from "./inspect.ts";
import type { Item } from "./mailbox.ts";
import { MonitorRef } from "./monitors.ts";
import { IdleSweep } from "./passivation.ts";
import {
  ACTIVATE,
  BUSY,
  CANNOT_RUN_NOW,
  CRASHED,
  FANNED,
  HELD,
  LOAD_WAITING,
  QUARANTINED,
  QUEUED,
  SPAWNED,
} from "./rows.ts";
import type {
  CallOptions,
  CallOutcome,
  CastOutcome,
  DrainOutcome,
  Monitor,
  ProcessInspection,
  ProcessTable,
  Ref,
  Refusal,
  Slots,
  SpawnOutcome,
  TableOptions,
  TableSums,
} from "./table-api.ts";
import { TableCore } from "./table-core.ts";
import { runTurn } from "./turns.ts";

export class Table<State, Message extends object, Reply> implements ProcessTable<
  State,
  Message,
  Reply
> {
  readonly #core: TableCore<State, Message, Reply>;
  readonly #sweep: IdleSweep<State, Message, Reply>;
  readonly #mayFan: boolean;
  readonly #slotOf: ((key: string) => number | undefined) | undefined;
  #isDraining = false;
  #drain: { readonly timer: Timer; readonly settle: (outcome: DrainOutcome) => void } | undefined;
  #drained: Promise<DrainOutcome> | undefined;

  constructor(engine: Engine, id: number, options: TableOptions<State, Message, Reply>) {
    const { behaviour } = options;
    this.#core = new TableCore({ ...options, engine, id, handle: this });
    this.#sweep = new IdleSweep(this.#core);
    this.#slotOf = options.slotOf;
    this.#mayFan = behaviour.coalesceKey === undefined && behaviour.messageBytes === undefined;
  }

  /** For Registry. */
  get core(): TableCore<State, Message, Reply> {
    return this.#core;
  }

  get name(): string {
    return this.#core.name;
  }

  get residentCount(): number {
    return this.#core.residentCount;
  }

  get waitingCount(): number {
    return this.#core.waitingCount;
  }

  get isStopped(): boolean {
    return this.#core.isStopped;
  }

  get isPaused(): boolean {
    return this.#core.isPaused;
  }

  spawn(slot: number): SpawnOutcome {
    const core = this.#core;
    const { rows, behaviour, engine } = core;
    if (this.#isDraining || core.isStopped) return { kind: "stopped" };
    rows.ensure(slot);
    const ref = this.#refOf(slot);
    if (rows.hasBits(slot, QUARANTINED)) return { kind: "quarantined" };
    if (this.#isStarted(slot)) return { kind: "already_started", ref };
    if (slot >= core.processCount) core.processCount = slot + 1;
    engine.nowTick = Math.floor(engine.clock.monotonicMs() / TICK_MS); // maybe outside a slice
    let state: State | undefined | typeof IGNORE;
    try {
      state = behaviour.init(slot);
    } catch (error) {
      return { kind: "failed", error }; // P5: the name is free; its starter knows, no report
    }
    if (core.isStopped) return { kind: "stopped" };
    if (state === IGNORE) return { kind: "ignored" };
    core.setState(slot, state);
    engine.schedule(); // the slice's end begins to look for idle ones
    if (!core.isOnDemand) rows.setBits(slot, SPAWNED);
    if (state !== undefined && behaviour.onContinue !== undefined) {
      rows.setBits(slot, ACTIVATE);
      core.queueIfNeeded(slot);
    }
    return { kind: "started", ref };
  }

  cast(slot: number, message: Message, lane: Lane = "normal"): CastOutcome {
    const core = this.#core;
    const { rows, engine } = core;
    const refusal = this.#refusalOf(slot, lane);
    if (refusal !== undefined) return this.#refuse(refusal);
    if (lane === "normal" && core.behaviour.coalesceKey !== undefined)
      if (this.#coalesce(slot, message)) return "accepted";
    if (!rows.put(slot, message, lane)) return this.#putInFull(slot, message, lane);
    core.countWaiting(1);
    if (rows.mayQueue(slot)) {
      rows.setBits(slot, QUEUED);
      engine.ready.push(core.id, slot);
      engine.schedule();
    }
    return "accepted";
  }

  castEach(
    slots: Slots,
    message: Message,
    onRefused?: (slot: number, why: Refusal) => void,
  ): number {
    const core = this.#core;
    const { rows } = core;
    const isOpen = this.#mayFan && !this.#isDraining && !core.isStopped && !core.isPaused;
    const mask = CANNOT_RUN_NOW | ACTIVATE | SPAWNED;
    const wanted = core.isOnDemand ? 0 : SPAWNED;
    let acceptedCount = 0;
    let fanOut: FanOut<Message> | undefined;
    try {
      slots.forEach((slot) => {
        const status = isOpen ? rows.status[slot] : undefined;
        if (status !== undefined && (status & mask) === wanted && !rows.isWaiting(slot)) {
          rows.status[slot] = status | QUEUED | FANNED;
          fanOut ??= core.beginFanOut(message);
          fanOut.add(slot);
          return;
        }
        const outcome = this.cast(slot, message);
        if (outcome === "accepted") acceptedCount++;
        else onRefused?.(slot, outcome);
      });
    } finally {
      if (fanOut !== undefined) core.queueFanOut(fanOut);
    }
    return acceptedCount + (fanOut?.length ?? 0);
  }

  call(slot: number, message: Message, options?: CallOptions): Promise<CallOutcome<Reply>> {
    const core = this.#core;
    const { engine, rows } = core;
    const lane = options?.lane ?? "normal";
    const deadlineAtMs = options?.deadlineAtMs;
    let limitMs = options?.timeoutMs ?? engine.limits.callMs;
    assert(core.behaviour.onCall !== undefined, "P25 the behaviour of this table takes no calls");
    const nowMs = engine.clock.monotonicMs();
    if (deadlineAtMs !== undefined) limitMs = Math.min(limitMs, deadlineAtMs - nowMs);
    assert(limitMs < Infinity, "P25 a call's time-out is a number of milliseconds");
    if (limitMs <= 0) {
      engine.counters.callTimeouts++;
      return Promise.resolve({ kind: "timeout" });
    }
    const refusal = this.#refusalOf(slot, lane);
    if (refusal !== undefined) {
      this.#refuse(refusal);
      return Promise.resolve(
        refusal === "noproc" ? { kind: "exit", exit: NOPROC } : { kind: refusal },
      );
    }
    const cause = rows.hasBits(slot, CRASHED) ? core.crashes.get(slot)?.loadFailure : undefined;
    if (cause !== undefined) return Promise.resolve({ kind: "load_failed", cause });
    const call = new CallMark<Message, Reply>(core, slot, message, nowMs + limitMs);
    if (!rows.put(slot, call, lane)) {
      this.#refuse("overloaded");
      return Promise.resolve({ kind: "overloaded" });
    }
    core.countWaiting(1);
    core.queueIfNeeded(slot);
    engine.calls.add(call, nowMs);
    engine.scheduleSoon(nowMs);
    return new Promise((resolve) => {
      call.settle = resolve;
    });
  }

  monitor(slot: number, watcher: (down: Down) => void): Monitor {
    const core = this.#core;
    if (!core.isStopped) core.rows.ensure(slot);
    if (!this.#isAbsent(slot)) return core.monitors.add(slot, watcher);
    const ref = new MonitorRef(core.monitors, slot, watcher);
    core.monitors.tellSoon(ref, downOf(core, slot, NOPROC));
    return ref;
  }

  exit(slot: number, exit: QuietExit = SHUTDOWN): boolean {
    const core = this.#core;
    const { rows } = core;
    if (this.#isAbsent(slot)) return false;
    if (core.isOnDemand && rows.states[slot] === undefined && core.isIdle(slot)) return false;
    if (rows.hasBits(slot, BUSY)) core.exits.set(slot, exit);
    else endProcess(core, slot, { exit, isReady: true });
    return true;
  }

  kill(slot: number): number {
    return this.isStopped ? 0 : killProcess(this.#core, slot);
  }

  isAlive({ slot, generation }: Ref): boolean {
    return this.#core.isCurrent(slot, generation) && !this.#isAbsent(slot);
  }

  stateOf(slot: number): State | undefined {
    return this.#core.rows.states[slot];
  }

  generationOf(slot: number): number {
    return this.#core.rows.generation[slot] ?? 0;
  }

  inspect(slot: number): ProcessInspection<State> {
    return inspectProcess(this.#core, slot);
  }

  forEachResident(visit: (slot: number, state: State) => void): void {
    for (const [slot, state] of this.#core.rows.states.entries())
      if (state !== undefined) visit(slot, state);
  }

  quarantined(limitCount: number): ProcessInspection<State>[] {
    const { crashes, rows } = this.#core;
    return [...crashes.keys()]
      .filter((slot) => rows.hasBits(slot, QUARANTINED))
      .slice(0, limitCount)
      .map((slot) => this.inspect(slot));
  }

  find(key: string): number | undefined {
    const known = this.#slotOf?.(key);
    if (known !== undefined) return known; // it may not have had a message yet
    const isSlot = (this.#slotOf === undefined ? /^#?\d+$/u : /^#\d+$/u).test(key);
    const slot = isSlot ? Number(key.replace("#", "")) : Infinity;
    return slot < this.#core.rows.status.length ? slot : undefined;
  }

  active(limitCount: number): ProcessInspection<State>[] {
    const { rows } = this.#core;
    const found: ProcessInspection<State>[] = [];
    for (let slot = 0; slot < rows.status.length && found.length < limitCount; slot++)
      if (rows.hasBits(slot, CANNOT_RUN_NOW | CRASHED) || rows.isWaiting(slot))
        found.push(this.inspect(slot));
    return found;
  }

  sums(): TableSums {
    return sumsOf(this.#core);
  }

  quarantine(slot: number, cause: unknown, forMs?: number): void {
    if (this.isStopped) return;
    this.#core.rows.ensure(slot);
    quarantineProcess(this.#core, slot, { cause, forMs });
  }

  reset(slot: number): boolean {
    return this.isStopped ? false : resetProcess(this.#core, slot);
  }

  resume(): boolean {
    return this.isStopped ? false : this.#core.resume();
  }

  drain(maxMs: number): Promise<DrainOutcome> {
    const { engine } = this.#core;
    assert(maxMs >= 0 && maxMs < Infinity, "P25 a drain's limit is a number of milliseconds");
    if (this.isStopped) return this.#drained ?? Promise.resolve({ kind: "drained" });
    this.#isDraining = true;
    this.#drained ??= new Promise((resolve) => {
      const timer = engine.clock.setTimer(maxMs, () => this.#endDrain(false));
      this.#drain = { timer, settle: resolve };
      this.#core.wantSliceEnd();
      engine.schedule(); // the slice's end looks whether it is done
    });
    return this.#drained;
  }

  stop(exit: Exit = SHUTDOWN): void {
    const core = this.#core;
    if (core.isStopped) return;
    const { engine, rows, behaviour } = core;
    const { states } = rows;
    core.isStopped = true; // from here on no turn of it is current
    for (const turn of core.asyncTurns.values()) core.endAsync(turn);
    engine.calls.closeAll(core, { kind: "exit", exit });
    core.monitors.fireAll((slot) => downOf(core, slot, exit));
    core.unwatchEverybody();
    for (const record of core.crashes.values()) engine.wheel.cancel(record.holdHandle);
    for (let slot = 0; slot < rows.status.length; slot++) {
      if (rows.timerOf(slot) !== 0) engine.wheel.cancel(rows.timerOf(slot));
      if (rows.hasBits(slot, QUARANTINED)) engine.counters.quarantined--;
    }
    engine.counters.resident -= core.residentCount;
    core.residentCount = 0;
    core.countWaiting(-core.waitingCount);
    core.clear();
    this.#sweep.stop();
    this.#endDrain(true);
    engine.forgetTable(core.id);
    if (!isQuiet(exit) || behaviour.onStop === undefined) return;
    for (const [slot, state] of states.entries())
      if (state !== undefined) engine.guard("onStop", () => behaviour.onStop?.(slot, state, exit));
  }

  /** For the runtime: one turn; returns the number of messages handled. */
  runTurn(slot: number): number {
    return runTurn(this.#core, slot);
  }

  /** For the runtime: a timer of this table has fired. */
  onTimer(slot: number, purpose: number): void {
    if (this.isStopped) return;
    if (purpose === PROCESS_TIMER) this.#core.onTimerFired(slot);
    else if (purpose === HOLD_TIMER) endHold(this.#core, slot);
    else if (purpose === HANDLER_TIMER) this.#core.onHandlerTimeout(slot);
    else if (purpose === PAUSE_TIMER) this.#core.resume();
    else this.#sweep.run();
  }

  /** For the runtime: a process that waited for its turn to load, unless it is gone. */
  runLoad(slot: number): void {
    if (this.#core.releaseLoad(slot)) runTurn(this.#core, slot);
  }

  /** For the runtime: names of processes that have ended are free before that is told (P7). */
  beforeDowns(): void {
    this.#core.onSlice?.();
  }

  /** For the runtime: after a slice, where it was wanted (`wantSliceEnd`). */
  afterSlice(): void {
    this.#core.beginSliceEnd();
    this.#core.onSlice?.();
    if (this.residentCount > 0) this.#sweep.start();
    if (this.#drain !== undefined) this.#core.wantSliceEnd();
    if (this.#drain !== undefined && this.waitingCount === 0 && this.#core.asyncTurns.size === 0)
      this.#endDrain(true);
  }

  #refusalOf(slot: number, lane: Lane): Refusal | undefined {
    const core = this.#core;
    const { rows } = core;
    if (this.#isDraining || core.isStopped) return "stopped";
    rows.ensure(slot);
    if (rows.hasBits(slot, QUARANTINED)) return "quarantined";
    if (core.isPaused && lane === "normal") return "paused";
    if (!core.isOnDemand && !rows.hasBits(slot, SPAWNED)) return "noproc";
    return undefined;
  }

  #coalesce(slot: number, message: Message): boolean {
    const { rows, behaviour, engine } = this.#core;
    if (!rows.isWaiting(slot)) return false;
    const key = behaviour.coalesceKey?.(message);
    if (key === undefined) return false;
    const isSame = (waiting: Message): boolean => behaviour.coalesceKey?.(waiting) === key;
    if (!rows.coalesce(slot, message, isSame)) return false;
    engine.counters.coalesced++;
    return true;
  }

  /** As the behaviour's `overflow` wants it (P14). */
  #putInFull(slot: number, message: Message, lane: Lane): CastOutcome {
    const core = this.#core;
    const { rows, behaviour, engine } = core;
    const policy = lane === "control" ? "reject" : behaviour.overflow?.(message);
    if (policy === "spill") {
      engine.counters.spilled++;
      engine.guard("onSpill", () => behaviour.onSpill?.(slot, message));
      return this.#refuse("spilled");
    }
    if (policy !== "drop_oldest" || !rows.mayFit(message)) return this.#refuse("overloaded");
    const dropped = this.#dropOldest(slot, message);
    core.queueIfNeeded(slot);
    for (const one of dropped) engine.guard("onDrop", () => behaviour.onDrop?.(slot, one));
    return "accepted";
  }

  /** The oldest go until the message has its place; returns those that are no calls. */
  #dropOldest(slot: number, message: Message): Message[] {
    const core = this.#core;
    const dropped: Item<Message>[] = [];
    let isNew = false;
    core.moveFanned(slot);
    // One of its key is replaced, also here: two of a key could be handled in the wrong order.
    while (!this.#coalesce(slot, message) && !(isNew = core.rows.put(slot, message, "normal"))) {
      const oldest = core.rows.takeOldest(slot);
      assert(oldest !== undefined, "P14 an empty mailbox takes a message that fits");
      if (oldest instanceof CallMark) oldest.close({ kind: "overloaded" });
      dropped.push(oldest);
    }
    core.countWaiting((isNew ? 1 : 0) - dropped.length);
    core.engine.counters.dropped += dropped.length;
    return core.messagesOf(dropped);
  }

  #isStarted(slot: number): boolean {
    const { isOnDemand, rows } = this.#core;
    if (!isOnDemand) return rows.hasBits(slot, SPAWNED);
    if (rows.states[slot] !== undefined || rows.isWaiting(slot)) return true;
    return rows.hasBits(slot, HELD | BUSY | LOAD_WAITING | ACTIVATE | FANNED);
  }

  #isAbsent(slot: number): boolean {
    const core = this.#core;
    return core.isStopped || (!core.isOnDemand && !core.rows.hasBits(slot, SPAWNED));
  }

  #refOf(slot: number): Ref {
    return { slot, generation: this.generationOf(slot) };
  }

  #endDrain(isDone: boolean): void {
    const drain = this.#drain;
    this.#drain = undefined;
    drain?.timer.cancel();
    const { waitingCount, asyncTurns } = this.#core;
    drain?.settle(
      isDone ? { kind: "drained" } : { kind: "timeout", waitingCount, busyCount: asyncTurns.size },
    );
  }

  #refuse<Why extends Refusal>(why: Why): Why {
    this.#core.engine.counters.refused++;
    return why;
  }
}
