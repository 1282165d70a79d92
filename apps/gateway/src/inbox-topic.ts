// apps/gateway/src/inbox-topic.ts
// Topic `inbox` of one connection: join, leave and the client's events (W1, W2, W3). Invariants:
//   GW23  At most one session: a second join closes the first with phx_close.
//   GW24  A frame with another join_ref than the session's is stale and is ignored.
import {
  ackSchema,
  type Frame,
  INBOX_TOPIC,
  inboxJoinSchema,
  partitionOf,
} from "@carillon/contracts";
import { receiptSchema } from "@carillon/contracts";
import { type Identity, InboxSession, type Reply, type SessionOutlet } from "./inbox-session.ts";
import type { SessionHub } from "./session-hub.ts";

export interface InboxTopicDeps {
  readonly hub: Pick<SessionHub, "open" | "close" | "cast" | "ack" | "receipt">;
  readonly outlet: Pick<SessionOutlet, "reply" | "push" | "writeFrame" | "again">;
  readonly nextSid: () => number;
}

export class InboxTopic {
  readonly #deps: InboxTopicDeps;
  #session: InboxSession | null = null;

  constructor(deps: InboxTopicDeps) {
    this.#deps = deps;
  }

  /** To the session's process, which handles it in its turn. `no_session`: there is none. */
  cast(frame: Frame, bytes: number): "accepted" | "overloaded" | "no_session" {
    if (this.#session === null) return "no_session";
    const outcome = this.#deps.hub.cast(this.#session, frame, bytes);
    if (outcome === "accepted" || outcome === "overloaded") return outcome;
    this.#session = null;
    return "no_session";
  }

  /** Only while there is no session: otherwise its process has the join before (GW23). */
  join(frame: Frame, identity: Identity, joinDeadlineMs: number): void {
    const [joinRef, ref, , , payload] = frame;
    const parsed = inboxJoinSchema.safeParse(payload);
    if (!parsed.success) return this.#answer(frame, "error", { reason: "invalid payload" });
    const { hub, nextSid } = this.#deps;
    const session = new InboxSession({
      sid: nextSid(),
      identity,
      partition: partitionOf(identity.tenantId, identity.recipientId),
      joinRef,
      ref,
      join: parsed.data,
      joinDeadlineMs,
      outlet: {
        reply: (reply) => this.#deps.outlet.reply(reply),
        push: (endedRef, event) => this.#deps.outlet.push(endedRef, event),
        writeFrame: (bytes) => this.#deps.outlet.writeFrame(bytes),
        onFrame: (of, theirs, bytes) => this.#handle(of, theirs, bytes),
        again: (theirs, bytes) => this.#deps.outlet.again(theirs, bytes),
        onEnded: (ended) => this.#onEnded(ended),
      },
    });
    this.#session = session;
    hub.open(session);
  }

  /** Every event but phx_join, while there is no session. */
  handleOutside(frame: Frame): void {
    const isLeave = frame[3] === "phx_leave"; // what is left already is left
    if (isLeave) this.#answer(frame, "ok", {});
    else this.#answer(frame, "error", { reason: "unmatched topic" });
  }

  /** The connection is over. */
  close(): void {
    const session = this.#session;
    this.#session = null;
    if (session !== null) this.#deps.hub.close(session);
  }

  /** In a turn of the session's process. */
  #handle(session: InboxSession, frame: Frame, bytes: number): void {
    if (session !== this.#session) return this.#deps.outlet.again(frame, bytes); // it is ending
    const [joinRef, , , event, payload] = frame;
    if (event === "phx_join") {
      if (!inboxJoinSchema.safeParse(payload).success)
        return this.#answer(frame, "error", { reason: "invalid payload" });
      this.#replace(session); // GW23
      return this.#deps.outlet.again(frame, bytes);
    }
    if (joinRef !== null && joinRef !== session.joinRef) return; // GW24
    switch (event) {
      case "phx_leave":
        this.#answer(frame, "ok", {});
        return this.#replace(session);
      case "ack":
        return this.#onAck(frame, session);
      case "read":
        return this.#onReceipt(frame, session, "reads");
      case "acknowledge":
        return this.#onReceipt(frame, session, "acknowledges");
      default:
        return this.#answer(frame, "error", { reason: "unmatched event" });
    }
  }

  #onAck(frame: Frame, session: InboxSession): void {
    const parsed = ackSchema.safeParse(frame[4]);
    if (!parsed.success) return this.#answer(frame, "error", { reason: "invalid payload" });
    const { offset } = parsed.data;
    if (session.phase !== "joined" || offset > session.sentOffset)
      return this.#answer(frame, "error", { reason: "offset not sent" });
    this.#deps.hub.ack(session, offset);
    this.#answer(frame, "ok", {});
  }

  #onReceipt(frame: Frame, session: InboxSession, kind: "reads" | "acknowledges"): void {
    const parsed = receiptSchema.safeParse(frame[4]);
    if (!parsed.success) return this.#answer(frame, "error", { reason: "invalid payload" });
    const { offset } = parsed.data;
    if (session.phase !== "joined" || offset > session.sentOffset)
      return this.#answer(frame, "error", { reason: "offset not sent" });
    this.#deps.hub.receipt(kind, session, offset);
    this.#answer(frame, "ok", {});
  }

  #replace(session: InboxSession): void {
    this.#deps.outlet.push(session.joinRef, "phx_close");
    this.#onEnded(session);
  }

  #onEnded(session: InboxSession): void {
    if (this.#session === session) this.#session = null;
    this.#deps.hub.close(session);
  }

  #answer([joinRef, ref, , event]: Frame, status: Reply["status"], response: object): void {
    // As Phoenix: an answer outside of a join carries no join_ref.
    const isOutside = status === "error" && this.#session === null && event !== "phx_join";
    const to = { joinRef: isOutside ? null : joinRef, ref, topic: INBOX_TOPIC };
    this.#deps.outlet.reply({ ...to, status, response });
  }
}
