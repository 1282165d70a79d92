// apps/gateway/src/testing/scripted-owner.ts
// An owner of partitions for this app's tests: speaks the session protocol over a real bus, keeps
// the history of its recipients, and loses, forgets and refuses when told to.
import type { Bus, Message, Subscription } from "@carillon/bus";
import {
  type Beat,
  decodeMessage,
  type Deliver,
  encodeMessage,
  type OpenReply,
  type OpenResult,
  partitionOf,
  partitionRequestSchema,
  type ReportReply,
  type SessionOpen,
  type SessionReport,
  subjects,
} from "@carillon/contracts";

interface Entry {
  readonly offset: number;
  readonly recipientIds: ReadonlySet<string>;
  readonly payload: string;
}

/** What survives a change of owner: the partitions' ledgers, as the database does. */
export class Ledger {
  epoch = "e1";
  readonly #entries = new Map<number, Entry[]>();

  append(partition: number, recipientIds: readonly string[], payload: object): Entry {
    const entries = this.#entries.get(partition) ?? [];
    this.#entries.set(partition, entries);
    const offset = entries.length + 1;
    const entry = { offset, recipientIds: new Set(recipientIds), payload: JSON.stringify(payload) };
    entries.push(entry);
    return entry;
  }

  head(partition: number): number {
    return this.#entries.get(partition)?.length ?? 0;
  }

  after(partition: number, offset: number, recipientId: string): Entry[] {
    const entries = this.#entries.get(partition) ?? [];
    return entries.filter((entry) => entry.offset > offset && entry.recipientIds.has(recipientId));
  }
}

interface Session {
  readonly gatewayId: string;
  readonly sid: number;
  readonly partition: number;
  readonly recipientId: string;
}
type Refusal = Extract<OpenResult, { kind: "refused" }>["code"];

export const TENANT = "acme";
export const HOME = "fra";

export class ScriptedOwner {
  readonly ownerId: string;
  readonly ledger: Ledger;
  readonly opens: SessionOpen[] = []; // in the order they came
  readonly reports: SessionReport[] = [];
  /** Instead of opening. */
  refuseWith: Refusal | undefined;
  /** False: it hears receipts, and is gone before they are in the ledger. */
  keepsReceipts = true;
  /** Answers, but only when this resolves. */
  answerAfter: Promise<void> = Promise.resolve();
  /** Tails are sent before the answer, as a bus that reorders would. */
  isTailFirst = false;
  readonly #bus: Bus;
  readonly #sessions = new Map<string, Session>();
  readonly #seqs = new Map<string, number>();
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #epochs = new Map<number, number>();
  #lossesDue = 0;

  constructor(bus: Bus, ownerId: string, ledger = new Ledger()) {
    this.#bus = bus;
    this.ownerId = ownerId;
    this.ledger = ledger;
  }

