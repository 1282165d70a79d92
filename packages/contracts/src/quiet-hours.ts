// packages/contracts/src/quiet-hours.ts
// When somebody is left alone: windows of wall time per weekday (A6, A11). What they mean where clocks
// are put forward or back: packages/delivery's README.
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { timeZoneSchema } from "./recipient.ts";

/** In the order of `Date.getUTCDay`. */
export const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;
export type Weekday = (typeof WEEKDAYS)[number];

const clockTimeSchema = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time of day such as 22:00");

/** On the day it begins; one whose end is not after its beginning ends on the day after. */
export const quietWindowSchema = z.strictObject({ from: clockTimeSchema, until: clockTimeSchema });
export type QuietWindow = z.infer<typeof quietWindowSchema>;

const windowsSchema = z.array(quietWindowSchema).max(LIMITS.quietWindowsPerDayMax);

/** Windows that begin on each weekday; a day that is absent has none. */
export const quietDaysSchema = z.strictObject({
  mon: windowsSchema.optional(),
  tue: windowsSchema.optional(),
  wed: windowsSchema.optional(),
  thu: windowsSchema.optional(),
  fri: windowsSchema.optional(),
  sat: windowsSchema.optional(),
  sun: windowsSchema.optional(),
});
export type QuietDays = z.infer<typeof quietDaysSchema>;

/** A recipient's own. Without days: none, also where the tenant's policy has some. */
export const quietHoursSchema = z.strictObject({
  timeZone: timeZoneSchema.optional(), // absent: the recipient's
  days: quietDaysSchema,
});
export type QuietHours = z.infer<typeof quietHoursSchema>;
