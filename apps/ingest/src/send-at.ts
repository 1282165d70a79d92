// apps/ingest/src/send-at.ts
// When a notification is sent (A2): at once, at an instant, or at a wall time of each recipient.
//   IN74 A wall time is waited for until it comes in the first zone of the world, and the life is counted from when
//        it has come in the last. A time that has passed means at once, since a repeat may come after it.
import { LIMITS, type NotificationRequest, readTimeText } from "@carillon/contracts";
import { invalidField, type ProblemAnswer } from "./answer.ts";

export interface SendTimes {
  /** Nobody has it before; undefined: at once. */
  readonly sendAtMs: number | undefined;
  /** The recipients' wall time, as if it were UTC; undefined: the same instant for all. */
  readonly sendAtLocalMs: number | undefined;
  readonly expiresAtMs: number;
}

const HOUR_MS = 3_600_000;
/** Zones are 12 hours behind UTC at most, and 14 before it. */
const FIRST_ZONE_MS = 14 * HOUR_MS;
const LAST_ZONE_MS = 12 * HOUR_MS;

type Request = Pick<NotificationRequest, "sendAt" | "recipientTime" | "ttlSeconds">;

/** `sendAt` has been checked by its schema. */
export function sendTimesOf(request: Request, nowMs: number): SendTimes {
  const { sendAt, recipientTime = false, ttlSeconds } = request;
  const at = sendAt === undefined ? "none" : readTimeText(sendAt);
  const atMs = typeof at === "string" ? nowMs : at.atMs;
  const firstMs = recipientTime ? atMs - FIRST_ZONE_MS : atMs;
  const lastMs = recipientTime ? atMs + LAST_ZONE_MS : atMs;
  return {
    sendAtMs: firstMs > nowMs ? firstMs : undefined,
    sendAtLocalMs: recipientTime && lastMs > nowMs ? atMs : undefined,
    expiresAtMs: Math.max(nowMs, lastMs) + ttlSeconds * 1_000,
  };
}

/** Undefined: near enough. A request that is repeated later is nearer. */
export function sendAtProblemOf(request: Request, nowMs: number): ProblemAnswer | undefined {
  const { sendAtMs = nowMs } = sendTimesOf(request, nowMs);
  if (sendAtMs - nowMs <= LIMITS.sendAtMaxSeconds * 1_000) return undefined;
  return invalidField("sendAt", `must be at most ${LIMITS.sendAtMaxSeconds / 86_400} days ahead`);
}
