// packages/contracts/src/messages.ts
// NATS subjects and what travels on them. Wire types grow by adding only; a reader ignores what it
// does not know (STYLE §5): hence z.object, which strips, and never z.strictObject.
import { z } from "zod";
import { attributesSchema } from "./audience.ts";
import { CONTROL_STATES, controlRecordSchema } from "./control.ts";
import { groupRecordSchema } from "./group.ts";
import { HOME_STANDINGS, homeClaimsSchema } from "./homes.ts";
import { LIMITS } from "./limits.ts";
import { memberIdSchema } from "./places.ts";
import { policyRecordSchema } from "./policy.ts";
import { storedPreferencesSchema } from "./preferences.ts";
import {
  countsSchema,
  notificationSchema,
  PRIORITIES,
  regionAudienceSchema,
} from "./notification.ts";
import { rateRecordSchema } from "./rate.ts";
import { templateRecordSchema } from "./template.ts";

/** The second token of every subject is the region, or the home, that it belongs to. */
export const subjects = {
  /** Relay: notifications for a target region. Queue group `ingest`; request → RelayReply. */
  regionNotify: (region: string) => `region.${region}.notify`,
  /** Relay: which ids live in the sending region. Queue group `ingest`; request → RelayReply. */
  regionHomes: (region: string) => `region.${region}.homes`,
  /** Which of these ids live in your region? Queue group `ingest`. */
  regionLocate: (region: string) => `region.${region}.locate`,
  /** Settles homes of new ids, in the region that is their arbiter. Queue group `ingest`. */
  regionClaim: (region: string) => `region.${region}.claim`,
  /** Directory changes for recipients whose home is that region. Queue group `ingest`. */
  regionDirectory: (region: string) => `region.${region}.directory`,
  /** Members of a group whose home is that region. Queue group `ingest`. */
  regionMembers: (region: string) => `region.${region}.members`,
  regionPreferences: (region: string) => `region.${region}.preferences`,
  /** What do you know of these groups? Queue group `ingest`. */
  regionGroups: (region: string) => `region.${region}.groups`,
  /** What do you know of this template? Queue group `ingest`. */
  regionTemplates: (region: string) => `region.${region}.templates`,
  /** Reads one recipient in its home region. Queue group `ingest`. */
  regionRecipient: (region: string) => `region.${region}.recipient`,
  /** How many an audience comes to in that region. Queue group `ingest`. */
  regionPlan: (region: string) => `region.${region}.plan`,
  /** Counts of one notification in that region. Queue group `ingest`. */
  regionStatus: (region: string) => `region.${region}.status`,
  /** What became of one recipient's notification, in its home region. Queue group `ingest`. */
  regionExplain: (region: string) => `region.${region}.explain`,
  /** Which of these notifications has somebody of that region acknowledged? From workers. Queue group `ingest`. */
  regionAcked: (region: string) => `region.${region}.acked`,
  /** A page of the recipients of that region who are in a state. Queue group `ingest`. */
  regionRecipients: (region: string) => `region.${region}.recipients`,
  /** A page of one recipient's inbox, from its home region. Queue group `ingest`. */
  regionInbox: (region: string) => `region.${region}.inbox`,
  /** Heartbeat of a member, heard in every region: every third one, and each that tells a change. */
  beat: (region: string, memberId: string) => `beat.${region}.${memberId}`,
  beats: "beat.*.*",
  /** The heartbeats between, heard in the member's own region only. Same message. */
  nearBeat: (region: string, memberId: string) => `beat-near.${region}.${memberId}`,
  nearBeats: (region: string) => `beat-near.${region}.*`,
  /** New ledger entries and directory changes for partitions that this worker owns. */
  memberPoke: (memberId: string) => ofMember(memberId, "poke"),
  /** How many an audience comes to in partitions that this worker owns: OwnerPlanRequest → OwnerPlanReply. */
  memberPlan: (memberId: string) => ofMember(memberId, "plan"),
  /** Notifications for sessions of this gateway. */
  memberDeliver: (memberId: string) => ofMember(memberId, "deliver"),
  /** What runs in a node, for operators: AdminRequest → AdminReply. */
  memberAdmin: (memberId: string) => ofMember(memberId, "admin"),
  /** For recipients whose partitions this worker owns: RoutedMessage → RouteReply (calls only). */
  memberRoute: (memberId: string) => ofMember(memberId, "route"),
  /** Sessions of one partition, to its owner: open (request), report (publish; request: receipts). */
  partitionSessions: (home: string, partition: number | "*") => `home.${home}.part.${partition}`,
} as const;
export const INGEST_QUEUE = "ingest";

