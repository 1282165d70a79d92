// packages/contracts/src/policy.ts
// A tenant's policy (A11): quiet hours, holidays, frequency cap, what nobody may opt out of. The same in
// every region (ADR 0024): a register with a version of its own, so that regions may be told in any order.
import { z } from "zod";
import { attributeKeySchema } from "./audience.ts";
import { LIMITS } from "./limits.ts";
import { categoryIdSchema } from "./places.ts";
import { quietDaysSchema } from "./quiet-hours.ts";
import { timeZoneSchema } from "./recipient.ts";
import { textSchema } from "./text.ts";
import { readTimeText } from "./time-text.ts";

/** ISO 3166-1, or a part of a country (ISO 3166-2) whose holidays are others: DE, DE-BY. */
export const countrySchema = z
  .string()
  .regex(/^[A-Z]{2}(-[A-Z0-9]{1,3})?$/, "must be a country such as DE, or a part of one: DE-BY");

const dateSchema = z.string().refine((text) => isDate(text), {
  message: "must be a date that exists, such as 2027-01-01",
});

/** Quiet from its first to its last moment, by the recipient's clock. */
export const holidaySchema = z.strictObject({
  date: dateSchema,
  name: textSchema(LIMITS.groupNameMaxCharacters).min(1),
});

/** For those who have none of their own. */
const defaultHoursSchema = z.strictObject({
  days: quietDaysSchema,
  fallbackTimeZone: timeZoneSchema.optional(), // of recipients without one; absent: the policy's
});
export type DefaultHours = z.infer<typeof defaultHoursSchema>;

function byCountry<Value extends z.ZodType>(value: Value) {
  return z
    .record(countrySchema, value)
    .refine((countries) => Object.keys(countries).length <= LIMITS.policyCountriesMax, {
      message: `must hold at most ${LIMITS.policyCountriesMax} countries`,
    });
}

/** Critical is never capped. Priorities that are not capped use nothing up either. */
export const CAPPED_PRIORITIES = ["low", "normal", "high"] as const;

const frequencyCapSchema = z.strictObject({
  maxCount: z.int().min(1).max(LIMITS.frequencyCapCountMax),
  perSeconds: z.int().min(60).max(LIMITS.frequencyCapWindowMaxSeconds),
  priorities: z
    .array(z.enum(CAPPED_PRIORITIES))
    .min(1)
    .default([...CAPPED_PRIORITIES]),
});
export type FrequencyCap = z.infer<typeof frequencyCapSchema>;

/** Body of `PUT /v1/policy`: replaces. `{}`: no policy. */
export const policyRequestSchema = z
  .strictObject({
    /** The recipient's attribute that holds the country. */
    countryAttribute: attributeKeySchema.default("country"),
    /** Of recipients without one: their quiet hours, holidays, and `recipientTime`. Absent: UTC. */
    timeZone: timeZoneSchema.optional(),
    quietHours: z
      .strictObject({
        forAll: defaultHoursSchema.optional(),
        /** Instead of `forAll`, for who is there. */
        byCountry: byCountry(defaultHoursSchema).optional(),
        /** False: a recipient's own quiet hours are added, and take nothing away. */
        mayBeReplaced: z.boolean().default(true),
      })
      .optional(),
    holidays: byCountry(z.array(holidaySchema).max(LIMITS.holidaysPerCountryMax)).optional(),
    frequencyCap: frequencyCapSchema.optional(),
    /** Nobody has opted out of them, and no cap holds them back; quiet hours defer them. */
    mandatoryCategories: z.array(categoryIdSchema).max(LIMITS.mandatoryCategoriesMax).default([]),
  })
  .refine(
    (policy) => new TextEncoder().encode(JSON.stringify(policy)).length <= LIMITS.policyMaxBytes,
    { message: `must be at most ${LIMITS.policyMaxBytes} bytes as JSON` },
  );
export type Policy = z.infer<typeof policyRequestSchema>;

/** 200 of `GET` and `PUT /v1/policy`. */
export interface PolicyResource {
  readonly policy: Policy;
  readonly updatedAt: string | null; // ISO 8601; null: never set
}

/**
 * As it is stored and as regions tell it to each other: `policy` whatever a newer build may have put
 * there, read by `storedPolicyOf`.
 */
export const policyRecordSchema = z.object({
  policy: z.record(z.string(), z.unknown()),
  /** Grows with every change, whatever the clock of the region says that makes it. */
  changedAtMs: z.int(),
  changedIn: z.string(),
});
export type PolicyRecord = z.infer<typeof policyRecordSchema>;

/** Which of two records of one tenant stays, everywhere. */
export function isNewerPolicy(record: PolicyRecord, than: PolicyRecord): boolean {
  if (record.changedAtMs !== than.changedAtMs) return record.changedAtMs > than.changedAtMs;
  return record.changedIn > than.changedIn;
}

/**
 * A policy that was accepted, perhaps by another build. Fields that this build does not know are left
 * out; a part that it cannot read is as if it were absent: the rest holds.
 */
export function storedPolicyOf(stored: Readonly<Record<string, unknown>>): Policy {
  const policy: Record<string, unknown> = {};
  for (const key of POLICY_PARTS) {
    const part = { [key]: stored[key] };
    if (stored[key] !== undefined && policyRequestSchema.safeParse(part).success)
      policy[key] = stored[key];
  }
  return policyRequestSchema.parse(policy);
}

/** Whose clock is meant for a recipient without a zone of his own. */
export function defaultZoneOf({ timeZone }: Pick<Policy, "timeZone">): string {
  return timeZone ?? "UTC";
}

const POLICY_PARTS = [
  "countryAttribute",
  "timeZone",
  "quietHours",
  "holidays",
  "frequencyCap",
  "mandatoryCategories",
] as const satisfies readonly (keyof Policy)[];

function isDate(text: string): boolean {
  const time = readTimeText(text);
  return typeof time === "object" && time.form === "date";
}
