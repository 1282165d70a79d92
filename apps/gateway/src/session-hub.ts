// apps/gateway/src/session-hub.ts
// All sessions of this gateway, and the messages between them and the owners of their partitions.
// Decisions are PartitionLinks' and InboxSession's; here they are carried out. Each session is a
// process: its client's frames and its timer are its messages. What its owner sends is written at
// once, since whether it counts depends on the links as they are at that moment (GW2, GW4); no
// handler of a session waits, so that it comes between two turns. Invariants:
//   GW15  A session that crashes ends alone, whoever called it: its client hears phx_error and its
//         owner that it is closed; from the throw on nothing is written for it (W11).
//   GW16  A loss that was noticed is repaired at once: what depends on it is opened again.
import type { Bus, Message, Subscription } from "@carillon/bus";
import {
  type Beat,
  decodeMessage,
  type Deliver,
  deliverSchema,
  type Frame,
  type OpenReply,
  type OpenResult,
  subjects,
  UNKNOWN_INDEX,
} from "@carillon/contracts";
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import type { CastOutcome } from "@carillon/process";
import type { DeliverGroup, InboxSession } from "./inbox-session.ts";
import type { GatewayLog } from "./log.ts";
import { encodeNtfFrame } from "./ntf-frame.ts";
import { type OpenLimits, Opener } from "./opener.ts";
import { partitionKey } from "./owner-view.ts";
import {
  isAccepted,
  type OpenBatch,
  type PartitionLink,
  PartitionLinks,
} from "./partition-links.ts";
import type { Processes } from "./processes.ts";
import type { ProcessSlots } from "./process-slots.ts";
import type { ReceiptKind } from "./receipt-queue.ts";
import { type ReportLimits, Reports } from "./reports.ts";

/** Beats of all members, own region and others; packages/cluster's Membership is one. */
export interface MemberEvents {
  onBeat(listener: (beat: Beat) => void): void;
  onMemberLost(listener: (memberId: string) => void): void;
}

export interface HubDeps {
  readonly memberId: string;
  readonly bus: Bus;
  readonly members: MemberEvents;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: GatewayLog;
  readonly processes: Processes;
  readonly openLimits: OpenLimits;
  readonly reportLimits: ReportLimits;
}

export interface HubStats {
  readonly sessionsCount: number;
  readonly partitionsCount: number;
  readonly partitionsUnsyncedCount: number;
  readonly openRequestsTotal: number;
  readonly writtenTotal: number; // notifications put on sockets
  readonly resyncsTotal: number; // partitions that became unsynced
  readonly strayDeliveriesTotal: number; // for sessions that are gone or not synced
  readonly heldTotal: number;
  readonly malformedTotal: number;
  readonly crashesTotal: number;
  readonly reportsWaitingCount: number; // acks, receipts and closed sessions not told yet
  readonly receiptsAskedCount: number; // told, and not yet in the ledger for all that is known here
  readonly receiptsDroppedTotal: number;
  readonly closedDroppedTotal: number; // closed sessions, told to their owner by and by
}

type SessionMessage =
  | { readonly kind: "join"; readonly bytes: 0 } // always the first
  | {
      readonly kind: "frame";
      readonly session: InboxSession;
      readonly frame: Frame;
      readonly bytes: number;
    };
const JOIN: SessionMessage = { kind: "join", bytes: 0 };

export class SessionHub {
  readonly #deps: HubDeps;
  readonly #links: PartitionLinks<InboxSession>;
  readonly #reports: Reports;
  readonly #opener: Opener;
  readonly #sessions = new Map<number, InboxSession>();
  readonly #slots: ProcessSlots<InboxSession, SessionMessage>;
  readonly #counts = { written: 0, resyncs: 0, strays: 0, held: 0, malformed: 0, crashes: 0 };
  #subscription: Subscription | undefined;

