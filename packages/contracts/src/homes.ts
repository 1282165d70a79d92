// packages/contracts/src/homes.ts
// Who hosts a home region, and the steps of a declared failover (spec C24, ADR 0015). What travels over
// NATS between nodes, and over the admin API between operators and nodes: ids and positions, no data.
import { z } from "zod";
import { regionSchema, tenantIdSchema } from "./places.ts";

/** `place` is where a node runs, `home` whose database and partitions it serves. */
export const homeSubjects = {
  /** Steps for the nodes of a home at one place. Queue group `homes`: HomeRequest → HomeReply. */
  homeAt: (home: string, place: string) => `home.${home}.at.${place}`,
  /** What the nodes at a place have heard of all homes. Queue group `homes`: → HomesKnown. */
  homesKnown: (place: string) => `place.${place}.homes`,
} as const;
export const HOMES_QUEUE = "homes";

/** Ownership epochs are homeEpoch × 2^32 and more (HM4): with a higher one they were no safe integers. */
export const HOME_EPOCH_MAX = 2 ** 21 - 1;

/** Who hosts a home since which epoch. */
export const homeClaimSchema = z.object({
  epoch: z.int().min(1).max(HOME_EPOCH_MAX),
  host: regionSchema,
});
export type HomeClaim = z.infer<typeof homeClaimSchema>;
/** By home. A claim that nobody can have made is read as null: whatever else the message says counts. */
export const homeClaimsSchema = z.record(z.string(), homeClaimSchema.nullable().catch(null));
export type HeardClaims = z.infer<typeof homeClaimsSchema>;

export const homesKnownSchema = z.object({ homes: homeClaimsSchema });

/**
 * Which of two claims holds: the higher epoch. Two failovers declared at once get the same epoch; then
 * the host whose name sorts first has it, everywhere.
 */
export function isNewerClaim(claim: HomeClaim, than: HomeClaim): boolean {
  if (claim.epoch !== than.epoch) return claim.epoch > than.epoch;
  return claim.host < than.host;
}

/**
 * What a node does for its home. `standby`: its database is a copy. `draining`: a planned failover
 * began. `fenced`: another region has it. `undeclared`: the copy was promoted, and nobody said yet that
 * it serves. Only `serving` serves.
 */
export const HOME_STANDINGS = ["serving", "standby", "draining", "fenced", "undeclared"] as const;
export type HomeStanding = (typeof HOME_STANDINGS)[number];

export const homeLookSchema = z.object({
  kind: z.literal("look"),
  home: z.string(),
  place: z.string(),
  memberId: z.string(),
  standing: z.enum(HOME_STANDINGS),
  isInRecovery: z.boolean(),
  /** Of the row in this database; a copy's is its primary's. Null: it was never served. */
  claim: homeClaimSchema.nullable(),
  state: z.enum(["serving", "draining", "fenced"]).nullable(),
  movingTo: z.string().nullable(),
  fenceLsn: z.string().nullable(),
  supersededBy: homeClaimSchema.nullable(),
  /** Of a copy; null: it is none. */
  replica: z
    .object({
      isStreaming: z.boolean(),
      receivedLsn: z.string().nullable(),
      replayedLsn: z.string().nullable(),
      replayedAt: z.string().nullable(), // commit time of the last transaction replayed, ISO 8601
      /** Null: not known, since nothing streams or nothing was replayed. */
      lagMs: z.number().nullable(),
      /** Since the copy's receiver was sent anything; null: not known. Absent: an older build. */
      silentMs: z.number().nullable().optional(),
      /** What the database's user may do there. Absent: an older build. */
      rights: z
        .object({
          user: z.string(), // as it stands in a grant
          mayPromote: z.boolean(),
          maySeeStreaming: z.boolean(),
        })
        .optional(),
    })
    .nullable(),
  /** How this epoch began; null: by no failover. */
  since: z
    .object({
      isPlanned: z.boolean(),
      replayedLsn: z.string().nullable(),
      replayedAt: z.string().nullable(),
      snapshot: z.string().nullable(),
    })
    .nullable(),
  /** Partitions with a lease that runs. */
  leasedCount: z.number(),
  /** Tenants whose residency keeps them from being served here. */
  withheldTenants: z.array(z.string()),
});
export type HomeLook = z.infer<typeof homeLookSchema>;

