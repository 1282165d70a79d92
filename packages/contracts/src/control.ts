// packages/contracts/src/control.ts
// What its sender does with a notification that is under way (A5): paused, resumed, cancelled, recalled.
import { z } from "zod";

/** In order of rank: `recalled` is `cancelled` for whoever was not handed it, and more for who was. */
export const CONTROL_STATES = ["running", "paused", "cancelled", "recalled"] as const;
export type ControlState = (typeof CONTROL_STATES)[number];

/** Nobody is handed it any more. */
export function isStopped(state: ControlState): boolean {
  return state === "cancelled" || state === "recalled";
}

/**
 * As it is stored and as regions tell it to each other. Of two the newer stays; but cancelled is outranked by
 * recalled only, and recalled by nothing.
 */
export const controlRecordSchema = z.object({
  notificationId: z.uuid(),
  state: z.enum(CONTROL_STATES),
  /** Grows with every change, whatever the clock of the region says that makes it. */
  changedAtMs: z.int(),
  changedIn: z.string(),
});
export type ControlRecord = z.infer<typeof controlRecordSchema>;

/**
 * Of the withdrawal that stands for a recall (ADR 0032): of the same instant, the last 48 bits the other way round. Each
 * region names the same one, whoever recalls first.
 */
export function withdrawalIdOf(notificationId: string): string {
  const tail = Number.parseInt(notificationId.slice(-12), 16);
  return `${notificationId.slice(0, -12)}${(TAIL_MAX - tail).toString(16).padStart(12, "0")}`;
}
const TAIL_MAX = 0xff_ff_ff_ff_ff_ff;

/** 202 of `POST /v1/notifications/:id/pause`, `/resume`, `/cancel` and `/recall`. */
export interface ControlAnswer {
  readonly id: string;
  readonly control: ControlState;
  readonly changedAt: string; // ISO 8601
}
