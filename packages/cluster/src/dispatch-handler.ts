// packages/cluster/src/dispatch-handler.ts
// What a node does with a kind of messages: handlers by schema, and the usual one, which hands the
// message to the recipient's process in its partition's table.
import type { CallKind, RouteReply, SendKind } from "@carillon/contracts";
import { assertNever } from "@carillon/kernel";
import type { CallOutcome, Lane, ProcessTable } from "@carillon/process";

/** What a call is answered; `reply` is checked by the caller's schema. */
export type CallAnswer<Reply> =
  | { readonly kind: "reply"; readonly reply: Reply }
  | Exclude<RouteReply, { kind: "reply" }>;

export interface SendDelivery<Served, Body> {
  readonly served: Served;
  /** In the order given; a recipient that stands twice is here twice. */
  readonly slots: readonly number[];
  readonly body: Body;
  /** To be called for each that could not take it, now or later. */
  readonly onRefused: () => void;
}
export interface CallDelivery<Served, Body> {
  readonly served: Served;
  readonly slot: number;
  readonly body: Body;
  /** After it nobody waits for the answer. */
  readonly timeoutMs: number;
}

/** Of one kind, its schema inside. What it throws is the node's crash. */
export interface KindHandler<Served> {
  readonly name: string;
  readonly send?: (delivery: SendDelivery<Served, unknown>) => "handed" | "malformed";
  readonly call?: (
    delivery: CallDelivery<Served, unknown>,
  ) => CallAnswer<unknown> | Promise<CallAnswer<unknown>>;
}

/** `handle` hands over before it returns (RO8). */
export function sendHandler<Body, Served>(
  kind: SendKind<Body>,
  handle: (delivery: SendDelivery<Served, Body>) => void,
): KindHandler<Served> {
  return {
    name: kind.name,
    send(delivery) {
      const parsed = kind.body.safeParse(delivery.body);
      if (!parsed.success) return "malformed";
      handle({ ...delivery, body: parsed.data });
      return "handed";
    },
  };
}

/** `handle` hands over before it returns, and may answer later (RO8). */
export function callHandler<Body, Reply, Served>(
  kind: CallKind<Body, Reply>,
  handle: (delivery: CallDelivery<Served, Body>) => CallAnswer<Reply> | Promise<CallAnswer<Reply>>,
): KindHandler<Served> {
  return {
    name: kind.name,
    call(delivery) {
      const parsed = kind.body.safeParse(delivery.body);
      if (!parsed.success) return { kind: "failed", reason: "malformed" };
      return handle({ ...delivery, body: parsed.data });
    },
  };
}

/** A served partition whose recipients are processes of a table, by slot. */
export interface ServedTable<Event extends object> {
  readonly table: Pick<ProcessTable<unknown, Event>, "castEach" | "call">;
}

/** The message is cast to the recipients' processes; full mailboxes refuse it. */
export function castHandler<Body, Event extends object>(
  kind: SendKind<Body>,
  eventOf: (body: Body) => Event,
): KindHandler<ServedTable<Event>> {
  return sendHandler(kind, ({ served, slots, body, onRefused }) => {
    served.table.castEach(slots, eventOf(body), onRefused);
  });
}

/** The call is one to the recipient's process, with what is left of its deadline (RO9). */
export function tableCallHandler<Body, Reply, Event extends object>(
  kind: CallKind<Body, Reply>,
  eventOf: (body: Body) => Event,
  options: { readonly lane?: Lane } = {},
): KindHandler<ServedTable<Event>> {
  return callHandler(kind, async ({ served, slot, body, timeoutMs }) =>
    // Reached in this turn: an async function runs to its first await.
    answerOf<Reply>(await served.table.call(slot, eventOf(body), { timeoutMs, ...options })),
  );
}

function answerOf<Reply>(outcome: CallOutcome<unknown>): CallAnswer<Reply> {
  switch (outcome.kind) {
    case "reply":
      return { kind: "reply", reply: outcome.reply as Reply }; // the caller's schema decides
    case "timeout":
      return { kind: "timeout" };
    case "overloaded":
    case "spilled":
    case "paused":
      return { kind: "overloaded" };
    case "quarantined":
    case "load_failed":
      return { kind: "failed", reason: outcome.kind };
    case "stopped": // the partition is on its way to another owner
      return { kind: "not_owner", ownerId: null };
    case "exit":
      return outcome.exit.kind === "noproc"
        ? { kind: "noproc" }
        : { kind: "failed", reason: "exit" };
    default:
      return assertNever(outcome);
  }
}
