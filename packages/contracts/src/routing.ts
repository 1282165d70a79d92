// packages/contracts/src/routing.ts
// What travels to the owner of a recipient, wherever it is (packages/cluster's router), and the kinds
// of messages. A kind is a name and schemas; new kinds are added here, and given a handler at the owner.
import { z } from "zod";
import { processViewSchema } from "./admin.ts";
import { LIMITS } from "./limits.ts";

/** Who a message is for; its partition follows from it. */
export interface RecipientKey {
  readonly home: string;
  readonly tenantId: string;
  readonly recipientId: string;
}

/** A message that is not answered. */
export interface SendKind<Body> {
  readonly name: string;
  readonly body: z.ZodType<Body>;
}
/** One that is. */
export interface CallKind<Body, Reply> extends SendKind<Body> {
  readonly reply: z.ZodType<Reply>;
}

// --- kinds -----------------------------------------------------------------------------------

/** For operators: what the recipient's process is at, in quarantine too. */
export const PROCESS_INSPECT = {
  name: "inspect-process",
  body: z.object({}),
  reply: processViewSchema,
} as const satisfies CallKind<object, unknown>;

/** For operators: ends its back-off or quarantine. `isChanged` false: it was in neither. */
export const PROCESS_RESET = {
  name: "reset-process",
  body: z.object({}),
  reply: z.object({ isChanged: z.boolean() }),
} as const satisfies CallKind<object, unknown>;

// --- wire ------------------------------------------------------------------------------------

/** `place` is the place in `places`. */
export type RoutedTarget = readonly [place: number, partition: number, recipientId: string];

/** A plain loop: a message may hold a hundred thousand of them. */
function areTargets(value: unknown): value is readonly RoutedTarget[] {
  return (
    Array.isArray(value) &&
    value.every(
      (target: unknown) =>
        Array.isArray(target) &&
        isIndex(target[0], Number.MAX_SAFE_INTEGER) &&
        isIndex(target[1], LIMITS.partitionCount) &&
        typeof target[2] === "string",
    )
  );
}

function isIndex(value: unknown, endsAt: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < endsAt;
}

export const routedMessageSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("send"),
    name: z.string(),
    body: z.unknown(),
    /** It has been at a node that did not own the partition: it is not handed on again. */
    isForwarded: z.boolean(),
    places: z.array(z.tuple([z.string(), z.string()])), // [home, tenantId]
    to: z.custom<readonly RoutedTarget[]>(areTargets, "must be [place, partition, recipientId]"),
  }),
  z.object({
    kind: z.literal("call"),
    name: z.string(),
    body: z.unknown(),
    home: z.string(),
    tenantId: z.string(),
    partition: z
      .number()
      .int()
      .min(0)
      .max(LIMITS.partitionCount - 1),
    recipientId: z.string(),
    /** What was left of the caller's deadline when it was sent. */
    timeoutMs: z.number(),
  }),
]);
export type RoutedMessage = z.infer<typeof routedMessageSchema>;
export type RoutedCall = Extract<RoutedMessage, { kind: "call" }>;
export type RoutedSend = Extract<RoutedMessage, { kind: "send" }>;

/**
 * Why a call failed at its owner. `exit`: the process ended meanwhile. `load_failed`: its state could
 * not be loaded. `quarantined`: it crashed too often. `unsupported`: the owner's build knows no such
 * kind. `malformed`: it refuses the body. `bad_reply`: the answer could not travel or be understood.
 */
export const ROUTE_FAILURES = [
  "exit",
  "load_failed",
  "quarantined",
  "unsupported",
  "malformed",
  "bad_reply",
] as const;
export type RouteFailure = (typeof ROUTE_FAILURES)[number];

export const routeReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("reply"), reply: z.unknown() }),
  z.object({ kind: z.literal("noproc") }), // no such recipient in the owner's directory
  /** Not done here; `ownerId`: whom this node takes for the owner. */
  z.object({ kind: z.literal("not_owner"), ownerId: z.string().nullable() }),
  z.object({ kind: z.literal("overloaded") }), // not done
  z.object({ kind: z.literal("timeout") }), // may have been done
  /** A reason that this build does not know counts as `exit`: nobody knows whether it was done. */
  z.object({ kind: z.literal("failed"), reason: z.enum(ROUTE_FAILURES).catch("exit") }),
]);
export type RouteReply = z.infer<typeof routeReplySchema>;
