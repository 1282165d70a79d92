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
  readonly hub: Pick<SessionHub, "open" | "close" | "ack" | "receipt">;
  readonly outlet: Pick<SessionOutlet, "reply" | "push" | "writeFrame">;
  readonly nextSid: () => number;
}

export class InboxTopic {
  readonly #deps: InboxTopicDeps;
  #session: InboxSession | null = null;

  constructor(deps: InboxTopicDeps) {
    this.#deps = deps;
  }

  join(frame: Frame, identity: Identity, joinDeadlineMs: number): void {
    const [joinRef, ref, , , payload] = frame;
    const parsed = inboxJoinSchema.safeParse(payload);
    if (!parsed.success) return this.#answer(frame, "error", { reason: "invalid payload" });
    if (this.#session !== null) this.#replace(this.#session); // GW23
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
        onEnded: (ended) => this.#onEnded(ended),
      },
    });
    this.#session = session;
    hub.open(session);
  }

  /** Every event but phx_join. */
  handle(frame: Frame): void {
    const session = this.#session;
    const [joinRef, , , event] = frame;
    if (session === null) {
      const isLeave = event === "phx_leave"; // what is left already is left
      return isLeave
        ? this.#answer(frame, "ok", {})
        : this.#answer(frame, "error", { reason: "unmatched topic" });
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

  /** A join that was not answered in time is refused; its client tries again. */
  check(nowMs: number): void {
    const session = this.#session;
    if (session?.phase === "joining" && nowMs >= session.joinDeadlineMs)
      session.refuse("unavailable");
  }

  /** The connection is over. */
  close(): void {
    if (this.#session !== null) this.#deps.hub.close(this.#session);
    this.#session = null;
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
