// packages/kernel/src/clock.ts
// Time is passed in. Everything that waits or measures takes a Clock; only system.ts is real.

/** A cancelled timer never fires. Cancelling twice, or after firing, does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the epoch; may jump. For records and people, never for durations. */
  wallClockMs(): number;
  /** Milliseconds since an arbitrary start; never goes back. For durations and deadlines. */
  monotonicMs(): number;
  /** Runs `callback` once after at least `delayMs`. Does not keep the node alive by itself. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Resolves after at least `delayMs`; rejects never. */
  sleep(delayMs: number): Promise<void>;
}

/** Turns of the event loop, for work that must give the thread to I/O now and then. */
export interface Scheduler {
  /** Runs `callback` once, soon, after I/O that is ready now has been served. In order. */
  defer(callback: () => void): void;
}