  constructor(deps: HubDeps) {
    this.#deps = deps;
    const { bus, clock, scheduler, random, memberId: gatewayId } = deps;
    const links = new PartitionLinks<InboxSession>(gatewayId);
    this.#links = links;
    const mayTell = (home: string, partition: number): boolean =>
      links.get(home, partition)?.ownerId !== null; // no link: nobody to wait for
    const reporting = { gatewayId, limits: deps.reportLimits, mayTell };
    this.#reports = new Reports(reporting, { bus, clock, random });
    this.#opener = new Opener({
      gatewayId,
      bus,
      clock,
      scheduler,
      random,
      limits: deps.openLimits,
      links,
      onAnswer: (batch, reply) => this.#onAnswer(batch, reply),
      onMalformed: () => void this.#counts.malformed++,
    });
    this.#slots = deps.processes.kind<InboxSession, SessionMessage>("sessions", {
      onCast: (session, message, context) => {
        if (message.kind === "frame") return session.handle(message.frame, message.bytes);
        const delayMs = session.joinDeadlineMs - clock.monotonicMs();
        if (delayMs < Infinity) context.setTimer(Math.max(0, delayMs));
        this.#opener.request(links.join(session));
      },
      onTimer: (session) => {
        if (session.phase === "joining") session.refuse("unavailable"); // its client tries again
      },
      onDrop: (message) => {
        if (message.kind === "frame") message.session.handBack(message.frame, message.bytes);
      },
      onStop: (session) => this.#end(session),
      onCrash: (session) => {
        this.#counts.crashes++;
        this.#end(session);
      },
    });
  }

  start(): void {
    const { bus, members, memberId } = this.#deps;
    const subject = subjects.memberDeliver(memberId);
    const onMessage = (message: Message): void => this.#onDeliver(message);
    this.#subscription = bus.subscribe(subject, onMessage, { isSole: true });
    members.onBeat((beat) => {
      const { unsynced, ready } = this.#links.onBeat(beat);
      this.#resync(unsynced, "beat");
      for (const link of ready) this.#opener.hurry(link);
    });
    members.onMemberLost((id) => this.#resync(this.#links.onMemberLost(id), "owner_lost"));
    bus.onConnection((isConnected) => {
      if (!isConnected) return;
      this.#resync(this.#links.onReconnected(), "reconnected");
      this.#reports.flush(); // of partitions that have no session here any more
    });
  }

  stop(): void {
    this.#subscription?.unsubscribe();
    this.#opener.stop();
    this.#reports.stop();
  }

  /**
   * Begins the session's process, which has it opened at its partition's owner; the answer is
   * written when it comes.
   */
  open(session: InboxSession): void {
    this.#sessions.set(session.sid, session);
    if (!this.#slots.spawn(session)) return session.refuse("unavailable"); // the gateway has stopped
    this.#slots.cast(session, JOIN);
  }

  /** A frame of the session's client, for its process. */
  cast(session: InboxSession, frame: Frame, bytes: number): CastOutcome {
    return this.#slots.cast(session, { kind: "frame", session, frame, bytes });
  }

  /** The session is over, whoever ended it. Safe to call twice. */
  close(session: InboxSession): void {
    try {
      this.#release(session);
    } finally {
      this.#slots.exit(session);
    }
  }

  /** Cumulative; the owner hears of it soon, and again after a loss. */
  ack(session: InboxSession, offset: number): void {
    session.ackedOffset = Math.max(session.ackedOffset, offset);
    this.#reports.ack(session, session.ackedOffset);
  }

  receipt(kind: ReceiptKind, session: InboxSession, offset: number): void {
    this.#reports.receipt(kind, session, offset);
  }

  stats(): HubStats {
    const counts = this.#counts;
    return {
      sessionsCount: this.#sessions.size,
      partitionsCount: this.#links.size,
      partitionsUnsyncedCount: this.#links.unsyncedCount,
      openRequestsTotal: this.#opener.requestsTotal,
      writtenTotal: counts.written,
      resyncsTotal: counts.resyncs,
      strayDeliveriesTotal: counts.strays,
      heldTotal: counts.held,
      malformedTotal: counts.malformed,
      crashesTotal: counts.crashes,
      reportsWaitingCount: this.#reports.waitingCount,
      receiptsAskedCount: this.#reports.receiptsAskedCount,
      receiptsDroppedTotal: this.#reports.receiptsDroppedTotal,
      closedDroppedTotal: this.#reports.closedDroppedTotal,
    };
  }

  #onDeliver(message: Message): void {
    const decoded = decodeMessage(deliverSchema, message.data);
    if (decoded.kind === "malformed") {
      this.#counts.malformed++; // its seq is missing now, which is noticed like a loss
      return;
    }
    const { ownerId, seq, items } = decoded.message;
    this.#resync(this.#links.observe(ownerId, seq), "gap");
    for (const item of items) this.#deliverItem(item, ownerId, seq);
  }

  #deliverItem(item: Deliver["items"][number], ownerId: string, seq: number): void {
    const { event } = item;
    const bytes = Buffer.from(item.payload);
    for (const one of item.groups) {
      const group = event === undefined ? one : { ...one, event };
      let frame: Buffer | undefined; // built for the first who gets it
      for (const sid of group.sids) {
        const session = this.#sessions.get(sid);
        if (session !== undefined && isAccepted(session, ownerId, seq)) {
          frame ??= encodeNtfFrame(bytes, group);
          this.#accept(session, group, frame);
        } else if (session?.isOpening === true) {
          frame ??= encodeNtfFrame(bytes, group);
          session.hold({ ownerId, seq, group, frame });
          this.#counts.held++;
        } else this.#stray(group, sid);
      }
    }
  }

  /** Not synced, or gone: then its owner has missed the report of its end, and is told again. */
  #stray({ home, partition }: DeliverGroup, sid: number): void {
    this.#counts.strays++;
    if (!this.#sessions.has(sid))
      this.#reports.closed({ sid, home, partition, index: UNKNOWN_INDEX });
  }

  #accept(session: InboxSession, group: DeliverGroup, frame: Buffer): void {
    try {
      const accepted = session.accept(group, frame);
      if (accepted === "written") this.#counts.written++;
      else if (accepted === "reack") this.#reports.ack(session, session.ackedOffset);
    } catch (cause) {
      this.#fail(session, "delivery", cause);
    }
  }

  #onAnswer(batch: OpenBatch<InboxSession>, reply: OpenReply): void {
    const { members, link } = batch;
    const isOpened = reply.results.map(
      (result, index) => result.kind === "opened" && members[index]?.mustReopen === false,
    );
    const settled = this.#links.settle(batch, reply, isOpened);
    reply.results.forEach((result, index) => {
      const session = members[index];
      if (session === undefined) return;
      try {
        this.#onResult(session, result, settled === "synced" && isOpened[index] === true);
      } catch (cause) {
        this.#fail(session, "opening", cause);
      }
    });
    if (settled === "synced") this.#reports.release(link.home, link.partition);
    if (settled === "stale") this.#opener.hurry(link);
  }

  #onResult(session: InboxSession, result: OpenResult, isSynced: boolean): void {
    if (result.kind === "refused") {
      if (result.code === "not_owner" || result.code === "overloaded") return; // asked again
      if (session.phase === "joined") session.fail();
      else if (session.phase === "joining") session.refuse(result.code);
      return;
    }
    session.index = result.index;
    if (session.phase === "ended") {
      this.#reports.closed(session); // closed while it was being opened
      return;
    }
    if (!isSynced || session.link === null || !session.onOpened(result)) return;
    for (const { group, frame } of session.takeHeld()) this.#accept(session, group, frame);
  }

  #resync(links: readonly PartitionLink<InboxSession>[], reason: string): void {
    if (links.length === 0) return;
    this.#counts.resyncs += links.length;
    this.#deps.log.warn("gateway.resync", { reason, partitionsCount: links.length });
    for (const link of links) this.#opener.hurry(link);
  }

  /** GW15: not among the links any more, so that nothing is written after what may be missing. */
  #fail(session: InboxSession, kind: string, cause: unknown): void {
    this.#links.leave(session);
    this.#slots.fail(session, kind, cause);
  }

  /** Its process has ended. A client that was not told yet hears phx_error, and joins again. */
  #end(session: InboxSession): void {
    try {
      session.fail();
    } finally {
      this.#release(session);
    }
  }

  /** What it holds here goes, and its owner is told. Safe to call twice. */
  #release(session: InboxSession): void {
    if (!this.#sessions.delete(session.sid)) return;
    session.end();
    this.#links.leave(session);
    if (session.index >= 0) this.#reports.closed(session);
    const { home, partition } = session;
    if (this.#links.get(home, partition) === undefined) {
      this.#opener.forget(partitionKey(home, partition));
      this.#reports.release(home, partition);
    }
  }
}
