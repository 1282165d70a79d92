// packages/contracts/src/explain.ts
// "Explain this delivery" (A4): what became of one recipient's notification, decision by decision; and
// lists of the people in a state. What is answered over HTTP, and what home regions are asked for it.
import { z } from "zod";
import { COUNT_NAMES, type Counts } from "./notification.ts";

/**
 * Lists of recipients per state: a count's name, or `pending`: targeted, and not ended. Who waits for a later time
 * is in `deferred`, and among `targeted` and `pending`, as he is counted.
 */
export type RecipientState = keyof Counts | "pending";
export const RECIPIENT_STATES: readonly RecipientState[] = [...COUNT_NAMES, "pending"];

/** Why a notification was not meant for a recipient, as far as it can be told afterwards. */
export const NOT_TARGETED_REASONS = [
  "region_not_targeted", // it was not sent to the recipient's home region at all
  "excluded",
  "not_named", // an explicit audience, without this recipient
  "does_not_match", // the audience, evaluated on what is known of the recipient now
  "did_not_match", // matches now, and did not when the audience was worked out
] as const;
export type NotTargetedReason = (typeof NOT_TARGETED_REASONS)[number];

/** One thing that happened, in the order it did. */
export interface DeliveryEvent {
  readonly at: string; // ISO 8601, by the clock of the node
  readonly node: string;
  /** Of the ownership of the recipient's partition: grows with each new owner. */
  readonly epoch: number;
  /** Number of the attempt that it is, or belongs to; 0: none was made before it. */
  readonly attempt: number;
  readonly kind: string; // handed, resumed, sent, resent, attempt, deferred, suppressed, outcome, receipt …
  /** An outcome, a receipt, the gateway of an attempt, what a provider answered; null: none. */
  readonly code: string | null;
  readonly detail: Readonly<Record<string, unknown>> | null;
  readonly text: string; // one sentence, for people
}

/** 200 of `GET /v1/notifications/:id/recipients/:rid`. Ids only, no data of the recipient (D8). */
export interface RecipientExplanation {
  readonly notificationId: string;
  readonly recipientId: string;
  readonly homeRegion: string;
  /**
   * An outcome's name (a terminal count); `pending`: none yet. `planned`: the audience is not worked out
   * yet. `scheduled`: it waits until `dueAt`. `waiting`: the home region has not confirmed its copy.
   * `not_targeted`: see `reason`.
   */
  readonly state: string;
  readonly dueAt?: string; // ISO 8601
  readonly reason: { readonly code: NotTargetedReason; readonly text: string } | null;
  readonly read: boolean;
  readonly acknowledged: boolean;
  /** In the ledger of the recipient's partition; null: it has no row for the recipient. */
  readonly offset: number | null;
  /** All of its rows, the one that counts last: who was put off has several. */
  readonly rows: readonly { readonly offset: number; readonly sets: readonly string[] }[];
  /** `sampled_out`: of a large audience only failures and a share of all recipients are kept. */
  readonly journal: "kept" | "sampled_out";
  readonly timeline: readonly DeliveryEvent[];
  /** There are more events than are shown. */
  readonly isCut: boolean;
}

/** 200 of `GET /v1/notifications/:id/recipients`. */
export interface RecipientList {
  readonly recipientIds: readonly string[];
  /** Give it as `cursor` for the next page; null: there is none. A page with one may be short. */
  readonly nextCursor: string | null;
}

// --- region → region ---------------------------------------------------------------------------

export const explainRequestSchema = z.object({
  tenantId: z.string(),
  notificationId: z.string(),
  recipientId: z.string(),
});
export type ExplainRequest = z.infer<typeof explainRequestSchema>;

const failedReply = z.object({ kind: z.literal("failed"), code: z.string() });
/** Names of sets, kinds and codes are open: a newer region may know others. */
export const explainReplySchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("explained"),
    /** Set when no row targets the recipient, and none is still planned. */
    reason: z.string().nullable(),
    rows: z.array(z.object({ offset: z.number(), sets: z.array(z.string()) })),
    /** A row of the recipient's partition is not expanded yet. */
    isPlanned: z.boolean(),
    /** It waits for the recipient until then. */
    waitsUntilMs: z.number().optional(),
    isKept: z.boolean(),
    events: z.array(
      z.object({
        atMs: z.number(),
        node: z.string(),
        epoch: z.number(),
        kind: z.string(),
        code: z.string().nullable(),
        detail: z.record(z.string(), z.unknown()).nullable(),
      }),
    ),
    isCut: z.boolean(),
  }),
  /** The region holds no copy of the notification. */
  z.object({ kind: z.literal("no_copy") }),
  z.object({ kind: z.literal("unknown_recipient") }),
  failedReply,
]);
export type ExplainReply = z.infer<typeof explainReplySchema>;

/**
 * Partition, 0, index of a recipient: behind it the next page begins, whatever rows he is in. Nodes of the build
 * before put the offset of his row in the middle, and read it: of the 0 they show his partition anew.
 */
const placeSchema = z.tuple([z.int().min(0), z.int().min(0), z.int().min(0)]);
export const recipientsRequestSchema = z.object({
  tenantId: z.string(),
  notificationId: z.string(),
  state: z.string(),
  after: placeSchema.nullable(),
  limitCount: z.number(),
});
export type RecipientsRequest = z.infer<typeof recipientsRequestSchema>;

export const recipientsReplySchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("page"),
    recipientIds: z.array(z.string()),
    next: placeSchema.nullable(), // null: there is nobody behind them
  }),
  failedReply,
]);
export type RecipientsReply = z.infer<typeof recipientsReplySchema>;
