// packages/contracts/src/escalation.ts
// Who has to acknowledge a notification, until when, and what happens when he does not (ADR 0030): as a
// caller writes it, as it is stored and travels, and as the timer that waits for the deadline carries it.
import { z } from "zod";
import { attributeKeySchema } from "./audience.ts";
import { LIMITS } from "./limits.ts";
import { recipientIdSchema } from "./places.ts";
import { CHANNELS } from "./preferences.ts";
import { isStorable } from "./text.ts";

/** Kind of the durable timers that wait for acknowledgements. */
export const FLOW_TIMER_KIND = "flow";

const waitSchema = z
  .int()
  .min(LIMITS.acknowledgeWaitMinSeconds)
  .max(LIMITS.acknowledgeWaitMaxSeconds);

/** Nothing of it is looked at here but its form: where it may lead is the sender's to judge (SSRF). */
const webhookUrlSchema = z
  .url({ protocol: /^https$/, error: "must be an https URL" })
  .max(LIMITS.linkMaxCharacters)
  .refine((url) => isStorable(url) && hasNoUser(url), {
    message: "must be an https URL without a user and a password",
  });

const error = 'must be "recipient", or hold attribute or webhook';
const targetSchema = z.union(
  [
    z.literal("recipient", { error }),
    z.strictObject({ attribute: attributeKeySchema }),
    z.strictObject({ webhook: webhookUrlSchema }),
  ],
  { error },
);

/** A step of a chain. `Content`: what a notification's content is. */
function stepSchemaOf<Content extends z.ZodType>(content: Content) {
  return z
    .strictObject({
      to: targetSchema,
      /** Of the recipient himself; absent: all that there are. */
      channels: z.array(z.enum(CHANNELS)).min(1).optional(),
      /** Absent: what the notification says. */
      content: content.optional(),
      /** Until the next step; absent: as long as the deadline. */
      waitSeconds: waitSchema.optional(),
    })
    .superRefine((step, context) => {
      const isPerson = step.to === "recipient" || "attribute" in step.to;
      const refuse = (field: "channels" | "content", message: string): void =>
        context.addIssue({ code: "custom", path: [field], message, input: step[field] });
      if (step.channels !== undefined && step.to !== "recipient")
        refuse("channels", 'must not stand but beside to: "recipient"');
      else if (step.channels?.some((channel) => channel !== "socket") === true)
        refuse("channels", 'must be ["socket"]: nothing is sent on other channels yet');
      if (step.content !== undefined && !isPerson)
        refuse("content", "must not stand beside a webhook");
    });
}

/** `requireAck` of `POST /v1/notifications`. */
export function requireAckSchemaOf<Content extends z.ZodType>(content: Content) {
  return z
    .strictObject({
      /** From when the recipient is handed it, or could be: who is put off has the time from then on. */
      deadlineSeconds: waitSchema,
      escalation: z.array(stepSchemaOf(content)).min(1).max(LIMITS.escalationStepsMax).optional(),
    })
    .superRefine(({ deadlineSeconds, escalation = [] }, context) => {
      const waits = escalation.map(({ waitSeconds = deadlineSeconds }) => waitSeconds);
      const totalSeconds = waits.reduce((sum, wait) => sum + wait, deadlineSeconds);
      if (totalSeconds <= LIMITS.escalationMaxSeconds) return;
      const days = LIMITS.escalationMaxSeconds / 86_400;
      const message = `must end within ${days} days: the deadline and all waits together`;
      context.addIssue({ code: "custom", path: ["escalation"], message, input: escalation });
    });
}

function hasNoUser(url: string): boolean {
  const parsed = URL.parse(url);
  return parsed !== null && parsed.username === "" && parsed.password === "";
}

/**
 * As it is stored and travels. Steps are looked at when their time comes: one of a newer build is
 * passed over then, and refuses no message between regions now.
 */
export const storedRequireAckSchema = z.object({
  deadlineSeconds: z.number(),
  escalation: z.array(z.record(z.string(), z.unknown())).optional(),
});
export type StoredRequireAck = z.infer<typeof storedRequireAckSchema>;

/** Whose missing acknowledgement a notification is about: what it was, who was asked, and which step it is. */
export const escalationOfSchema = z.object({
  of: z.uuid(),
  recipientId: recipientIdSchema,
  step: z.int().min(1),
});
export type EscalationOf = z.infer<typeof escalationOfSchema>;

/** A stored step; what it says beside is passed over. */
export const storedStepSchema = z.object({
  to: z.union([
    z.literal("recipient"),
    z.object({ attribute: z.string() }),
    z.object({ webhook: z.string() }),
  ]),
  content: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
  waitSeconds: z.number().optional(),
});
export type StoredStep = z.infer<typeof storedStepSchema>;

/**
 * People of the page who have come to a webhook before the others of their row. `dueAtMs`: by the owner's clock.
 */
const flowGroupSchema = z.object({
  step: z.int().min(1),
  indexes: z.array(z.int().min(0)),
  tries: z.int().min(0),
  dueAtMs: z.number(),
});
export type FlowGroup = z.infer<typeof flowGroupSchema>;

/**
 * Of the timer of a ledger row: which step comes next, and how far it has come. The statement that makes
 * the row writes it without what has a default here.
 */
export const flowPayloadSchema = z.object({
  notificationId: z.uuid(),
  offset: z.int().min(1),
  step: z.int().min(1).default(1),
  /** Recipients with a lower index have had the step. */
  from: z.int().min(0).default(0),
  /** The last index of a page that was begun, and is not at its end: somebody's webhook failed. */
  until: z.int().min(0).optional(),
  /** Of that page, who has had the step. */
  had: z.array(z.int().min(0)).default([]),
  /** Posts that failed since one was taken, and regions that did not answer, for this page. */
  tries: z.int().min(0).default(0),
  unheard: z.int().min(0).default(0),
  /** Somebody's webhook of this page has taken it: it is not down for all. */
  wasTaken: z.boolean().default(false),
  /** By step, who needs no more of it: he has had it already, or somebody has acknowledged (Bitset.toBytes). */
  settled: z.record(z.string(), z.base64()).default({}),
  /** They go first; one for each webhook of the chain at most. */
  ahead: z.array(flowGroupSchema).optional(),
  /** When the row goes on after them. */
  goesOnAtMs: z.number().optional(),
  /** By step, how often its webhook has failed since it was taken: a later page does not wait as long again. */
  triesOf: z.record(z.string(), z.int().min(0)).optional(),
  /** It was not handed to all when it was due: the deadline begins when it is. */
  isHeld: z.boolean().optional(),
});
export type FlowPayload = z.infer<typeof flowPayloadSchema>;

/** For how long the row waits for acknowledgements first; undefined: nothing follows from there being none. */
export function ackSecondsOf(requireAck: StoredRequireAck | undefined): number | undefined {
  const stepCount = requireAck?.escalation?.length ?? 0;
  return stepCount > 0 ? requireAck?.deadlineSeconds : undefined;
}

/** To `subjects.regionAcked`: which of these notifications has somebody of that region acknowledged? */
export const ackedRequestSchema = z.object({
  tenantId: z.string(),
  notificationIds: z.array(z.string()),
});
export type AckedRequest = z.infer<typeof ackedRequestSchema>;

export const ackedReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("acked"), notificationIds: z.array(z.string()) }),
  z.object({ kind: z.literal("failed"), code: z.string() }),
]);
export type AckedReply = z.infer<typeof ackedReplySchema>;
