// packages/testkit/src/fake-clock.ts
// Time that only the test moves. One driver per test (STYLE §7).
//   FC1  Timers fire in order of their due time, then of arming, each at exactly its due time.
//   FC2  Between two wake-ups everything runnable has run: microtasks and deferred work.
import type { Clock, Scheduler, Timer } from "@carillon/kernel";

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

const WALL_START_MS = Date.UTC(2026, 0, 5, 9, 0, 0); // a Monday morning
const SETTLE_ROUNDS_MAX = 1_000_000; // more is a loop that never comes to rest

export class FakeClock implements Clock, Scheduler {
  #nowMs = 0;
  #sleepers: Sleeper[] = []; // ascending by dueMs
  #deferredCount = 0;
  #wallOffsetMs = WALL_START_MS;

  monotonicMs = (): number => this.#nowMs;
  wallClockMs = (): number => this.#wallOffsetMs + this.#nowMs;

  setTimer = (delayMs: number, wake: () => void): Timer => {
    const sleeper: Sleeper = { dueMs: this.#nowMs + Math.max(0, delayMs), wake };
    this.#sleepers.splice(this.#placeOf(sleeper.dueMs), 0, sleeper);
    return {
      cancel: () => {
        const index = this.#sleepers.indexOf(sleeper);
        if (index >= 0) this.#sleepers.splice(index, 1);
      },
    };
  };

  sleep = (delayMs: number): Promise<void> =>
    new Promise((wake) => void this.setTimer(delayMs, wake));

  defer = (callback: () => void): void => {
    this.#deferredCount++;
    setImmediate(() => {
      this.#deferredCount--;
      callback();
    });
  };

  /** Timers that wait. */
  get timersCount(): number {
    return this.#sleepers.length;
  }

  /** Moves time by `ms`; all that becomes runnable meanwhile runs to its next wait (FC1, FC2). */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (await this.settle(); ; await this.settle()) {
      const next = this.#sleepers[0];
      if (next === undefined || next.dueMs > endMs) break;
      this.#sleepers.shift();
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.wake();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  /** Moves time at once and runs nothing: inside a handler, it is a handler that is so slow. */
  block(ms: number): void {
    this.#nowMs += ms;
  }

  /** The wall clock jumps, durations do not. */
  jumpWallClock(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Runs what is runnable now. Not for tests with real I/O: those wait for their event. */
  async settle(): Promise<void> {
    let roundsCount = 0;
    do {
      if (++roundsCount > SETTLE_ROUNDS_MAX) throw new Error("FC2 never comes to rest");
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#deferredCount > 0);
  }

  #placeOf(dueMs: number): number {
    let place = this.#sleepers.length;
    while (place > 0 && (this.#sleepers[place - 1]?.dueMs ?? 0) > dueMs) place--;
    return place;
  }
}
