// packages/delivery/src/timer-decision.ts
// What becomes of a claimed timer, and when to look for the next: pure, no I/O, no clock.
//   DT3  A timer that fails is tried again, later each time, and buried in the end: one that keeps
//        failing after `attemptsMax`, and one that nobody lived to tell about after `lostAttemptsMax`.
import { backoffDelayMs, type Random } from "@carillon/kernel";
import type { TimerLimits } from "./delivery-limits.ts";

export type AfterFiring =
  | { readonly change: "done" }
  | { readonly change: "retry"; readonly inMs: number }
  | { readonly change: "bury"; readonly reason: string };

/**
 * Why it is not even fired; undefined: fire it. Claims whose answer was lost count as well, so this
 * limit is far above `attemptsMax`.
 */
export function refusalOf(attemptCount: number, limits: TimerLimits): string | undefined {
  if (attemptCount <= limits.lostAttemptsMax) return undefined;
  return `claimed ${attemptCount - 1} times, and nobody told the end of it`;
}

/** `failure`: what the handler threw; undefined: its effects are committed. */
export function afterFiring(
  failure: string | undefined,
  attemptCount: number,
  limits: TimerLimits,
  random: Random,
): AfterFiring {
  if (failure === undefined) return { change: "done" };
  if (attemptCount >= limits.attemptsMax) return { change: "bury", reason: failure };
  return { change: "retry", inMs: backoffDelayMs(limits.retry, attemptCount, random) };
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
