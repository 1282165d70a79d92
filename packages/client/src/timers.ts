// packages/client/src/timers.ts
// Time and chance of the client. This package runs in browsers and imports contracts only, so the
// real ones are here, and are passed in everywhere else.
//   CN1  A cancelled timer never fires.

export interface Timers {
  /** Runs `callback` once after at least `delayMs`; the result cancels it. */
  after(delayMs: number, callback: () => void): () => void;
  /** Milliseconds since an arbitrary start; never goes back. */
  nowMs(): number;
}

/** One timer of the platform each: right for a page with one inbox. */
export const systemTimers: Timers = {
  after(delayMs, callback) {
    const handle = globalThis.setTimeout(callback, delayMs);
    return () => globalThis.clearTimeout(handle);
  },
  nowMs: () => globalThis.performance.now(),
};

/** Uniform in [0, 1); spreads reconnects, keeps no secret. */
export function systemRandom(): number {
  const [word = 0] = crypto.getRandomValues(new Uint32Array(1));
  return word / 2 ** 32;
}

/**
 * Timers for many inboxes in one process: all that is due within one tick fires together, on one
 * timer of the platform. Late by up to `tickMs`.
 */
export function createSharedTimers(tickMs = 25, platform: Timers = systemTimers): Timers {
  const ticks = new Map<number, Set<() => void>>();
  const fire = (tick: number): void => {
    const due = ticks.get(tick);
    ticks.delete(tick);
    for (const callback of due ?? []) callback();
  };
  return {
    nowMs: () => platform.nowMs(),
    after(delayMs, callback) {
      const tick = Math.ceil((platform.nowMs() + delayMs) / tickMs);
      let due = ticks.get(tick);
      if (due === undefined) {
        due = new Set();
        ticks.set(tick, due);
        platform.after(Math.max(0, tick * tickMs - platform.nowMs()), () => fire(tick));
      }
      const once = (): void => callback();
      due.add(once);
      return () => void due.delete(once);
    },
  };
}
