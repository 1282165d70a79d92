// packages/delivery/src/timer-decision.ts
// What becomes of a claimed timer, and when to look for the next: pure, no I/O, no clock.
//   DT3  A timer that fails is tried again, later each time, and buried after `failuresMax`; one that ends
//        its owners after `lostClaimsMax`. What is no fault of the timer counts for neither.
import { backoffDelayMs, type Random } from "@carillon/kernel";
import type { TimerLimits } from "./delivery-limits.ts";

export type AfterFiring =
  | { readonly change: "done" }
  | { readonly change: "retry"; readonly inMs: number }
  | { readonly change: "bury"; readonly reason: string };

/** Why it is not even fired; undefined: fire it. */
export function refusalOf(lostCount: number, limits: TimerLimits): string | undefined {
  if (lostCount < limits.lostClaimsMax) return undefined;
  return `its owner was gone before the end of it ${lostCount} times in a row`;
}

/**
 * `failure`: what the handler threw; undefined: its effects are committed. `failureCount`: before it.
 */
export function afterFiring(
  failure: string | undefined,
  failureCount: number,
  limits: TimerLimits,
  random: Random,
): AfterFiring {
  if (failure === undefined) return { change: "done" };
  const count = failureCount + 1;
  if (count >= limits.failuresMax) return { change: "bury", reason: failure };
  return { change: "retry", inMs: backoffDelayMs(limits.retry, count, random) };
}

/** Until the next look. */
export function lookDelayMs(
  claim: { readonly isMore: boolean; readonly nextInMs: number | null },
  limits: TimerLimits,
): number {
  if (claim.isMore) return 0;
  const nextInMs = Math.ceil(claim.nextInMs ?? Infinity);
  return Math.min(limits.lookMaxMs, Math.max(limits.lookMinMs, nextInMs));
}
