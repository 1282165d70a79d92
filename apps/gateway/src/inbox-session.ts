// apps/gateway/src/inbox-session.ts
// One joined `inbox` topic: what was put on its socket and what its client has acknowledged.
//   GW8   The answer to the join is written before any notification.
//   GW9   Offsets are written in ascending order, each once, but for resends (D3).
//   GW10  Nothing is acknowledged to the owner that was not written before.
//   GW35  A hint (`read`) moves no place: it is written if what it is about was, and otherwise dropped.
//   GW11  What arrives before the answer waits, at most `HELD_MAX`; more, and it is opened again.
import { INBOX_TOPIC, LIMITS } from "@carillon/contracts";
import type {
  Deliver,
  Frame,
  InboxJoin,
  InboxJoined,
  OpenResult,
  SessionOpen,
} from "@carillon/contracts";
import { isAccepted, type LinkMember, type LinkOwner, NOT_SYNCED } from "./partition-links.ts";
import { NO_SLOT, type Occupant } from "./process-slots.ts";

type DeliverItem = Deliver["items"][number];
/** With the event of its item. */
export type DeliverGroup = DeliverItem["groups"][number] & Pick<DeliverItem, "event">;
type Opened = Extract<OpenResult, { kind: "opened" }>;

/** A longest tail that is recovered, and what may be posted meanwhile. */
const HELD_MAX = LIMITS.recoveryMax + 256;

export interface Identity {
  readonly tenantId: string;
  readonly recipientId: string;
  readonly home: string;
  readonly expiresAtMs: number; // wall clock
}

/** The connection, as a session sees it. */
export interface SessionOutlet {
  reply(to: Reply): void;
  push(joinRef: string | null, event: "phx_error" | "phx_close"): void;
  writeFrame(frame: Buffer): void;
  /** A frame of its topic, in a turn of the session's process. */
  onFrame(session: InboxSession, frame: Frame, bytes: number): void;
  /** A frame of its topic that the session has not handled, and will not. */
  again(frame: Frame, bytes: number): void;
  /** The session has ended by itself; its topic can be joined again. */
  onEnded(session: InboxSession): void;
}
export interface Reply {
  readonly joinRef: string | null;
  readonly ref: string | null; // null: nobody waits for it, nothing is written
  readonly topic: string;
  readonly status: "ok" | "error";
  readonly response: object;
}

interface Held {
  readonly ownerId: string;
  readonly seq: number;
  readonly group: DeliverGroup;
  readonly frame: Buffer;
}

/** What became of one delivery. `again`: seen before; `reack`: the owner missed the ack. */
export type Accepted = "written" | "again" | "reack" | "lost";

export class InboxSession implements LinkMember, Occupant {
  readonly sid: number;
  readonly identity: Identity;
  readonly home: string;
  readonly partition: number;
  readonly joinRef: string | null;
  readonly joinDeadlineMs: number; // monotonic
  slot = NO_SLOT;
  link: LinkOwner | null = null;
  syncedSeq = NOT_SYNCED;
  isOpening = false;
  phase: "joining" | "joined" | "ended" = "joining";
  index = -1; // the recipient's, told by the owner
  ackedOffset: number;
  #sentOffset: number;
  #epoch: string | null; // null: the client has no position
  #held: Held[] = [];
  #hasOverflown = false;
  readonly #device: string;
  readonly #joinReplyRef: string | null;
  readonly #outlet: SessionOutlet;

  constructor(options: {
    readonly sid: number;
    readonly identity: Identity;
    readonly partition: number;
    readonly joinRef: string | null;
    readonly ref: string | null;
    readonly join: InboxJoin;
    readonly joinDeadlineMs: number;
    readonly outlet: SessionOutlet;
  }) {
    const { join } = options;
    this.sid = options.sid;
    this.identity = options.identity;
    this.home = options.identity.home;
    this.partition = options.partition;
    this.joinRef = options.joinRef;
    this.joinDeadlineMs = options.joinDeadlineMs;
    this.#joinReplyRef = options.ref;
    this.#outlet = options.outlet;
    this.#device = join.device ?? "";
    this.#sentOffset = join.offset ?? 0;
    this.#epoch = join.epoch ?? null;
    this.ackedOffset = this.#sentOffset; // who resumes after N has N
  }

