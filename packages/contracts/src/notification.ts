// packages/contracts/src/notification.ts
// A notification as posted (A2), as it travels between regions and nodes, and its status (A4).
import { z } from "zod";
import { audienceSchema, excludeSchema, storedFilterSchema } from "./audience.ts";
import type { ControlState } from "./control.ts";
import { escalationOfSchema, requireAckSchemaOf, storedRequireAckSchema } from "./escalation.ts";
import { LIMITS } from "./limits.ts";
import { localeFallbacksSchema, localeSchema } from "./locale.ts";
import { categoryIdSchema, recipientIdSchema, regionSchema, tenantIdSchema } from "./places.ts";
import { rateSchema, throttleSchema } from "./rate.ts";
import { templatePayloadSchema, templateReferenceSchema } from "./template.ts";
import { isStorable, textSchema } from "./text.ts";
import { readTimeText } from "./time-text.ts";

export const PRIORITIES = ["low", "normal", "high", "critical"] as const;
export type Priority = (typeof PRIORITIES)[number];

export const contentSchema = z
  .strictObject({
    title: textSchema(LIMITS.titleMaxCharacters).min(1),
    body: textSchema(LIMITS.bodyMaxCharacters).optional(),
    link: z
      .url({ protocol: /^https?$/, error: "must be an http or https URL" })
      .max(LIMITS.linkMaxCharacters)
      .refine(isStorable, { message: "must be an http or https URL" })
      .optional(),
    data: z
      .record(textSchema(LIMITS.dataKeyMaxCharacters), textSchema(LIMITS.dataTextMaxCharacters))
      .refine((data) => Object.keys(data).length <= LIMITS.dataKeysMax, {
        message: `must hold at most ${LIMITS.dataKeysMax} keys`,
      })
      .optional(),
  })
  .refine(
    (content) => new TextEncoder().encode(JSON.stringify(content)).length <= LIMITS.contentMaxBytes,
    { message: `must be at most ${LIMITS.contentMaxBytes} bytes as JSON, per locale` },
  );
export type Content = z.infer<typeof contentSchema>;

/** Locale → content. The first key is the fall-back when no locale of the recipient matches. */
export const localizedContentSchema = z
  .record(localeSchema, contentSchema)
  .refine((content) => Object.keys(content).length >= 1, {
    message: "must hold at least one locale",
  })
  .refine((content) => Object.keys(content).length <= LIMITS.localesMax, {
    message: `must hold at most ${LIMITS.localesMax} locales`,
  });
export type LocalizedContent = z.infer<typeof localizedContentSchema>;

const requestShape = z.strictObject({
  audience: audienceSchema,
  exclude: excludeSchema.optional(),
  /** Or `template` and `payload`, never both. */
  content: localizedContentSchema.optional(),
  /** Of `content`; a template has its own. */
  fallbacks: localeFallbacksSchema.optional(),
  template: templateReferenceSchema.optional(),
  payload: templatePayloadSchema.optional(),
  priority: z.enum(PRIORITIES).default("normal"),
  /** What recipients may opt out of, and the policy may make mandatory. */
  category: categoryIdSchema.optional(),
  /** From `sendAt`, where there is one. */
  ttlSeconds: z.int().min(1).max(LIMITS.ttlMaxSeconds).default(LIMITS.ttlDefaultSeconds),
  /** Nobody is handed it before; how far ahead it may lie depends on now, and is checked with a clock. */
  sendAt: textSchema(LIMITS.timeMaxCharacters).optional(),
  /** `sendAt` is a wall time, which comes to each recipient in his own zone. */
  recipientTime: z.boolean().optional(),
  /** A newer one of the same key takes the place of those that a recipient has not been sent yet. */
  collapseKey: textSchema(LIMITS.collapseKeyMaxCharacters).min(1).optional(),
  /** At most so many people a minute are handed it, in all regions together. */
  throttle: throttleSchema.optional(),
  /** Each recipient has to acknowledge it, not only to get it; and what follows when he does not. */
  requireAck: requireAckSchemaOf(localizedContentSchema).optional(),
  /** Answered with its plan; nothing is accepted. */
  dryRun: z.boolean().optional(),
});

/** `POST /v1/notifications`. Unknown fields are refused (A13). */
export const notificationRequestSchema = requestShape.superRefine(
  (request, context) => {
    checkContent(request, context, { isRequired: true });
    checkSendAt(request, context);
  },
  { when: ({ value }) => isObject(value) }, // beside other wrong fields: they are named together
);
/** The same, but for its content: a plan is of an audience (A3). */
export const notificationPlanSchema = requestShape.superRefine((request, context) =>
  checkContent(request, context, { isRequired: false }),
);
export type NotificationRequest = z.infer<typeof notificationRequestSchema>;

