// packages/contracts/src/control.ts
// What its sender does with a notification that is under way (A5): paused, resumed, cancelled.
import { z } from "zod";

export const CONTROL_STATES = ["running", "paused", "cancelled"] as const;
export type ControlState = (typeof CONTROL_STATES)[number];

/** As it is stored and as regions tell it to each other. Of two the newer stays; cancelled stays for ever. */
export const controlRecordSchema = z.object({
  notificationId: z.uuid(),
  state: z.enum(CONTROL_STATES),
  /** Grows with every change, whatever the clock of the region says that makes it. */
  changedAtMs: z.int(),
  changedIn: z.string(),
});
export type ControlRecord = z.infer<typeof controlRecordSchema>;

/** 202 of `POST /v1/notifications/:id/pause`, `/resume` and `/cancel`. */
export interface ControlAnswer {
  readonly id: string;
  readonly control: ControlState;
  readonly changedAt: string; // ISO 8601
}