/** A member's id begins with its region and a dash: permissions of NATS name the region. */
function ofMember(memberId: string, what: string): string {
  const [region] = memberId.split("-", 1);
  return `member.${region}.${memberId}.${what}`;
}

// --- relay between regions -------------------------------------------------------------------

export const relayBatchSchema = z.object({
  from: z.string(),
  items: z.array(z.object({ notification: notificationSchema, audience: regionAudienceSchema })),
});
export type RelayBatch = z.infer<typeof relayBatchSchema>;
export type RelayItem = RelayBatch["items"][number];

export const homesBatchSchema = z.object({
  from: z.string(), // the home region of all of them
  tenants: z.array(
    z.object({
      tenantId: z.string(),
      recipientIds: z.array(z.string()),
      /** Definitions that were changed in the sending region. Absent: an older build, or none. */
      groups: z.array(groupRecordSchema).optional(),
      /** The tenant's policy, when it was changed there (ADR 0024). */
      policy: policyRecordSchema.optional(),
      /** What was done with its notifications there (ADR 0029). */
      controls: z.array(controlRecordSchema).optional(),
      /** At what rates they are handed, as it was said there (ADR 0033). */
      rates: z.array(rateRecordSchema).optional(),
      /** Versions that were made in the sending region. Absent: an older build, or none. */
      templates: z.array(templateRecordSchema).optional(),
    }),
  ),
});
export type HomesBatch = z.infer<typeof homesBatchSchema>;

/**
 * `committed`: rows are durable in the target region, or were there already. `partly`: all but those
 * at `withheld`, whose tenants may not be served where the home is hosted now; they are kept.
 */
export const relayReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("committed") }),
  z.object({ kind: z.literal("partly"), withheld: z.array(z.number()) }),
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type RelayReply = z.infer<typeof relayReplySchema>;

export const locateRequestSchema = z.object({
  tenantId: z.string(),
  recipientIds: z.array(z.string()),
});
export const locateReplySchema = z.object({ recipientIds: z.array(z.string()) }); // those at home
export type LocateReply = z.infer<typeof locateReplySchema>;

const homeTuple = z.tuple([z.string(), z.string()]); // [recipientId, home]
export const claimRequestSchema = z.object({ tenantId: z.string(), wishes: z.array(homeTuple) });
/** Of every id asked for, in any order: the wish, or what was settled before. Durable. */
export const claimReplySchema = z.object({ homes: z.array(homeTuple) });

export const recipientChangeSchema = z.object({
  recipientId: z.string(),
  locale: z.string().nullable(),
  timeZone: z.string().nullable(),
  attributes: attributesSchema,
});
export type RecipientChange = z.infer<typeof recipientChangeSchema>;
export const directoryRequestSchema = z.object({
  tenantId: z.string(),
  changes: z.array(recipientChangeSchema),
});
export const directoryReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("stored"), created: z.number(), updated: z.number() }),
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type DirectoryReply = z.infer<typeof directoryReplySchema>;

export const membersRequestSchema = z.object({
  tenantId: z.string(),
  tag: z.string(), // groupTagOf
  recipientIds: z.array(z.string()),
  isMember: z.boolean(), // from now on
});
export const membersReplySchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("stored"),
    changed: z.number(),
    unchanged: z.number(),
    missing: z.array(z.string()), // no such recipient here
    full: z.array(z.string()),
  }),
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type MembersReply = z.infer<typeof membersReplySchema>;

/** Of one recipient at home; `preferences` null: they are read, otherwise replaced. */
export const preferencesMessageSchema = z.object({
  tenantId: z.string(),
  recipientId: z.string(),
  preferences: storedPreferencesSchema.nullable(),
});
export type PreferencesRequest = z.infer<typeof preferencesMessageSchema>;
export const preferencesReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("preferences"), preferences: storedPreferencesSchema.nullable() }),
  z.object({ kind: z.literal("absent") }),
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type PreferencesReply = z.infer<typeof preferencesReplySchema>;

export const groupsRequestSchema = z.object({
  tenantId: z.string(),
  groupIds: z.array(z.string()),
});
/** Those that are known, deleted ones too. */
export const groupsReplySchema = z.object({ groups: z.array(groupRecordSchema) });

export const templatesRequestSchema = z.object({
  tenantId: z.string(),
  templateId: z.string(),
  version: z.int().nullable(), // null: the newest
});
/** The newest, and the one asked for, if they are known; deletions, too. */
export const templatesReplySchema = z.object({ templates: z.array(templateRecordSchema) });