/** `POST /v1/notifications/:id/remind`. What it leaves out is as the notification that it is about has it. */
export const remindRequestSchema = requestShape
  .pick({
    ...{ content: true, fallbacks: true, template: true, payload: true },
    ...{ ttlSeconds: true, dryRun: true },
  })
  .extend({ priority: z.enum(PRIORITIES).optional() })
  .superRefine((request, context) => checkContent(request, context, { isRequired: false }));

/** Content, or a template with its payload; each with what belongs to it only. */
function checkContent(
  request: { readonly [field in "content" | "fallbacks" | "template" | "payload"]?: unknown },
  context: z.core.$RefinementCtx,
  { isRequired }: { readonly isRequired: boolean },
): void {
  const { content, template } = request;
  const refuse = (field: "content" | "fallbacks" | "payload", message: string): void => {
    if (request[field] !== undefined)
      context.addIssue({ code: "custom", path: [field], message, input: request[field] });
  };
  if (template !== undefined) {
    refuse("content", "must not stand beside template");
    refuse("fallbacks", "must not stand beside template, which has its own");
    return;
  }
  refuse("payload", "must not stand without template");
  if (content === undefined && isRequired)
    context.addIssue({
      code: "invalid_type",
      expected: "object",
      path: ["content"],
      input: content,
    });
}

function checkSendAt(
  { sendAt, recipientTime }: { readonly sendAt?: unknown; readonly recipientTime?: unknown },
  context: z.core.$RefinementCtx,
): void {
  const refuse = (field: "sendAt" | "recipientTime", message: string, input: unknown): void =>
    context.addIssue({ code: "custom", path: [field], message, input });
  if (sendAt === undefined && recipientTime === true)
    refuse("recipientTime", "must not be true without sendAt", recipientTime);
  if (typeof sendAt !== "string") return;
  const time = readTimeText(sendAt);
  const form = recipientTime === true ? "local" : "instant";
  if (typeof time === "string" || time.form !== form)
    refuse("sendAt", SEND_AT_MESSAGES[form], sendAt);
}

const SEND_AT_MESSAGES = {
  instant: "must be an instant such as 2026-12-24T09:00:00+01:00",
  local: "must be a wall time such as 2026-12-24T09:00 when recipientTime is true",
};

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const wholeAudiences = [
  z.object({ kind: z.literal("recipients"), recipientIds: z.array(recipientIdSchema) }),
  z.object({ kind: z.literal("filter"), filter: storedFilterSchema }),
  z.object({ kind: z.literal("broadcast") }),
  /** `tag`: groupTagOf. Members of a static group; a dynamic one travels as its filter. */
  z.object({ kind: z.literal("group"), tag: z.string() }),
] as const;

/**
 * Who is meant in one target region. `recipients` holds only ids whose home is that region, so
 * that no region learns another's ids through a notification. `except` is a kind of its own, not a
 * field beside the others, which a reader of an older build would ignore and send to those who are
 * excluded: this it refuses, and the row waits for a newer one, an owner's whole partition behind it
 * (ADR 0021: workers first).
 */
export const regionAudienceSchema = z.discriminatedUnion("kind", [
  ...wholeAudiences,
  z.object({
    kind: z.literal("except"),
    of: z.discriminatedUnion("kind", wholeAudiences),
    tags: z.array(z.string()), // of static groups
    filters: z.array(storedFilterSchema),
  }),
  /**
   * Those for whom rows of another notification are in the region's ledger, as the owner of each partition finds
   * them there (ADR 0032). `unread`: who has not read it, and was not spared it; `sent`: all who may have seen it.
   */
  z.object({
    kind: z.literal("unread"),
    notificationId: z.uuid(),
    who: z.enum(["unread", "sent"]),
  }),
]);
export type RegionAudience = z.infer<typeof regionAudienceSchema>;
/** Whom the directory knows; of the others the ledger does. */
export type DirectoryAudience = Exclude<RegionAudience, { kind: "unread" }>;

