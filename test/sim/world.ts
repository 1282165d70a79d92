// test/sim/world.ts
// Time, chance and the trace of one simulated run, in one thread. Nothing here is real but the
// code that is being run:
//   SI1  Events happen in order of their time, then of their making; between two of them all promise
//        callbacks run. The same seed therefore gives the same run, byte for byte.
//   SI2  Chance comes in streams by name, each from the seed: one more draw in the network does not
//        change what the senders do.
//   SI3  What a machine that is dead waited for never happens; of one that is paused it happens late,
//        in its order.
import { createSeededRandom, type Random } from "@carillon/kernel";
import { createHash } from "node:crypto";
import type { Machine } from "./machine.ts";

/** What is to happen. A paused machine keeps it as it is, so that it can still be cancelled. */
export interface Event {
  atMs: number;
  order: number;
  readonly machine: Machine | null; // null: the world itself
  run: (() => void) | null; // null: cancelled
}

/** Chance with what the simulation asks of it most. */
export interface Dice extends Random {
  /** Uniform in [low, high). */
  between(low: number, high: number): number;
  /** Whole number in [0, count). */
  below(count: number): number;
  isHit(share: number): boolean;
  /** One of a list that is not empty. */
  pick<T>(from: readonly T[]): T;
}

const TRACE_LINES_MAX = 400_000;
/** Until the loop has a turn: messages of a pool, signals. One, where Node does not let us settle. */
const EVENTS_PER_TURN = 5_000;
/** Lines that are hashed together: a call for each would be a tenth of a run. */
const HASHED_TOGETHER_COUNT = 1_024;

export class World {
  readonly seed: number;
  /** What broke; the run goes on no further. */
  readonly violations: string[] = [];
  nowMs = 0;
  eventsCount = 0;
  readonly #heap: Event[] = [];
  readonly #lines: string[] = [];
  readonly #hash = createHash("sha256");
  #unhashed = "";
  #unhashedCount = 0;
  #order = 0;

  constructor(seed: number) {
    this.seed = seed;
  }

  dice(stream: string): Dice {
    const hash = createHash("sha256").update(`${this.seed}/${stream}`).digest();
    const random = createSeededRandom(hash.readUInt32LE(0));
    const below = (count: number): number => Math.floor(random.next() * count);
    return {
      ...random,
      between: (low, high) => low + random.next() * (high - low),
      below,
      isHit: (share) => random.next() < share,
      pick: <T>(from: readonly T[]): T => from[below(from.length)] as T,
    };
  }

  /** Runs `run` at `atMs`, or now if that is past, if its machine lives then. Returns what cancels it. */
  at(atMs: number, run: () => void, machine: Machine | null = null): () => void {
    const due = Math.max(atMs, this.nowMs);
    const event: Event = { atMs: due, order: this.#order++, machine, run };
    push(this.#heap, event);
    return () => void (event.run = null);
  }

  /** What came due while its machine was paused happens now, unless it has been cancelled since. */
  requeue(event: Event): void {
    event.atMs = this.nowMs;
    event.order = this.#order++;
    push(this.#heap, event);
  }

  after(delayMs: number, run: () => void, machine: Machine | null = null): () => void {
    return this.at(this.nowMs + Math.max(0, delayMs), run, machine);
  }

  /** Every `everyMs` from now on, while `run` does not return false. */
  every(everyMs: number, run: () => boolean | void): void {
    this.after(everyMs, () => {
      if (run() !== false) this.every(everyMs, run);
    });
  }

  trace(who: string, what: string): void {
    const line = `${(this.nowMs / 1_000).toFixed(4).padStart(9)} ${who.padEnd(8)} ${what}`;
    this.#unhashed += `${line}\n`;
    if (++this.#unhashedCount >= HASHED_TOGETHER_COUNT) this.#hashLines();
    if (this.#lines.length < TRACE_LINES_MAX) this.#lines.push(line);
  }

  /** An invariant does not hold. `id` as in docs/architecture.md. */
  violate(id: string, what: string): void {
    this.trace("ORACLE", `${id} broken: ${what}`);
    this.violations.push(`${id}: ${what}`);
  }

  get traceLines(): readonly string[] {
    return this.#lines;
  }

  /** Of the trace so far. Call once, at the end. */
  traceHash(): string {
    this.#hashLines();
    return this.#hash.digest("hex").slice(0, 16);
  }

  #hashLines(): void {
    this.#hash.update(this.#unhashed);
    this.#unhashed = "";
    this.#unhashedCount = 0;
  }

  /** Until nothing is due before `endMs`, something is broken, or `isOver`. */
  async run(endMs: number, isOver: () => boolean = () => false): Promise<void> {
    const onLoose = (cause: unknown): void => this.#threw("a promise or a turn of its own", cause);
    process.on("unhandledRejection", onLoose).on("uncaughtException", onLoose);
    try {
      await this.#run(endMs, isOver);
    } finally {
      process.off("unhandledRejection", onLoose).off("uncaughtException", onLoose);
    }
  }

  async #run(endMs: number, isOver: () => boolean): Promise<void> {
    const settle = settleOfNode();
    const burst = (): boolean => {
      for (let left = settle === undefined ? 1 : EVENTS_PER_TURN; left > 0; left--) {
        if (this.violations.length > 0 || isOver() || !this.#runNext(endMs)) return false;
        this.#settle(settle);
      }
      return true;
    };
    while (await inTurn(burst));
  }

  /** False: nothing more is due. */
  #runNext(endMs: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.atMs > endMs) {
      this.nowMs = Math.max(this.nowMs, endMs);
      return false;
    }
    pop(this.#heap);
    const { run, machine } = next;
    if (run === null || machine?.isAlive === false) return true;
    this.nowMs = next.atMs;
    if (machine?.isPaused === true) {
      machine.backlog.push(next);
      return true;
    }
    this.eventsCount++;
    this.#guarded(run, machine);
    return true;
  }

  /** Without `settle` the turn of the loop that follows does it. */
  #settle(settle: (() => void) | undefined): void {
    try {
      settle?.();
    } catch (cause) {
      this.#threw("a turn of its own", cause);
    }
  }

  /** What is thrown here would have ended a process: a bug, whatever the faults were. */
  #guarded(run: () => void, machine: Machine | null): void {
    try {
      run();
    } catch (cause) {
      this.#threw(machine?.name ?? "world", cause);
    }
  }

  #threw(who: string, cause: unknown): void {
    const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    this.violate("BUG", `${who} threw ${text}`);
  }
}

/** Runs in a turn of the loop of its own, so that `settle` may be called. */
function inTurn(run: () => boolean): Promise<boolean> {
  return new Promise((resolve) => void setImmediate(() => resolve(run())));
}

/**
 * All promise callbacks that are due, and ticks between them (BU5), run now, and who waits for none
 * is told (unhandledRejection): what Node does after each callback of its own. A turn of the loop for
 * each event does the same in a quarter more time: so it is where Node does not have this function,
 * which it does not document. Not from a promise callback: there it does nothing.
 */
function settleOfNode(): (() => void) | undefined {
  // oxlint-disable-next-line no-underscore-dangle -- so Node calls it
  const settle = (process as unknown as { _tickCallback?: unknown })._tickCallback;
  return typeof settle === "function" ? () => void settle.call(process) : undefined;
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1;
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above] as Event;
    if (!isBefore(event, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = at * 2 + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event))
      child++;
    if (!isBefore(heap[child] as Event, last)) break;
    heap[at] = heap[child] as Event;
    at = child;
  }
  heap[at] = last;
}
