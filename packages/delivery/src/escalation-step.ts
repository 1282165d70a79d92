// packages/delivery/src/escalation-step.ts
// One step of a chain, without any I/O: who still needs it, under which id, and what it says (ADR 0030).
//   FL1  A step of a recipient has one id, wherever and however often it is taken: a hash of notification,
//        place and step, in the form and with the time of the notification's own.
//   FL2  Who acknowledged, has left the row, or is not to have it, needs no step.
import { createHash } from "node:crypto";
import {
  type Content,
  type Notification,
  type StoredStep,
  storedStepSchema,
} from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { SUPPRESSED_SETS } from "./ledger-entry.ts";
import type { LedgerRow } from "./ports.ts";

export interface StepPlace {
  readonly notificationId: string;
  readonly home: string;
  readonly partition: number;
  readonly index: number;
  readonly step: number; // the first is 1
}

/** FL1. With the notification's time it lies in its parts of the tables, and goes with it (ADR 0027). */
export function stepIdOf({ notificationId, home, partition, index, step }: StepPlace): string {
  const place = JSON.stringify([notificationId, home, partition, index, step]);
  const hash = createHash("sha256").update(place).digest("hex");
  const variant = (8 + (Number.parseInt(hash.slice(0, 1), 16) & 3)).toString(16);
  const time = notificationId.slice(0, 13);
  return `${time}-7${hash.slice(1, 4)}-${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
}

/** FL2. By index. */
export function unacknowledgedOf({ members, sets }: LedgerRow): Bitset {
  const needing =
    members === null ? Bitset.fromBytes(sets.targeted) : Bitset.firstN(members.length);
  for (const name of ["moved", "acknowledged", ...SUPPRESSED_SETS] as const)
    needing.andNot(Bitset.fromBytes(sets[name]));
  if (members === null) return needing;
  return Bitset.of(members.filter((_, position) => needing.has(position)));
}

export interface Chain {
  readonly notification: Notification;
  readonly deadlineSeconds: number;
  /** Undefined: this build does not know what it is. */
  readonly steps: readonly (StoredStep | undefined)[];
}

/** Without steps: nothing follows. */
export function chainOf(notification: Notification): Chain {
  const { deadlineSeconds = 0, escalation = [] } = notification.requireAck ?? {};
  const steps = escalation.map((step) => storedStepSchema.safeParse(step).data);
  return { notification, deadlineSeconds, steps };
}

/** From a step to the next one. */
export function waitSecondsOf({ steps, deadlineSeconds }: Chain, step: number): number {
  return steps[step - 1]?.waitSeconds ?? deadlineSeconds;
}

/** May be done by a notification to a person. */
export function isForPerson(step: StoredStep | undefined): step is StoredStep {
  return step !== undefined && (step.to === "recipient" || "attribute" in step.to);
}

export function isWebhook(step: StoredStep | undefined): boolean {
  return step !== undefined && step.to !== "recipient" && "webhook" in step.to;
}

/**
 * Whether somebody may come to a webhook at this step, or since others before it cannot be done for him: the
 * recipient himself can always be told once more.
 */
export function mayCallWebhook({ steps }: Chain, from: number): boolean {
  for (const step of steps.slice(from - 1)) {
    if (step?.to === "recipient") return false;
    if (step !== undefined && "webhook" in step.to) return true;
  }
  return false;
}

/** The notification that is a step, to whoever it is sent. It lives as long as the one that it is about. */
export function stepNotificationOf(
  chain: Chain,
  at: {
    readonly id: string;
    readonly recipientId: string; // who has not acknowledged
    readonly step: number;
    readonly region: string;
    readonly nowMs: number;
  },
): Notification {
  const { notification: parent, steps } = chain;
  const { priority, category, fallbacks, tenantId } = parent;
  const lifeMs = parent.expiresAtMs - (parent.sendAtMs ?? parent.acceptedAtMs);
  const own = steps[at.step - 1]?.content as Readonly<Record<string, Content>> | undefined;
  return {
    id: at.id,
    tenantId,
    acceptedRegion: at.region,
    acceptedAtMs: at.nowMs,
    expiresAtMs: at.nowMs + lifeMs,
    priority,
    ...(category !== undefined && { category }),
    content: own ?? parent.content,
    ...(own === undefined && fallbacks !== undefined && { fallbacks }),
    exclude: [],
    requireAck: { deadlineSeconds: waitSecondsOf(chain, at.step) },
    escalation: { of: parent.id, recipientId: at.recipientId, step: at.step },
  };
}

/** What a webhook is told (Standard Webhooks). Ids only: what was said is the sender's own. */
export function webhookBodyOf(
  { notification, deadlineSeconds }: Chain,
  at: { readonly recipientId: string; readonly step: number; readonly nowMs: number },
): string {
  const { recipientId, step, nowMs } = at;
  return JSON.stringify({
    type: "notification.ack_overdue",
    timestamp: new Date(nowMs).toISOString(),
    data: { notificationId: notification.id, recipientId, step, deadlineSeconds },
  });
}
