// packages/kernel/src/timer-wheel.ts
// Many cheap timers on one: a hashed wheel in typed arrays, one wheel per thread.
//   TW1  A timer fires once, never early, and at the first tick after it is due.
//   TW2  Timers of one tick fire in the order they were armed; earlier ticks come first.
//   TW3  A cancelled timer never fires; a handle that has fired or was cancelled does nothing.
//   TW4  The clock's timer is armed only while something is armed here, for the next filled tick; at
//        times that are no whole numbers, too, it is not armed for a tick that has come.
// A timer carries a number, `key`, instead of a closure: 28 bytes each, nothing on the heap.
import { assert } from "./assert.ts";
import type { Clock, Timer } from "./clock.ts";

const BUCKET_COUNT = 4_096; // power of two; at 20 ms a tick one round is 82 s
const FIRING = BUCKET_COUNT; // list of the entries that fire now
const FIRST_ENTRY = BUCKET_COUNT + 1;
const HANDLE_BASE = 2 ** 26; // entries per wheel; a handle is use × base + entry
const USES_MAX = 2 ** 26;

export interface TimerWheelOptions {
  readonly clock: Clock;
  /** Must not throw; may arm and cancel. */
  readonly onFire: (key: number) => void;
  /** Resolution. Default 20 ms: a thread then wakes at most 50 times a second for timers. */
  readonly tickMs?: number;
}

export class TimerWheel {
  readonly #clock: Clock;
  readonly #onFire: (key: number) => void;
  readonly #tickMs: number;
  // Doubly linked lists by entry number; the first BUCKET_COUNT + 1 entries are list heads.
  #next = new Int32Array(FIRST_ENTRY + 64);
  #previous = new Int32Array(FIRST_ENTRY + 64);
  #dueTick = new Float64Array(FIRST_ENTRY + 64);
  #keys = new Float64Array(FIRST_ENTRY + 64);
  #uses = new Int32Array(FIRST_ENTRY + 64);
  #freeEntry = 0; // head of the free list over #next; 0: none
  #usedEntries = FIRST_ENTRY;
  #armedCount = 0;
  #originMs: number;
  #tick = 0; // every timer due at or before this tick has fired
  #timer: Timer | undefined;
  #wakeTick = Infinity;

  constructor(options: TimerWheelOptions) {
    this.#clock = options.clock;
    this.#onFire = options.onFire;
    this.#tickMs = options.tickMs ?? 20;
    this.#originMs = this.#clock.monotonicMs();
    for (let head = 0; head < FIRST_ENTRY; head++) {
      this.#next[head] = head;
      this.#previous[head] = head;
    }
  }

  get armedCount(): number {
    return this.#armedCount;
  }

