export { assert, assertNever, BugError } from "./assert.ts";
export { backoffDelayMs, type BackoffOptions } from "./backoff.ts";
export { Bitset } from "./bitset.ts";
export type { Clock, Timer } from "./clock.ts";
export { Fault, type FaultOptions } from "./fault.ts";
export { createUuidV7 } from "./ids.ts";
export { createSeededRandom, type Random } from "./random.ts";
export { systemClock, systemRandom } from "./system.ts";
