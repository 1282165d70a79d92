// packages/process/src/table.ts
// The processes of one partition, as their owner uses them. `send` and `sendEach` are hot.
import type { Timer } from "@carillon/kernel";
import type {
  DrainOutcome,
  Lane,
  ProcessInspection,
  ProcessPhase,
  ProcessTable,
  Refusal,
  SendOutcome,
  Slots,
  TableOptions,
} from "./behaviour.ts";
import { endHold, killProcess, resetProcess } from "./crashes.ts";
import { HANDLER_TIMER, HOLD_TIMER, PROCESS_TIMER, type Engine } from "./engine.ts";
import { IdleSweep } from "./passivation.ts";
import { recentCrashCount } from "./restart.ts";
import { BUSY, HELD, QUARANTINED, QUEUED } from "./rows.ts";
import { TableCore } from "./table-core.ts";
import { runTurn } from "./turns.ts";

export class Table<State, Message extends object> implements ProcessTable<State, Message> {
  readonly #core: TableCore<State, Message>;
  readonly #sweep: IdleSweep<State, Message>;
  #isDraining = false;
  #drain: { readonly timer: Timer; readonly settle: (outcome: DrainOutcome) => void } | undefined;
  #drained: Promise<DrainOutcome> | undefined;

  constructor(engine: Engine, id: number, options: TableOptions<State, Message>) {
    const { name, behaviour, capacityCount = 0 } = options;
    this.#core = new TableCore({ engine, id, name, behaviour, capacityCount, handle: this });
    this.#sweep = new IdleSweep(this.#core);
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

  send(slot: number, message: Message, lane: Lane = "normal"): SendOutcome {
    const core = this.#core;
    const { rows, engine } = core;
    if (this.#isDraining || core.isStopped) return this.#refuse("stopped");
    rows.ensure(slot);
    if (rows.hasBits(slot, QUARANTINED)) return this.#refuse("quarantined");
    if (!rows.put(slot, message, lane)) return this.#refuse("overloaded");
    core.countWaiting(1);
    if (rows.mayQueue(slot)) {
      rows.setBits(slot, QUEUED);
      engine.ready.push(core.id, slot);
      engine.schedule();
    }
    return "accepted";
  }

  sendEach(
    slots: Slots,
    message: Message,
    onRefused?: (slot: number, why: Refusal) => void,
  ): number {
    let acceptedCount = 0;
    slots.forEach((slot) => {
      const outcome = this.send(slot, message);
      if (outcome === "accepted") acceptedCount++;
      else onRefused?.(slot, outcome);
    });
    return acceptedCount;
  }

  stateOf(slot: number): State | undefined {
    return this.#core.rows.states[slot];
  }

  generationOf(slot: number): number {
    return this.#core.rows.generation[slot] ?? 0;
  }

  inspect(slot: number): ProcessInspection<State> {
    const { rows, crashes, engine } = this.#core;
    const record = crashes.get(slot);
    const nowMs = engine.clock.monotonicMs();
    const isHeld = record !== undefined && record.holdHandle !== 0;
    return {
      slot,
      phase: this.#phaseOf(slot),
      generation: this.generationOf(slot),
      state: rows.states[slot] ?? record?.keptState,
      waitingCount: rows.waitingCountOf(slot),
      isTimerArmed: rows.timerOf(slot) !== 0,
      recentCrashCount: record === undefined ? 0 : recentCrashCount(record, nowMs, engine.limits),
      retryInMs: isHeld ? Math.max(0, record.holdUntilMs - nowMs) : undefined,
    };
  }

  forEachResident(visit: (slot: number, state: State) => void): void {
    for (const [slot, state] of this.#core.rows.states.entries())
      if (state !== undefined) visit(slot, state);
  }

  kill(slot: number): number {
    return this.isStopped ? 0 : killProcess(this.#core, slot);
  }

  reset(slot: number): boolean {
    return this.isStopped ? false : resetProcess(this.#core, slot);
  }

  drain(maxMs: number): Promise<DrainOutcome> {
    const { engine } = this.#core;
    if (this.isStopped) return this.#drained ?? Promise.resolve({ kind: "drained" });
    this.#isDraining = true;
    this.#drained ??= new Promise((resolve) => {
      const timer = engine.clock.setTimer(maxMs, () => this.#endDrain(false));
      this.#drain = { timer, settle: resolve };
      engine.schedule(); // the slice's end looks whether it is done
    });
    return this.#drained;
  }

  stop(): void {
    const core = this.#core;
    if (core.isStopped) return;
    const { engine, rows, behaviour } = core;
    this.forEachResident((slot, state) =>
      engine.guard("onStop", () => behaviour.onStop?.(slot, state, "stopped")),
    );
    core.isStopped = true; // from here on no turn of it is current
    for (const turn of core.asyncTurns.values()) core.endAsync(turn);
    for (const record of core.crashes.values()) engine.wheel.cancel(record.holdHandle);
    for (let slot = 0; slot < rows.status.length; slot++) {
      if (rows.timerOf(slot) !== 0) engine.wheel.cancel(rows.timerOf(slot));
      if (rows.hasBits(slot, QUARANTINED)) engine.counters.quarantined--;
    }
    engine.counters.resident -= core.residentCount;
    core.residentCount = 0;
    core.countWaiting(-core.waitingCount);
    core.crashes.clear();
    rows.clear();
    this.#sweep.stop();
    this.#endDrain(true);
    engine.forgetTable(core.id);
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
    else this.#sweep.run();
  }

  /** For the runtime: after each slice. */
  afterSlice(): void {
    if (this.residentCount > 0) this.#sweep.start();
    if (this.#drain !== undefined && this.waitingCount === 0 && this.#core.asyncTurns.size === 0)
      this.#endDrain(true);
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

  #refuse(why: Refusal): Refusal {
    this.#core.engine.counters.refused++;
    return why;
  }

  #phaseOf(slot: number): ProcessPhase {
    const { rows } = this.#core;
    if (this.isStopped) return "stopped";
    if (rows.hasBits(slot, QUARANTINED)) return "quarantined";
    if (rows.hasBits(slot, HELD)) return "backing_off";
    if (rows.hasBits(slot, BUSY)) return "running";
    return rows.hasBits(slot, QUEUED) ? "queued" : "idle";
  }
}