  own(partition: number, epoch: number): void {
    this.#epochs.set(partition, epoch);
    if (this.#subscriptions.has(partition)) return;
    const subject = subjects.partitionSessions(HOME, partition);
    const subscription = this.#bus.subscribe(subject, (message) => this.#hear(partition, message));
    this.#subscriptions.set(partition, subscription);
  }

  release(partition: number): void {
    this.#subscriptions.get(partition)?.unsubscribe();
    this.#subscriptions.delete(partition);
    this.#epochs.delete(partition);
    for (const [key, session] of this.#sessions)
      if (session.partition === partition) this.#sessions.delete(key);
  }

  stop(): void {
    for (const partition of [...this.#subscriptions.keys()]) this.release(partition);
  }

  get sessionsCount(): number {
    return this.#sessions.size;
  }

  /** All cumulative acks told so far: sid → highest offset. */
  get ackedOffsets(): Record<number, number> {
    const acked: Record<number, number> = {};
    for (const { acks } of this.reports)
      for (const [sid, , offset] of acks) acked[sid] = Math.max(acked[sid] ?? 0, offset);
    return acked;
  }

  /** The next `count` messages to gateways are numbered, but never leave. */
  loseNext(count: number): void {
    this.#lossesDue = count;
  }

  /** Posts to recipients of one partition, and delivers to their sessions; returns the offset. */
  post(recipientIds: readonly string[], payload: object): number {
    const partition = partitionOf(TENANT, recipientIds[0] ?? "");
    const entry = this.ledger.append(partition, recipientIds, payload);
    const sessions = [...this.#sessions.values()].filter(
      (session) => session.partition === partition && entry.recipientIds.has(session.recipientId),
    );
    for (const gatewayId of new Set(sessions.map((session) => session.gatewayId))) {
      const mine = sessions.filter((session) => session.gatewayId === gatewayId);
      this.#deliver(
        gatewayId,
        partition,
        entry,
        mine.map(({ sid }) => sid),
      );
    }
    return entry.offset;
  }

  /** Sends an old entry again to every session of the recipient. */
  resend(recipientId: string, offset: number): void {
    const partition = partitionOf(TENANT, recipientId);
    const [entry] = this.ledger.after(partition, offset - 1, recipientId);
    if (entry === undefined) throw new Error("nothing to send again");
    for (const session of this.#sessions.values())
      if (session.recipientId === recipientId)
        this.#deliver(session.gatewayId, partition, entry, [session.sid], true);
  }

  beat(): Beat {
    return {
      memberId: this.ownerId,
      region: HOME,
      roles: ["worker"],
      isDraining: false,
      build: "test",
      owned: { [HOME]: [...this.#epochs] },
      links: Object.fromEntries(this.#seqs),
    };
  }

  /** As an owner that took the gateway for lost. */
  forgetGateways(): void {
    this.#seqs.clear();
    this.#sessions.clear();
  }

  /** Sends a message as it is; for what a healthy owner never does. */
  deliverRaw(gatewayId: string, items: Deliver["items"]): void {
    const seq = (this.#seqs.get(gatewayId) ?? 0) + 1;
    this.#seqs.set(gatewayId, seq);
    if (this.#lossesDue > 0) this.#lossesDue--;
    else {
      const deliver: Deliver = { ownerId: this.ownerId, seq, items };
      this.#bus.publish(subjects.memberDeliver(gatewayId), encodeMessage(deliver));
    }
  }

  #deliver(
    gatewayId: string,
    partition: number,
    entry: Entry,
    sids: number[],
    isResend = false,
  ): void {
    const { epoch } = this.ledger;
    const group = { home: HOME, partition, epoch, offset: entry.offset, isResend, sids };
    this.deliverRaw(gatewayId, [{ payload: entry.payload, groups: [group] }]);
  }

  #hear(partition: number, message: Message): void {
    const decoded = decodeMessage(partitionRequestSchema, message.data);
    if (decoded.kind === "malformed") throw new Error("the gateway sent what no schema knows");
    const request = decoded.message;
    if (request.kind === "open") {
      void this.answerAfter.then(() => this.#open(partition, request, message));
      return;
    }
    this.reports.push(request);
    for (const [sid] of request.closed) this.#sessions.delete(`${request.gatewayId}/${sid}`);
    const kept: ReportReply = { ownerId: this.ownerId };
    if (this.keepsReceipts) message.reply(encodeMessage(kept));
  }

  #open(
    partition: number,
    { gatewayId, sessions }: { gatewayId: string; sessions: SessionOpen[] },
    message: Message,
  ): void {
    this.opens.push(...sessions);
    const seq = this.#seqs.get(gatewayId) ?? 0;
    this.#seqs.set(gatewayId, seq);
    const tails: [SessionOpen, Entry[]][] = [];
    const results = sessions.map((session): OpenResult => {
      if (this.refuseWith !== undefined) return { kind: "refused", code: this.refuseWith };
      const { sid, recipientId, position } = session;
      this.#sessions.set(`${gatewayId}/${sid}`, { gatewayId, sid, partition, recipientId });
      const head = this.ledger.head(partition);
      const isLost =
        position !== null &&
        (position.epoch !== this.ledger.epoch || position.offset > this.ledger.head(partition));
      const offset = position === null || isLost ? head : position.offset;
      const tail = this.ledger.after(partition, offset, recipientId);
      tails.push([session, tail]);
      const { epoch } = this.ledger;
      const counts = { missed: tail.length, unread: tail.length };
      return { kind: "opened", index: sid + 1_000, recovered: !isLost, epoch, offset, ...counts };
    });
    const reply: OpenReply = { ownerId: this.ownerId, seq, results };
    const sendTails = (): void => {
      for (const [{ sid }, tail] of tails)
        for (const entry of tail) this.#deliver(gatewayId, partition, entry, [sid]);
    };
    if (this.isTailFirst) sendTails();
    message.reply(encodeMessage(reply));
    if (!this.isTailFirst) sendTails();
  }
}