  get processKey(): string {
    return `${this.identity.tenantId}/${this.identity.recipientId}#${this.sid}`;
  }

  get sentOffset(): number {
    return this.#sentOffset;
  }

  /** As the owner is asked; empties what was held for an earlier question. */
  openRequest(): SessionOpen {
    this.#held = [];
    this.#hasOverflown = false;
    return {
      sid: this.sid,
      tenantId: this.identity.tenantId,
      recipientId: this.identity.recipientId,
      position: this.#epoch === null ? null : { offset: this.#sentOffset, epoch: this.#epoch },
      ackedOffset: this.ackedOffset,
      device: this.#device,
    };
  }

  /** Too much came before the answer: what it says cannot be continued (GW11). */
  get mustReopen(): boolean {
    return this.#hasOverflown;
  }

  /** Keeps a delivery that came while the open request is on the way. */
  hold(held: Held): void {
    if (this.#held.length < HELD_MAX) this.#held.push(held);
    else this.#hasOverflown = true;
  }

  /** The owner has opened it: the first time, or again after a loss; `index` is told. False: it has ended. */
  onOpened(result: Opened): boolean {
    if (this.phase === "joined") {
      const isContinued = result.recovered && result.epoch === this.#epoch;
      if (!isContinued) this.fail();
      return isContinued;
    }
    this.phase = "joined";
    if (!result.recovered || result.epoch !== this.#epoch) this.ackedOffset = 0;
    this.#sentOffset = result.offset;
    this.#epoch = result.epoch;
    const { recovered, epoch, offset, missed, unread } = result;
    const response: InboxJoined = { recovered, epoch, offset, missed, unread };
    this.#replyToJoin("ok", response); // GW8
    return true;
  }

  /** What was held and is still good, in order. Call after the link is synced. */
  takeHeld(): Held[] {
    const held = this.#held;
    this.#held = [];
    return held.filter(({ ownerId, seq }) => isAccepted(this, ownerId, seq));
  }

  accept(group: DeliverGroup, frame: Buffer): Accepted {
    const { offset, isResend, event } = group;
    if (group.epoch !== this.#epoch) {
      this.fail(); // the ledger began anew: the client must join with what it has
      return "lost";
    }
    if (event === "read") {
      if (offset <= this.#sentOffset) this.#outlet.writeFrame(frame); // GW35
      return "again";
    }
    if (offset <= this.#sentOffset) {
      if (!isResend) return "again";
      if (offset <= this.ackedOffset) return "reack";
    } else this.#sentOffset = offset;
    this.#outlet.writeFrame(frame);
    return "written";
  }

  /** A frame of its client, in a turn of its process. */
  handle(frame: Frame, bytes: number): void {
    this.#outlet.onFrame(this, frame, bytes);
  }

  /** A frame that its process could not handle any more. */
  handBack(frame: Frame, bytes: number): void {
    this.#outlet.again(frame, bytes);
  }

  /** Refused for good while joining: the client hears why. */
  refuse(reason: string): void {
    this.phase = "ended";
    this.#replyToJoin("error", { reason });
    this.#outlet.onEnded(this);
  }

  /** Ends a joined session so that the client joins again (W11). */
  fail(): void {
    if (this.phase === "joining") return this.refuse("unavailable");
    if (this.phase === "ended") return;
    this.phase = "ended";
    this.#outlet.push(this.joinRef, "phx_error");
    this.#outlet.onEnded(this);
  }

  /** Ended from the other side; nothing is written any more. */
  end(): void {
    this.phase = "ended";
    this.#held = [];
  }

  #replyToJoin(status: Reply["status"], response: object): void {
    const { joinRef } = this;
    this.#outlet.reply({ joinRef, ref: this.#joinReplyRef, topic: INBOX_TOPIC, status, response });
  }
}
