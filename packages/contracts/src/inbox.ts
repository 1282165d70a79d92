// packages/contracts/src/inbox.ts
// The employee's inbox over HTTP (A7): pages, newest first, read from the home region's ledger.
import { z } from "zod";
import { escalationOfSchema } from "./escalation.ts";
import { PRIORITIES } from "./notification.ts";

export const INBOX_LIMIT_MAX = 100;
export const INBOX_LIMIT_DEFAULT = 50;

/** One notification, in the recipient's own language. Wire and HTTP alike. */
export const inboxItemSchema = z.object({
  offset: z.number(),
  id: z.string(),
  priority: z.enum(PRIORITIES),
  acceptedAt: z.string(), // ISO 8601
  expiresAt: z.string(),
  locale: z.string(), // of the content that follows
  title: z.string(),
  body: z.string().nullable(),
  link: z.string().nullable(),
  data: z.record(z.string(), z.string()),
  read: z.boolean(),
  acknowledged: z.boolean(),
  /** It is to be acknowledged, within so long of when it was handed out. */
  requireAck: z.object({ deadlineSeconds: z.number() }).optional(),
  /** It is about somebody who has not acknowledged another one (ADR 0030). */
  escalation: escalationOfSchema.optional(),
});
export type InboxItem = z.infer<typeof inboxItemSchema>;

/**
 * 200 of `GET /v1/inbox`. `epoch` and `offset` are the head of the partition's ledger: a client
 * that was told `recovered: false` loads a page and joins again with these two (W2).
 */
export const inboxPageSchema = z.object({
  epoch: z.string(),
  offset: z.number(),
  items: z.array(inboxItemSchema),
  /** Give it as `before` for the next page; null: there is none. */
  nextBefore: z.number().nullable(),
});
export type InboxPage = z.infer<typeof inboxPageSchema>;

/** On `subjects.regionInbox`. `before`: offsets below it; null: from the newest. */
export const inboxRequestSchema = z.object({
  tenantId: z.string(),
  recipientId: z.string(),
  before: z.number().nullable(),
  limitCount: z.number(),
});
export type InboxRequest = z.infer<typeof inboxRequestSchema>;

export const inboxReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("page"), page: inboxPageSchema }),
  z.object({ kind: z.literal("unknown_recipient") }),
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type InboxReply = z.infer<typeof inboxReplySchema>;
