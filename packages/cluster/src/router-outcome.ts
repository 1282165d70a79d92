// packages/cluster/src/router-outcome.ts
// What becomes of messages and calls to recipients: closed unions, and what is known of the effect.
import {
  type CallKind,
  decodeMessage,
  type RecipientKey,
  type RouteFailure,
  routeReplySchema,
} from "@carillon/contracts";

/**
 * `none`: the recipient's process has not been given it and will not be: asking again is safe.
 * `unknown`: it may have been handled, once: asking again is safe only where a repeat does no harm.
 */
export type Effect = "none" | "unknown";

/**
 * What became of a call; exactly one of:
 * - `reply`: the process, at `ownerId`, has handled it once.
 * - `noproc`: the owner has no such recipient. Effect none, and so it stays until one is created.
 * - `noconnection`: no owner is known, the owner changes, nobody listens at it (none); or the link
 *   broke, or the owner was lost, while the answer was awaited (unknown).
 * - `overloaded`: this router has too many calls under way, the owner has, or the mailbox is full, or
 *   its table is paused. Effect none; ask later, with a back-off.
 * - `timeout`: the deadline came. None when it came before anything was sent.
 * - `too_large`: the bus does not take so much. Effect none.
 * - `failed`: see RouteFailure. Unknown for `exit` and `bad_reply`.
 */
export type CallRouteOutcome<Reply> =
  | { readonly kind: "reply"; readonly reply: Reply; readonly ownerId: string }
  | { readonly kind: "noproc" }
  | { readonly kind: "noconnection"; readonly effect: Effect }
  | { readonly kind: "overloaded"; readonly where: "caller" | "owner" }
  | { readonly kind: "timeout"; readonly effect: Effect }
  | { readonly kind: "too_large"; readonly maxBytes: number }
  | { readonly kind: "failed"; readonly reason: RouteFailure; readonly effect: Effect };

/**
 * `sent`: it has left for the owner, and arrives at most once; nobody says whether. `noconnection`:
 * no owner is known, or there is no link. `too_large`: the bus does not take so much. After these two
 * nothing has left.
 */
export type SendOutcome = "sent" | "noconnection" | "too_large";

export interface SendEachOutcome {
  readonly sentCount: number;
  /** Nothing has left for these. */
  readonly noConnection: readonly RecipientKey[];
  readonly tooLarge: readonly RecipientKey[];
  /** On the bus, those to this very process included. */
  readonly messageCount: number;
  readonly bytesCount: number;
}

/** What a try at one node came to, when the call is not over with it: nothing was done there. */
export type NotThere = { readonly kind: "not_there"; readonly ownerId: string | undefined };

/** What the asked node has answered. */
export function answerOf(data: Uint8Array, ownerId: string): CallRouteOutcome<unknown> | NotThere {
  const decoded = decodeMessage(routeReplySchema, data);
  if (decoded.kind === "malformed") return failed("bad_reply");
  const answer = decoded.message;
  switch (answer.kind) {
    case "reply":
      return { kind: "reply", reply: answer.reply, ownerId };
    case "not_owner":
      return { kind: "not_there", ownerId: answer.ownerId ?? undefined };
    case "overloaded":
      return { kind: "overloaded", where: "owner" };
    case "timeout":
      return { kind: "timeout", effect: "unknown" };
    case "failed":
      return failed(answer.reason);
    default:
      return answer;
  }
}

/** A reply that its kind does not know is none. */
export function parsedReply<Body, Reply>(
  outcome: CallRouteOutcome<unknown>,
  kind: CallKind<Body, Reply>,
): CallRouteOutcome<Reply> {
  if (outcome.kind !== "reply") return outcome;
  const parsed = kind.reply.safeParse(outcome.reply);
  return parsed.success ? { ...outcome, reply: parsed.data } : failed("bad_reply");
}

const UNTOUCHED: ReadonlySet<RouteFailure> = new Set([
  "load_failed",
  "quarantined",
  "unsupported",
  "malformed",
]);

function failed(reason: RouteFailure): CallRouteOutcome<never> {
  return { kind: "failed", reason, effect: UNTOUCHED.has(reason) ? "none" : "unknown" };
}
