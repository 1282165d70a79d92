// packages/contracts/src/plan.ts
// The plan of a notification (A3): how many it comes to now, before anything is sent. What is asked over
// HTTP, and what regions and owners are asked for it.
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { notificationPlanSchema, PRIORITIES, regionAudienceSchema } from "./notification.ts";

/** Body of `POST /v1/notifications/plan`: a notification's, whose content may be left out. */
export const planRequestSchema = notificationPlanSchema;

/** How many there are of one locale, as it is stored; null: of none. */
export interface LocaleCount {
  readonly locale: string | null;
  readonly targeted: number;
}

/**
 * `counted`: exact, by the owners of all partitions concerned. `partial`: some did not answer in time, and
 * the number is of the others. `withheld`: the tenant may not be served where that home is now.
 */
export const PLAN_STATES = ["counted", "partial", "unreachable", "withheld"] as const;

export interface RegionPlan {
  readonly region: string;
  readonly state: (typeof PLAN_STATES)[number];
  readonly targeted: number;
  /** Of those without any device; null: not known, since no device is registered anywhere yet. */
  readonly noDevice: number | null;
  /**
   * Of those who do not want the category on any channel that there is, and who would be held back; null:
   * not known, since an owner of an older build did not say.
   */
  readonly optedOut: number | null;
  readonly locales: readonly LocaleCount[];
}

/** 200 of a plan, and of a notification with `dryRun`. */
export interface NotificationPlan {
  /** Every region has counted: the number is exact. */
  readonly isComplete: boolean;
  readonly targeted: number;
  readonly noDevice: number | null;
  readonly optedOut: number | null;
  readonly locales: readonly LocaleCount[];
  readonly regions: readonly RegionPlan[]; // those that it would be sent to
  /** Explicit recipients known in no region that answered; absent for other audiences. */
  readonly unknownCount?: number;
  /** With a `throttle`: so long it takes to hand it to all of them, at least. */
  readonly durationSeconds?: number;
}

// --- region → region, ingest → owner -----------------------------------------------------------

const audienceShape = {
  tenantId: z.string(),
  audience: regionAudienceSchema,
  exclude: z.array(z.string()), // recipients
  /** What opting out depends on. Absent: of an older build, or no category. */
  priority: z.enum(PRIORITIES).optional(),
  category: z.string().optional(),
};
const countShape = {
  targeted: z.int().nonnegative(),
  locales: z.array(z.tuple([z.string().nullable(), z.int().nonnegative()])),
  optedOut: z.int().nonnegative().optional(), // absent: an older build
};

export const regionPlanRequestSchema = z.object(audienceShape);
export type RegionPlanRequest = z.infer<typeof regionPlanRequestSchema>;

export const regionPlanReplySchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("counted"),
    ...countShape,
    /** Partitions whose owner did not answer in time. */
    missingCount: z.int().nonnegative(),
  }),
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type RegionPlanReply = z.infer<typeof regionPlanReplySchema>;

const partitionNumber = z
  .int()
  .min(0)
  .max(LIMITS.partitionCount - 1);

export const ownerPlanRequestSchema = z.object({
  home: z.string(),
  ...audienceShape,
  /** [partition, directoryVersion]: the directory must be as new as that (ADR 0005). */
  partitions: z.array(z.tuple([partitionNumber, z.int().nonnegative()])),
  /** [changedAtMs, changedIn]: the tenant's policy must be as new as that (ADR 0024). Absent: it has none. */
  policyVersion: z.tuple([z.int(), z.string()]).optional(),
});
export type OwnerPlanRequest = z.infer<typeof ownerPlanRequestSchema>;

export const ownerPlanReplySchema = z.object({
  /** Those that were counted; the others are not served there, or their directory is behind. */
  partitions: z.array(partitionNumber),
  ...countShape,
});
export type OwnerPlanReply = z.infer<typeof ownerPlanReplySchema>;