  /**
   * `key` is told to `onFire` after at least `delayMs`. Returns a handle, never 0. `nowMs`: the
   * clock's time, when the caller has just read it.
   */
  arm(delayMs: number, key: number, nowMs = this.#clock.monotonicMs()): number {
    assert(delayMs >= 0 && delayMs < Infinity, "TW1 a delay is a number of milliseconds");
    if (this.#armedCount === 0) {
      this.#originMs = nowMs; // nothing refers to the old ticks
      this.#tick = 0;
    }
    const entry = this.#take();
    const dueTick = Math.max(
      this.#tick + 1,
      Math.ceil((nowMs - this.#originMs + delayMs) / this.#tickMs),
    );
    this.#dueTick[entry] = dueTick;
    this.#keys[entry] = key;
    this.#append(dueTick % BUCKET_COUNT, entry);
    this.#armedCount++;
    if (dueTick < this.#wakeTick) this.#wakeAt(dueTick, nowMs);
    return (this.#uses[entry] ?? 0) * HANDLE_BASE + entry;
  }

  /** False when it has fired or was cancelled before. */
  cancel(handle: number): boolean {
    const entry = handle % HANDLE_BASE;
    if (entry < FIRST_ENTRY || entry >= this.#usedEntries) return false;
    if (this.#uses[entry] !== (handle - entry) / HANDLE_BASE) return false;
    this.#release(entry);
    if (this.#armedCount === 0) this.#sleep();
    return true;
  }

  /** Cancels everything. */
  stop(): void {
    for (let list = 0; list < FIRST_ENTRY; list++)
      for (let entry = this.#next[list] ?? 0; entry !== list; entry = this.#next[list] ?? 0)
        this.#release(entry);
    this.#sleep();
  }

  #onWake(): void {
    this.#timer = undefined;
    this.#wakeTick = Infinity;
    // The ticks are counted anew when onFire arms the first timer of an empty wheel: ask each time.
    for (let nowTick = this.#nowTick(); this.#tick < nowTick; nowTick = this.#nowTick()) {
      const filled = this.#nextFilledTick(nowTick);
      this.#tick = filled ?? nowTick;
      if (filled !== undefined) this.#fireTick(filled);
    }
    if (this.#armedCount === 0) return this.#sleep();
    const nextTick = this.#nextFilledTick(Infinity) ?? this.#tick + 1;
    if (nextTick < this.#wakeTick) this.#wakeAt(nextTick, this.#clock.monotonicMs());
  }

  #nowTick(): number {
    const nowMs = this.#clock.monotonicMs();
    const tick = Math.floor((nowMs - this.#originMs) / this.#tickMs);
    // The difference may round to just below the tick that the clock was asked to wake us at.
    return this.#startMsOf(tick + 1) <= nowMs ? tick + 1 : tick;
  }

  #startMsOf(tick: number): number {
    return this.#originMs + tick * this.#tickMs;
  }

  #fireTick(tick: number): void {
    const bucket = tick % BUCKET_COUNT;
    for (let entry = this.#next[bucket] ?? 0; entry !== bucket;) {
      const following = this.#next[entry] ?? 0;
      if ((this.#dueTick[entry] ?? 0) <= tick) {
        this.#unlink(entry);
        this.#append(FIRING, entry);
      }
      entry = following;
    }
    for (let entry = this.#next[FIRING] ?? 0; entry !== FIRING; entry = this.#next[FIRING] ?? 0) {
      const key = this.#keys[entry] ?? 0;
      this.#release(entry);
      this.#onFire(key);
    }
  }

  /** The next tick whose bucket has entries, of any round, within one round and up to `maxTick`. */
  #nextFilledTick(maxTick: number): number | undefined {
    const lastTick = Math.min(maxTick, this.#tick + BUCKET_COUNT);
    for (let tick = this.#tick + 1; tick <= lastTick; tick++) {
      const bucket = tick % BUCKET_COUNT;
      if (this.#next[bucket] !== bucket) return tick;
    }
    return undefined;
  }

  #wakeAt(tick: number, nowMs: number): void {
    this.#timer?.cancel();
    this.#wakeTick = tick;
    const delayMs = Math.max(0, this.#startMsOf(tick) - nowMs);
    this.#timer = this.#clock.setTimer(delayMs, () => this.#onWake());
  }

  #sleep(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#wakeTick = Infinity;
  }

  #take(): number {
    let entry = this.#freeEntry;
    if (entry !== 0) this.#freeEntry = this.#next[entry] ?? 0;
    else {
      entry = this.#usedEntries++;
      assert(entry < HANDLE_BASE, "TW1 a wheel holds at most 2^26 timers");
      if (entry >= this.#next.length) this.#grow();
    }
    this.#uses[entry] = ((this.#uses[entry] ?? 0) + 1) % USES_MAX;
    return entry;
  }

  #release(entry: number): void {
    this.#unlink(entry);
    this.#uses[entry] = ((this.#uses[entry] ?? 0) + 1) % USES_MAX; // TW3: old handles miss
    this.#next[entry] = this.#freeEntry;
    this.#freeEntry = entry;
    this.#armedCount--;
  }

  #append(list: number, entry: number): void {
    const last = this.#previous[list] ?? 0;
    this.#next[last] = entry;
    this.#previous[entry] = last;
    this.#next[entry] = list;
    this.#previous[list] = entry;
  }

  #unlink(entry: number): void {
    const before = this.#previous[entry] ?? 0;
    const after = this.#next[entry] ?? 0;
    this.#next[before] = after;
    this.#previous[after] = before;
  }

  #grow(): void {
    const length = this.#next.length * 2;
    this.#next = grown(this.#next, new Int32Array(length));
    this.#previous = grown(this.#previous, new Int32Array(length));
    this.#dueTick = grown(this.#dueTick, new Float64Array(length));
    this.#keys = grown(this.#keys, new Float64Array(length));
    this.#uses = grown(this.#uses, new Int32Array(length));
  }
}

function grown<Column extends Int32Array | Float64Array>(from: Column, to: Column): Column {
  to.set(from);
  return to;
}
