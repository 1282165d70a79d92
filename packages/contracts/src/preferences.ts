// packages/contracts/src/preferences.ts
// What a recipient wants to get, and when (A6). Stored at home only (D8), with the recipient's row.
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { categoryIdSchema } from "./places.ts";
import { quietHoursSchema } from "./quiet-hours.ts";

/** Ways of delivery. `webpush`, `fcm` and `apns` may be chosen already; nothing is sent there yet. */
export const CHANNELS = ["socket", "webpush", "fcm", "apns"] as const;
export type Channel = (typeof CHANNELS)[number];

/** False: opted out. A channel that is absent is wanted. */
const channelChoicesSchema = z.strictObject({
  socket: z.boolean().optional(),
  webpush: z.boolean().optional(),
  fcm: z.boolean().optional(),
  apns: z.boolean().optional(),
});

/** Body of `PUT /v1/recipients/:id/preferences`: replaces what was stored. */
export const preferencesRequestSchema = z.strictObject({
  categories: z
    .record(categoryIdSchema, channelChoicesSchema)
    .refine((categories) => Object.keys(categories).length <= LIMITS.preferenceCategoriesMax, {
      message: `must hold at most ${LIMITS.preferenceCategoriesMax} categories`,
    })
    .default({}),
  quietHours: quietHoursSchema.optional(),
});
export type Preferences = z.infer<typeof preferencesRequestSchema>;

/** Preferences that were accepted, perhaps by another build, as they travel: not looked at again. */
export const storedPreferencesSchema = z.custom<Preferences>(
  (value) => typeof value === "object" && value !== null && "categories" in value,
);

/** 200 of `GET` and `PUT /v1/recipients/:id/preferences`. */
export interface PreferencesResource extends Preferences {
  readonly recipientId: string;
}

/** Whether they say nothing: then none are stored. */
export function isWithoutPreferences({ categories, quietHours }: Preferences): boolean {
  return Object.keys(categories).length === 0 && quietHours === undefined;
}
