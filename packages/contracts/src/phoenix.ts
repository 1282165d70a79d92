// packages/contracts/src/phoenix.ts
// Phoenix channels V2 on the wire: [join_ref, ref, topic, event, payload] (W1). Text frames.
// Source: phoenix/assets/js/phoenix/serializer.js (vsn 2.0.0).
import { z } from "zod";
import type { EscalationOf } from "./escalation.ts";

const refSchema = z.union([z.string(), z.null()]);
export const frameSchema = z.tuple([
  refSchema,
  refSchema,
  z.string().min(1).max(255),
  z.string().min(1).max(255),
  z.record(z.string(), z.unknown()),
]);
export type Frame = z.infer<typeof frameSchema>;
export type ParsedFrame =
  | { readonly kind: "frame"; readonly frame: Frame }
  | { readonly kind: "malformed" };

/** Never throws: what is not a V2 text frame is `malformed`. */
export function parseFrame(text: string): ParsedFrame {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: "malformed" };
  }
  const parsed = frameSchema.safeParse(value);
  return parsed.success ? { kind: "frame", frame: parsed.data } : { kind: "malformed" };
}

export function encodeFrame(frame: Frame): string {
  return JSON.stringify(frame);
}

export const INBOX_TOPIC = "inbox";

/** Join payload of topic `inbox` (W2). `offset` and `epoch` only together. */
export const inboxJoinSchema = z
  .object({
    offset: z.int().min(0).optional(),
    epoch: z.string().max(64).optional(),
    device: z.string().max(128).optional(),
    /** For clients that cannot set the subprotocol; checked like the one there. */
    token: z.string().max(4_096).optional(),
  })
  .refine((join) => (join.offset === undefined) === (join.epoch === undefined), {
    message: "offset and epoch must be given together",
  });
export type InboxJoin = z.infer<typeof inboxJoinSchema>;

/**
 * Reply to the join. `recovered` is all or nothing: false means that the client must reload the
 * inbox over HTTP and go on from `offset`. True means that `missed` `ntf` events follow, all with
 * offsets above `offset`.
 */
export interface InboxJoined {
  readonly recovered: boolean;
  readonly epoch: string;
  readonly offset: number;
  readonly missed: number;
  /** Of what the owner has in memory, 128 closed rows of the partition at least: "128+", not a sum. */
  readonly unread: number;
}

/** Payload of event `ntf`: offset and epoch first, so that the rest is shared by all sockets. */
export interface NtfPayload {
  readonly offset: number;
  readonly epoch: string;
  readonly id: string;
  readonly priority: string;
  readonly acceptedAtMs: number;
  readonly title: string;
  readonly body?: string;
  readonly link?: string;
  readonly data?: Readonly<Record<string, string>>;
  /** It is to be acknowledged, within so long: `acknowledge`, not `ack`. */
  readonly requireAck?: { readonly deadlineSeconds: number };
  /** It is about somebody who has not acknowledged another one (ADR 0030). */
  readonly escalation?: EscalationOf;
}

/**
 * Payload of event `withdraw`: the notification `id` is taken back, wherever it is shown. It has an offset of its own,
 * is acked as an `ntf` is, and recovered as one.
 */
export interface WithdrawPayload {
  readonly offset: number;
  readonly epoch: string;
  readonly id: string;
}

/** Payload of event `read`: another session of the recipient has read that one. A hint, sent once, no place of its own. */
export interface ReadPayload {
  readonly offset: number;
  readonly epoch: string;
}

/** Client events on `inbox`. `ack` is cumulative (W3). */
export const ackSchema = z.object({ offset: z.int().min(1) });
/** `read` and `acknowledge`: for the one notification at `offset`. */
export const receiptSchema = z.object({ offset: z.int().min(1) });