const REPORT_TABLES = [
  "notification",
  "people", // of a notification in a partition, over all that holds them: ledger rows, and what waits
  "recipient",
  "outbox",
  "tenant",
  "api_key",
  "recipient_home", // where recipients of other homes live
  "recipient_group", // what groups are
  "timer",
  "tenant_policy",
  "template", // each version
  "notification_control",
  "notification_rate",
] as const;
export type ReportTable = (typeof REPORT_TABLES)[number];

/** A row by its key, with what it holds as a digest; never with what it holds. */
export const reportRowSchema = z.object({
  key: z.array(z.string()),
  digest: z.string(),
  /** Facts for the report: ids, regions, counts. */
  about: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});
export type ReportRow = z.infer<typeof reportRowSchema>;

/** Of one report: digests of the same row in two reports have nothing in common. Absent: no salt. */
const reportSaltSchema = z
  .string()
  .regex(/^[0-9a-f]{32}$/, "must be 32 hexadecimal digits")
  .optional();

export const homeRequestSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("look") }),
  /** Planned, 1: every node of the home stops serving in good order. Repeats change nothing. */
  z.object({ kind: z.literal("drain"), to: regionSchema }),
  /** Planned, 2: no write any more, from nobody; answers with `fenceLsn`. Repeats change nothing. */
  z.object({ kind: z.literal("fence"), to: regionSchema }),
  /** Promotes the copy and declares its epoch. Repeats change nothing. */
  z.object({
    kind: z.literal("take"),
    /** The fence that the copy must have; null: unplanned. */
    fenceLsn: z
      .string()
      .regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/, "must be a position such as 0/3000060")
      .nullable(),
  }),
  /** A planned failover that was not finished is taken back: this place serves on. */
  z.object({ kind: z.literal("resume") }),
  z.object({
    kind: z.literal("residency"),
    tenantId: tenantIdSchema,
    failoverTo: z.array(regionSchema).max(64),
  }),
  /** Rows that the snapshot did not see, by key, from `after` on; on a fenced database only. */
  z.object({
    kind: z.literal("report"),
    table: z.enum(REPORT_TABLES),
    snapshot: z
      .string()
      .regex(/^\d+:\d+:[\d,]*$/, "must be a pg_snapshot")
      .nullable(),
    after: z.array(z.string().max(600)).max(4).nullable(),
    limit: z.number().int().min(1).max(1_000),
    salt: reportSaltSchema,
  }),
  /** Which of these rows are missing or different in this database? */
  z.object({
    kind: z.literal("compare"),
    table: z.enum(REPORT_TABLES),
    rows: z.array(reportRowSchema).max(1_000),
    salt: reportSaltSchema,
  }),
]);
export type HomeRequest = z.infer<typeof homeRequestSchema>;

export const HOME_REFUSALS = [
  "not_standby", // there is nothing to promote
  "not_fenced", // the fence is not complete, or has not arrived here
  "not_host", // only where the home is served
  "not_streaming",
  "busy", // a failover to another region is under way
  "superseded", // another region has a higher epoch
  "store_unavailable",
  "promotion_failed",
  "not_found",
  "internal",
] as const;
export type HomeRefusal = (typeof HOME_REFUSALS)[number];

export const homeReplySchema = z.discriminatedUnion("kind", [
  homeLookSchema,
  z.object({
    kind: z.literal("report"),
    rows: z.array(reportRowSchema),
    isLast: z.boolean(),
    /** Absent, here and below: an older build, which does not know of salt. */
    isSalted: z.boolean().optional(),
  }),
  /** Positions in the rows asked for. */
  z.object({
    kind: z.literal("compared"),
    missing: z.array(z.number()),
    different: z.array(z.number()),
    /** Of `people`: how many of each of `different` are in nothing here. */
    lacking: z.array(z.number()).optional(),
    isSalted: z.boolean().optional(),
  }),
  z.object({ kind: z.literal("done"), isChanged: z.boolean() }),
  z.object({ kind: z.literal("refused"), code: z.enum(HOME_REFUSALS), detail: z.string() }),
]);
export type HomeReply = z.infer<typeof homeReplySchema>;

/** Body of POST /v1/admin/homes/:home/steps: one step at one place. */
export const homeStepSchema = z.strictObject({ place: regionSchema, request: homeRequestSchema });

/** 200 of GET /v1/admin/homes. */
export interface AdminHomes {
  readonly homes: readonly AdminHome[];
}
export interface AdminHome {
  readonly home: string;
  /** The highest that anybody told; null: nobody told any. */
  readonly claim: HomeClaim | null;
  /** By place; places where no node of the home answers are left out. */
  readonly places: readonly HomeLook[];
}
