// packages/contracts/src/rate.ts
// How fast a notification is handed out (A2 `throttle`, A5 `rate`): of all its recipients in all regions
// together (ADR 0033).
import { z } from "zod";
import { LIMITS } from "./limits.ts";

const ratePerMinuteSchema = z.int().min(1).max(LIMITS.ratePerMinuteMax);

/** Of `POST /v1/notifications`. */
export const throttleSchema = z.strictObject({ ratePerMinute: ratePerMinuteSchema });

/** Body of `POST /v1/notifications/:id/rate`; null: as fast as it goes. */
export const rateRequestSchema = z.strictObject({ ratePerMinute: ratePerMinuteSchema.nullable() });

/** As it travels with a notification. An older build ignores it, and hands it as fast as it goes. */
export const rateSchema = z.object({
  ratePerMinute: z.number().positive(),
  /** How many it comes to in all regions: each owner has the share of the rate that it has of them. */
  targetedCount: z.number().positive(),
});
export type Rate = z.infer<typeof rateSchema>;

/** As it is stored and as regions tell it to each other. Of two the newer stays. */
export const rateRecordSchema = z.object({
  notificationId: z.uuid(),
  ratePerMinute: z.int().positive().nullable(),
  targetedCount: z.int().positive(),
  /** Grows with every change, whatever the clock of the region says that makes it. */
  changedAtMs: z.int(),
  changedIn: z.string(),
});
export type RateRecord = z.infer<typeof rateRecordSchema>;

/** 202 of `POST /v1/notifications/:id/rate`. */
export interface RateAnswer {
  readonly id: string;
  readonly ratePerMinute: number | null;
  readonly changedAt: string; // ISO 8601
}

/** So long it takes to hand it to everybody, at least. */
export function durationSecondsOf(rate: Rate): number {
  return Math.ceil((rate.targetedCount * 60) / rate.ratePerMinute);
}
