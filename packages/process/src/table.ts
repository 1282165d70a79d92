// packages/process/src/table.ts
// The processes of one partition, as their owner uses them. `cast`, `castEach`, `call` are hot and
// stand here in full; the rest hands on. Its length is that of `ProcessTable`.
import { assert } from "@carillon/kernel";
import type { Down, Lane } from "./behaviour.ts";
import { CallMark } from "./calls.ts";
import { endHold, quarantineProcess, resetProcess } from "./crashes.ts";
import { Drain } from "./drain.ts";
import { downOf, endProcess, killProcess, stopProcesses } from "./endings.ts";
import {
  type Engine,
  FORGET_TIMER,
  HANDLER_TIMER,
  HOLD_TIMER,
  PAUSE_TIMER,
  PROCESS_TIMER,
} from "./engine.ts";
import { type Exit, NOPROC, type QuietExit, SHUTDOWN } from "./exit.ts";
import type { FanOut } from "./fan-out.ts";
import { activeOf, inspectProcess, quarantinedOf, sumsOf } from "./inspect.ts";
import { coalesce, putInFull } from "./overflow.ts";
import { IdleSweep } from "./passivation.ts";
import {
  ACTIVATE,
  BUSY,
  CANNOT_RUN_NOW,
  CRASHED,
  FANNED,
  QUARANTINED,
  QUEUED,
  SPAWNED,
} from "./rows.ts";
import { isAbsent, spawnProcess } from "./spawning.ts";
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
  readonly #drain: Drain<State, Message, Reply>;

  constructor(engine: Engine, id: number, options: TableOptions<State, Message, Reply>) {
    const { behaviour } = options;
    this.#core = new TableCore({ ...options, engine, id, handle: this });
    this.#sweep = new IdleSweep(this.#core);
    this.#drain = new Drain(this.#core);
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
    if (this.#drain.isBegun || this.isStopped) return { kind: "stopped" };
    return spawnProcess(this.#core, slot);
  }

  cast(slot: number, message: Message, lane: Lane = "normal"): CastOutcome {
    const core = this.#core;
    const { rows, engine } = core;
    assertMessage(message);
    const refusal = this.#refusalOf(slot, lane);
    if (refusal !== undefined) return core.refuse(refusal);
    if (lane === "normal" && core.behaviour.coalesceKey !== undefined)
      if (coalesce(core, slot, message)) return "accepted";
    if (!rows.put(slot, message, lane)) return putInFull(core, slot, message, lane);
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
    assertMessage(message);
    const isOpen = this.#mayFan && !this.#drain.isBegun && !core.isStopped && !core.isPaused;
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
    assertMessage(message);
    const nowMs = engine.clock.monotonicMs();
    if (deadlineAtMs !== undefined) limitMs = Math.min(limitMs, deadlineAtMs - nowMs);
    assert(limitMs < Infinity, "P25 a call's time-out is a number of milliseconds");
    if (limitMs <= 0) {
      engine.counters.callTimeouts++;
      return Promise.resolve({ kind: "timeout" });
    }
    const refusal = this.#refusalOf(slot, lane);
    if (refusal !== undefined) {
      core.refuse(refusal);
      return Promise.resolve(
        refusal === "noproc" ? { kind: "exit", exit: NOPROC } : { kind: refusal },
      );
    }
    const cause = rows.hasBits(slot, CRASHED) ? core.crashes.get(slot)?.loadFailure : undefined;
    if (cause !== undefined) return Promise.resolve({ kind: "load_failed", cause });
    const call = new CallMark<Message, Reply>(core, slot, message, nowMs + limitMs);
    if (!rows.put(slot, call, lane)) {
      core.refuse("overloaded");
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
    return isAbsent(core, slot)
      ? core.monitors.addToNobody(downOf(core, slot, NOPROC), watcher)
      : core.monitors.add(slot, watcher);
  }

  exit(slot: number, exit: QuietExit = SHUTDOWN): boolean {
    const core = this.#core;
    const { rows } = core;
    if (isAbsent(core, slot)) return false;
    if (core.isOnDemand && rows.states[slot] === undefined && core.isIdle(slot)) return false;
    if (rows.hasBits(slot, BUSY)) core.exits.set(slot, exit);
    else endProcess(core, slot, { exit, isReady: true });
    return true;
  }

  kill(slot: number): number {
    return this.isStopped ? 0 : killProcess(this.#core, slot);
  }

  isAlive({ slot, generation }: Ref): boolean {
    return this.#core.isCurrent(slot, generation) && !isAbsent(this.#core, slot);
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
    return quarantinedOf(this.#core, limitCount);
  }

  find(key: string): number | undefined {
    const known = this.#slotOf?.(key);
    if (known !== undefined) return known; // it may not have had a message yet
    const isSlot = (this.#slotOf === undefined ? /^#?\d+$/u : /^#\d+$/u).test(key);
    const slot = isSlot ? Number(key.replace("#", "")) : Infinity;
    return slot < this.#core.rows.status.length ? slot : undefined;
  }

  active(limitCount: number): ProcessInspection<State>[] {
    return activeOf(this.#core, limitCount);
  }

  sums(): TableSums {
    return sumsOf(this.#core);
  }

  quarantine(slot: number, cause: unknown, forMs?: number): void {
    const isTime = forMs === undefined || (forMs >= 0 && forMs < Infinity);
    assert(isTime, "P25 a quarantine's time is a number of milliseconds");
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
    return this.#drain.begin(maxMs);
  }

  stop(exit: Exit = SHUTDOWN): void {
    if (this.isStopped) return;
    const tellProcesses = stopProcesses(this.#core, exit);
    this.#sweep.stop();
    this.#drain.end(true);
    this.#core.engine.forgetTable(this.#core.id);
    tellProcesses();
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
    else if (purpose === FORGET_TIMER) this.#core.crashSweep.run();
    else this.#sweep.run();
  }

  /** For the runtime: a process that waited for its turn to load, unless it is gone. */
  runLoad(slot: number): void {
    if (this.#core.releaseLoad(slot)) runTurn(this.#core, slot);
  }

  /** For the runtime: whom its fan-outs have not reached, beyond their places in the ready queue. */
  get fanWaitingCount(): number {
    return this.#core.fanWaitingCount;
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
    this.#drain.look();
  }

  #refusalOf(slot: number, lane: Lane): Refusal | undefined {
    const core = this.#core;
    const { rows } = core;
    if (this.#drain.isBegun || core.isStopped) return "stopped";
    rows.ensure(slot);
    if (rows.hasBits(slot, QUARANTINED)) return "quarantined";
    if (core.isPaused && lane === "normal") return "paused";
    if (!core.isOnDemand && !rows.hasBits(slot, SPAWNED)) return "noproc";
    return undefined;
  }
}

/** P25: an empty mailbox is told by `undefined`; what is no object at all is nobody's message. */
function assertMessage(message: unknown): void {
  const isObject = typeof message === "object" && message !== null;
  if (!isObject) assert(typeof message === "function", "P25 a message is an object");
}
