// packages/process/src/watchdog/pulse.ts
// What the main thread is at, in memory that the watchdog's threads can read while it is stuck.
// One store around each turn; without a watchdog the stores go nowhere and cost the same.

/** A table has at most so many slots. */
const SLOTS = 2 ** 24;
/** `running` when no turn runs: new shared memory is zeroed. */
export const OUTSIDE = 0;

/** Places in the control half; the value that runs has a cache line of its own. */
const CONTROL_OFFSET_BYTES = 64;
const BEAT = 0;
const STOP = 1;
const DEBUGGER = 2;
const SPOKEN = 3;
const PULSE_BYTES = 128;

/** `nothing`: in time, and there was nothing to be written. */
export type SpokenOutcome = "done" | "nothing" | "failed" | "timeout";
/** By the number that stands for it in shared memory, which begins with 0. */
const SPOKEN_OUTCOMES: readonly SpokenOutcome[] = ["timeout", "done", "nothing", "failed"];

export type TableListener = (tableId: number, name: string | undefined) => void;

/** The main thread's side, for all its runtimes: it deals out the ids of their tables. */
export class Pulse {
  readonly buffer = new SharedArrayBuffer(PULSE_BYTES);
  readonly #running = new Float64Array(this.buffer, 0, 1);
  readonly #control = new Int32Array(this.buffer, CONTROL_OFFSET_BYTES);
  readonly #names = new Map<number, string>();
  readonly #listeners = new Set<TableListener>();
  #nextTableId = 0;

  /** A turn begins. Hot path: one plain store. An aligned 64-bit store is whole on x64 and arm64. */
  enter(tableId: number, slot: number): void {
    this.#running[0] = tableId * SLOTS + slot + 1;
  }

  /** The turn is over, or its handler waits for a promise. */
  leave(): void {
    this.#running[0] = OUTSIDE;
  }

  newTableId(): number {
    return this.#nextTableId++;
  }

  /** Before the first turn of the table; a culprit is told by this name. */
  nameTable(tableId: number, name: string): void {
    this.#names.set(tableId, name);
    for (const listener of this.#listeners) listener(tableId, name);
  }

  forgetTable(tableId: number): void {
    if (!this.#names.delete(tableId)) return;
    for (const listener of this.#listeners) listener(tableId, undefined);
  }

  /** Names by id. */
  get tables(): ReadonlyMap<number, string> {
    return this.#names;
  }

  /** Tells what changes from now on. Returns what ends it. */
  followTables(listener: TableListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The event loop turns. */
  beat(isDebuggerOpen: boolean): void {
    Atomics.store(this.#control, DEBUGGER, isDebuggerOpen ? 1 : 0);
    Atomics.add(this.#control, BEAT, 1);
  }

  /** Before threads are started on it; a pulse can be watched again after a stop. */
  arm(): void {
    Atomics.store(this.#control, STOP, 0);
    Atomics.store(this.#control, SPOKEN, 0);
  }

  /** Wakes the watch thread, which then ends by itself. */
  requestStop(): void {
    Atomics.store(this.#control, STOP, 1);
    Atomics.notify(this.#control, STOP);
  }
}

/** The threads' side: blocking waits, since these threads have nothing else to do. */
export class PulseView {
  readonly #running: Float64Array;
  readonly #control: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#running = new Float64Array(buffer, 0, 1);
    this.#control = new Int32Array(buffer, CONTROL_OFFSET_BYTES);
  }

  /** Which table and slot, as one number; `OUTSIDE` when no turn runs. */
  get running(): number {
    return this.#running[0] ?? OUTSIDE;
  }

  get beatCount(): number {
    return Atomics.load(this.#control, BEAT);
  }

  get isDebuggerOpen(): boolean {
    return Atomics.load(this.#control, DEBUGGER) === 1;
  }

  get isStopped(): boolean {
    return Atomics.load(this.#control, STOP) === 1;
  }

  /** Blocks this thread; less long when the watchdog is stopped. */
  pause(maxMs: number): void {
    Atomics.wait(this.#control, STOP, 0, maxMs);
  }

  tellSpoken(outcome: SpokenOutcome): void {
    Atomics.store(this.#control, SPOKEN, SPOKEN_OUTCOMES.indexOf(outcome));
    Atomics.notify(this.#control, SPOKEN);
  }

  /** Blocks this thread until the last words are told, or have failed, or the time is over. */
  waitSpoken(maxMs: number): SpokenOutcome {
    Atomics.wait(this.#control, SPOKEN, 0, maxMs);
    return SPOKEN_OUTCOMES[Atomics.load(this.#control, SPOKEN)] ?? "failed";
  }
}

export function tableIdOfRunning(running: number): number {
  return Math.floor((running - 1) / SLOTS);
}

export function slotOfRunning(running: number): number {
  return (running - 1) % SLOTS;
}