export const recipientReadRequestSchema = z.object({
  tenantId: z.string(),
  recipientId: z.string(),
});
export const recipientReadReplySchema = z.object({
  recipient: recipientChangeSchema.extend({ updatedAtMs: z.number() }).nullable(),
});

export const statusRequestSchema = z.object({
  tenantId: z.string(),
  notificationId: z.string(),
  /** With the notification itself; an older build ignores it. */
  isWhole: z.boolean().optional(),
});
/** What a region that holds a copy knows of the notification as a whole. */
export const statusSummarySchema = z.object({
  acceptedAtMs: z.number(),
  acceptedRegion: z.string(),
  priority: z.enum(PRIORITIES),
  /** Target regions and unknown recipients: null where it was not accepted. */
  targetRegions: z.array(z.string()).nullable(),
  unknownCount: z.number().nullable(),
  sendAtMs: z.number().optional(),
  control: z.enum(CONTROL_STATES).optional(),
  /** In force; null: it was taken off. `targetedCount`: as counted when it was accepted; absent: it was not. */
  rate: z
    .object({ ratePerMinute: z.number().nullable(), targetedCount: z.number().optional() })
    .optional(),
  notification: notificationSchema.optional(),
});
export type StatusSummary = z.infer<typeof statusSummarySchema>;

export const statusReplySchema = z.object({
  state: z.enum(["waiting", "scheduled", "planned", "delivering", "finished", "withheld"]),
  counts: countsSchema,
  /** Null or absent: this region holds no copy. */
  summary: statusSummarySchema.nullish(),
});
export type StatusReply = z.infer<typeof statusReplySchema>;

// --- membership ------------------------------------------------------------------------------

export const ROLES = ["ingest", "worker", "gateway"] as const;
export type Role = (typeof ROLES)[number];

const partitionSchema = z
  .int()
  .min(0)
  .max(LIMITS.partitionCount - 1);

/**
 * Heartbeat: once a second in the member's region, every third one everywhere. `memberId` is new at
 * every start of a node: it is the incarnation. `owned` lists [partition, epoch] per home region;
 * `links` tells each gateway the last `seq` that this owner has sent it, so that a lost delivery is
 * noticed within a beat.
 */
export const beatSchema = z.object({
  memberId: memberIdSchema,
  region: z.string(),
  roles: z.array(z.enum(ROLES)),
  isDraining: z.boolean(),
  /** The last beat of this member: it has stopped in order, and its id never comes back (C13). */
  hasLeft: z.boolean().optional(),
  build: z.string(),
  /** Share of the last second that its thread was busy, 0 to 1. */
  load: z.number().optional(),
  /** Its share of partitions, relative to other members; absent: 1. */
  weight: z.number().min(1).max(100).optional(),
  /** The highest version of the partitions' table that it can compute; absent: 1 (ADR 0017). */
  tables: z.int().min(1).optional(),
  /** Counts only when its roles name worker. */
  owned: z.record(z.string(), z.array(z.tuple([partitionSchema, z.int().nonnegative()]))),
  links: z.record(memberIdSchema, z.int().nonnegative()),
  /** The home region whose partitions it may own; absent: `region` (ADR 0015). */
  home: z.string().optional(),
  /** What it does for its home; absent: it serves. */
  standing: z.enum(HOME_STANDINGS).optional(),
  /** The highest epoch of each home that it heard of. */
  homes: homeClaimsSchema.optional(),
});
export type Beat = z.infer<typeof beatSchema>;

// --- accept → owner --------------------------------------------------------------------------

/** A new ledger row. `members`: index numbers of a small audience; null: the audience decides. */
export const pokeEntrySchema = z.object({
  partition: z.number(),
  offset: z.number(),
  directoryVersion: z.number(),
  members: z.array(z.number()).nullable(),
});
export const pokeSchema = z.object({
  home: z.string(),
  items: z.array(
    z.object({
      notification: notificationSchema,
      audience: regionAudienceSchema.nullable(), // null when every entry carries its members
      entries: z.array(pokeEntrySchema),
    }),
  ),
  /** [partition, directoryVersion]: recipients changed. */
  directory: z.array(z.tuple([z.number(), z.number()])),
});
export type Poke = z.infer<typeof pokeSchema>;
export type PokeItem = Poke["items"][number];
export type PokeEntry = z.infer<typeof pokeEntrySchema>;

