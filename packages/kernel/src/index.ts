export { assert, assertNever, BugError } from "./assert.ts";
export { backoffDelayMs, type BackoffOptions } from "./backoff.ts";
export {
  createBatcher,
  ItemFailure,
  type Batcher,
  type BatcherFull,
  type BatcherOptions,
} from "./batcher.ts";
export { Bitset } from "./bitset.ts";
export type { Clock, Scheduler, Timer } from "./clock.ts";
export { Fault, type FaultOptions } from "./fault.ts";
export { createUuidV7 } from "./ids.ts";
export { createSeededRandom, type Random } from "./random.ts";
export { Ring } from "./ring.ts";
export { systemClock, systemRandom, systemScheduler } from "./system.ts";
export { TimerWheel, type TimerWheelOptions } from "./timer-wheel.ts";
export { TokenBucket, type TokenBucketOptions } from "./token-bucket.ts";