/** What every region keeps of a notification; the same in all of them but for the audience. */
export const notificationSchema = z.object({
  id: z.uuid(),
  tenantId: tenantIdSchema,
  acceptedRegion: regionSchema,
  acceptedAtMs: z.number(),
  expiresAtMs: z.number(),
  priority: z.enum(PRIORITIES),
  category: z.string().optional(),
  content: z.record(
    z.string(),
    z.custom<Content>((value) => typeof value === "object" && value !== null),
  ),
  exclude: z.array(z.string()),
  /** Nobody is handed it before; absent: at once. */
  sendAtMs: z.number().optional(),
  /** A wall time as if it were UTC: each recipient has it when it has come in his zone. */
  sendAtLocalMs: z.number().optional(),
  collapseKey: z.string().optional(),
  throttle: rateSchema.optional(),
  /** An older build ignores it, and takes the language's other content or the first. */
  fallbacks: z.record(z.string(), z.array(z.string())).optional(),
  /** It takes that one away from whoever has it, and is nothing that a person sees (ADR 0032). */
  withdraws: z.string().optional(),
  /** An older build ignores it: nobody is escalated there (ADR 0030). */
  requireAck: storedRequireAckSchema.optional(),
  /** It is a step of another one's chain. */
  escalation: escalationOfSchema.optional(),
});
export type Notification = z.infer<typeof notificationSchema>;

/** 202 of `POST /v1/notifications`. */
export interface NotificationAccepted {
  readonly id: string;
  readonly acceptedAt: string; // ISO 8601
  readonly regions: readonly string[]; // target regions
  /** Explicit recipients known in no region that answered; absent for other audiences. */
  readonly unknownCount?: number;
}

export const countsSchema = z.object({
  /** Recipients the audience came to; grows until `state` is past `planned`. */
  targeted: z.number(),
  /** Terminal: acknowledged by a session of the recipient. */
  deliveredSocket: z.number(),
  /** Terminal: no session came in time and no device is registered. */
  noDevice: z.number(),
  /** Terminal: handed to a session, never acknowledged, no other channel. */
  unacked: z.number(),
  /** Terminal: `ttlSeconds` passed first. */
  expired: z.number(),
  /** Terminal: the recipient's process crashed on it too often (dead-lettered). */
  failed: z.number(),
  /** Terminal: stopped by the sender before it was handed out. */
  cancelled: z.number().default(0), // this and the next three: absent in what an older build tells
  /** Terminal: the recipient does not want this kind. */
  optedOut: z.number().default(0),
  /** Terminal: the recipient has had as many as the tenant allows. */
  capped: z.number().default(0),
  /** Terminal: a newer one of the same `collapseKey` took its place. */
  collapsed: z.number().default(0),
  /** Not terminal: targeted, and put off to a later time. */
  deferred: z.number().default(0),
  /** Receipts, not terminal: seen by a session after `noDevice` or `unacked` was recorded. */
  receivedLate: z.number(),
  read: z.number(),
  acknowledged: z.number(),
});
export type Counts = z.infer<typeof countsSchema>;
export const COUNT_NAMES = Object.keys(countsSchema.shape) as readonly (keyof Counts)[];
export const TERMINAL_COUNT_NAMES = [
  "deliveredSocket",
  "noDevice",
  "unacked",
  "expired",
  "failed",
  "cancelled",
  "optedOut",
  "capped",
  "collapsed",
] as const satisfies readonly (keyof Counts)[];

/**
 * State of a notification in one region. `waiting`: the region has not confirmed its copy yet.
 * `scheduled`: everybody it is for waits for a later time, such as `sendAt`.
 * `withheld`: the home is hosted where the tenant's residency does not allow it; it goes on later.
 */
export const REGION_STATES = [
  "waiting",
  "scheduled",
  "planned",
  "delivering",
  "finished",
  "unreachable",
  "withheld",
] as const;
export type RegionState = (typeof REGION_STATES)[number];

export interface RegionStatus {
  readonly region: string;
  readonly state: RegionState;
  readonly counts: Counts;
}

/** 200 of `GET /v1/notifications/:id`. */
export interface NotificationStatus {
  readonly id: string;
  readonly acceptedAt: string;
  readonly acceptedRegion: string;
  readonly priority: Priority;
  readonly sendAt?: string; // ISO 8601
  /** `finished` or `scheduled` when every target region is; otherwise `delivering`. */
  readonly state: "scheduled" | "delivering" | "finished";
  /** What its sender did with it, as far as this region has heard; absent: nothing. */
  readonly control?: ControlState;
  /** What is in force, as far as this region has heard; null: it was taken off; absent: there never was one. */
  readonly ratePerMinute?: number | null;
  readonly counts: Counts & { readonly unknown: number; readonly pending: number };
  readonly regions: readonly RegionStatus[];
}

export function zeroCounts(): Counts {
  return Object.fromEntries(COUNT_NAMES.map((name) => [name, 0])) as Counts;
}