// --- sessions: gateway ↔ owner ---------------------------------------------------------------

/**
 * Opens sessions of one partition, new ones and, when the owner changed or a delivery was lost,
 * those that already live. The owner then sends everything after `position`.
 */
export const sessionOpenSchema = z.object({
  sid: z.number(), // unique in its gateway
  tenantId: z.string(),
  recipientId: z.string(),
  /** The last offset that was put on this socket or that the client joined with; null: none. */
  position: z.object({ offset: z.number(), epoch: z.string() }).nullable(),
  ackedOffset: z.number(), // 0: none
  device: z.string(),
});
export type SessionOpen = z.infer<typeof sessionOpenSchema>;

/** In place of a session's index, where a gateway does not know it. */
export const UNKNOWN_INDEX = -1;
/** [sid, index, offset]: cumulative ack. */
const ackTuple = z.tuple([z.number(), z.number(), z.number()]);
export const partitionRequestSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("open"),
    gatewayId: memberIdSchema,
    sessions: z.array(sessionOpenSchema),
  }),
  z.object({
    kind: z.literal("report"),
    gatewayId: memberIdSchema,
    acks: z.array(ackTuple),
    reads: z.array(ackTuple), // [sid, index, offset of that notification]
    acknowledges: z.array(ackTuple),
    closed: z.array(z.tuple([z.number(), z.number()])), // [sid, index or UNKNOWN_INDEX]
  }),
]);
export type PartitionRequest = z.infer<typeof partitionRequestSchema>;
export type SessionReport = Extract<PartitionRequest, { kind: "report" }>;

/**
 * Answer to a `report` of receipts that was asked as a request: all of them are in the ledger. An owner
 * that cannot say so does not answer, and is told again. Receipts may be told twice.
 */
export const reportReplySchema = z.object({ ownerId: z.string() });
export type ReportReply = z.infer<typeof reportReplySchema>;

/** Answer to `open`, results in the order asked. */
export const openReplySchema = z.object({
  ownerId: z.string(),
  /** Under which the partition was owned; absent: the gateway learns it from the next beat. */
  ownershipEpoch: z.number().optional(),
  /** The last delivery to this gateway before the sessions were opened. */
  seq: z.number(),
  results: z.array(
    z.discriminatedUnion("kind", [
      z.object({
        kind: z.literal("opened"),
        index: z.number(),
        recovered: z.boolean(),
        epoch: z.string(),
        offset: z.number(), // deliveries that follow are above it
        missed: z.number(),
        unread: z.number(),
      }),
      z.object({
        kind: z.literal("refused"),
        code: z.enum(["unknown_recipient", "too_many_sessions", "not_owner", "overloaded"]),
      }),
    ]),
  ),
});
export type OpenReply = z.infer<typeof openReplySchema>;
export type OpenResult = OpenReply["results"][number];

/** Of the topic `inbox`, from the server, with an offset (W2). */
export const INBOX_EVENTS = ["ntf", "withdraw", "read"] as const;
export type InboxEvent = (typeof INBOX_EVENTS)[number];

/**
 * Notifications for sessions of one gateway. `seq` grows by one with every message from this owner
 * to this gateway. `payload` is the JSON object of the event without offset and epoch, encoded once.
 */
export const deliverSchema = z.object({
  ownerId: z.string(),
  seq: z.number(),
  items: z.array(
    z.object({
      payload: z.string(),
      /** Absent: `ntf`. An older gateway takes each for one (ADR 0032: gateways first). */
      event: z.enum(INBOX_EVENTS).optional(),
      groups: z.array(
        z.object({
          home: z.string(),
          partition: z.number(),
          epoch: z.string(),
          offset: z.number(),
          isResend: z.boolean(),
          sids: z.array(z.number()),
        }),
      ),
    }),
  ),
});
export type Deliver = z.infer<typeof deliverSchema>;

// --- codec -----------------------------------------------------------------------------------

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function encodeMessage(message: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(message));
}

export type DecodedMessage<T> =
  | { readonly kind: "message"; readonly message: T }
  | { readonly kind: "malformed" };

/** Never throws: what does not fit the schema is `malformed`, to be counted and dropped. */
export function decodeMessage<T>(schema: z.ZodType<T>, bytes: Uint8Array): DecodedMessage<T> {
  try {
    const parsed = schema.safeParse(JSON.parse(decoder.decode(bytes)));
    return parsed.success ? { kind: "message", message: parsed.data } : { kind: "malformed" };
  } catch {
    return { kind: "malformed" };
  }
}
