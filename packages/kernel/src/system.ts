// packages/kernel/src/system.ts
// The real clock and the real randomness: the only place that may touch them (STYLE §7).
import { randomBytes, randomInt } from "node:crypto";
import { performance } from "node:perf_hooks"; // the global one is a getter: 75 against 48 ns a look
import type { Clock, Scheduler } from "./clock.ts";
import type { Random } from "./random.ts";

export const systemClock: Clock = {
  wallClockMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  sleep: (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs)),
};

export const systemScheduler: Scheduler = { defer: (callback) => void setImmediate(callback) };

const RANDOM_STEPS = 2 ** 47; // randomInt takes a range below 2^48

export const systemRandom: Random = {
  next: () => randomInt(RANDOM_STEPS) / RANDOM_STEPS,
  bytes: (count) => randomBytes(count),
};
