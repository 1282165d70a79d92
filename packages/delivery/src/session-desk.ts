// packages/delivery/src/session-desk.ts
// Opens sessions with everything they missed, and takes their acks and receipts (W2, W3).
//   SD1  Recovery is all or nothing: the whole tail follows, or `recovered` is false.
//   SD2  What is recovered leaves before anything that is handed later: offsets stay in order (D3). What
//        the pacer holds back is recovered, too, and not sent again when it is handed (SE2, ADR 0020).
//   SD3  A cumulative ack stands for everything sent to the recipient up to it.
//   SD4  So does the place where a session goes on, as far as it proves it (late-receipts.ts).
//   SD5  Who joins anew begins below all that the next owner may find open, and is sent what is above:
//        its place, which counts as an ack there, covers nothing that it was not sent (D1).
//   SD7  What a session would be sent is looked at before it opens: nothing is sent that is put off, and its
//        place covers nothing that is on its way to a later row, or of which it is not written that it is
//        not handed at all (RD4, DL4, DL5).
//   RC2  What is recalled is sent to no session that opens, and counted neither as missed nor as unread; what
//        withdraws it follows as an event of its own, in order (ADR 0032).
//   CB4  What ended for him unsent before its sender ended it, or expired in a pause, is shown by no recovery, and
//        no place tells that it was received; what he was sent before stays his.
//   SD8  What is on the shelf (shelf.ts), or waits for its rate (RA4), is no part of a recovery: it follows it, in
//        order, as it comes back.
import {
  LIMITS,
  type OpenReply,
  type OpenResult,
  type SessionOpen,
  type SessionReport,
  UNKNOWN_INDEX,
} from "@carillon/contracts";
import { type Clock, Fault } from "@carillon/kernel";
import type { DeliveryJournal } from "./delivery-journal.ts";
import type { GatewayOutbox } from "./gateway-outbox.ts";
import type { Intake } from "./intake.ts";
import { passedLate } from "./late-receipts.ts";
import type { LedgerEntry, Receipt } from "./ledger-entry.ts";
import type { Outcomes } from "./outcomes.ts";
import type { Partition } from "./partition.ts";
import type { LedgerStore } from "./ports.ts";
import type { ReceiptDesk, ReceiptOf } from "./receipt-desk.ts";
import type { Session } from "./session-table.ts";

export interface SessionDeskDeps {
  readonly ownerId: string;
  readonly home: string;
  readonly store: LedgerStore;
  readonly clock: Clock;
  readonly intake: Intake;
  readonly outbox: GatewayOutbox;
  /** Rows that one recovery may look at in the database. */
  readonly recoveryScanMax: number;
  readonly receipts: ReceiptDesk;
  readonly outcomes: Pick<
    Outcomes,
    "mayHand" | "mayPassOver" | "isRecalled" | "isWithheld" | "handed" | "failIfPoison"
  >;
  /** Writes what is dirty now. Rejects with a bug only. */
  flush(): Promise<unknown>;
  readonly journal: DeliveryJournal | undefined;
}

/** In each round something has been written; then the gateway asks again. */
const SETTLE_ROUNDS_MAX = 8;

/** What one session misses, as far as it had to be read from the database. */
interface Prepared {
  readonly wanted: SessionOpen;
  readonly index: number;
  /** Undefined: the tail cannot be served whole. */
  readonly fromStore: readonly LedgerEntry[] | undefined;
  /** Memory has to give what lies above it. */
  readonly afterOffset: number;
  /** What has been handed to him since is in memory, whatever the tail holds: it is pinned (SD8). */
  readonly isBehind: boolean;
}

interface Opening {
  readonly index: number;
  readonly session: Session;
  readonly missed: readonly Missed[];
}

interface Missed {
  readonly entry: LedgerEntry;
  readonly payload: string;
}

export class SessionDesk {
  readonly #deps: SessionDeskDeps;
  openingsCount = 0; // requests under way
  putOffCount = 0; // at SETTLE_ROUNDS_MAX

  constructor(deps: SessionDeskDeps) {
    this.#deps = deps;
  }

  /**
   * Answers by `reply`, exactly once, before anything is sent to the sessions. Rejects, without
   * an answer, with a Fault when the store is down; the gateway asks again.
   */
  async open(
    partition: Partition,
    request: { gatewayId: string; sessions: readonly SessionOpen[] },
    reply: (reply: OpenReply) => void,
  ): Promise<void> {
    const unpin = partition.pin();
    this.openingsCount++;
    try {
      const prepared: (Prepared | undefined)[] = [];
      for (const wanted of request.sessions) prepared.push(await this.#prepare(partition, wanted));
      for (let round = 1; this.#isHeldBack(partition, prepared); round++) {
        if (round > SETTLE_ROUNDS_MAX) {
          this.putOffCount++;
          throw new Fault("rows are put off", { code: "overloaded", isRetryable: true });
        }
        await this.#deps.flush(); // SD7: what comes in meanwhile is looked at in the next round
      }
      // From here on synchronous: nothing is handed between the tail and the session (SD2).
      const seq = this.#deps.outbox.seqAfterFlush(request.gatewayId);
      const openings: Opening[] = [];
      const results = prepared.map((one) =>
        this.#openOne(partition, { gatewayId: request.gatewayId, prepared: one, openings }),
      );
      const { ownerId } = this.#deps;
      reply({ ownerId, ownershipEpoch: partition.epoch, seq, results });
      for (const opening of openings) this.#sendMissed(partition, opening);
    } finally {
      unpin();
      this.openingsCount--;
    }
  }

  /** `onKept`: its receipts are in the ledger, if it has any (SD6). */
  report(partition: Partition, report: SessionReport, onKept: () => void): void {
    const { gatewayId, reads, acknowledges } = report;
    for (const [sid, index, offset] of report.acks) {
      const session = partition.sessions.find(index, gatewayId, sid);
      if (session !== undefined) this.#acked(partition, { index, session, offset });
    }
    if (reads.length + acknowledges.length > 0) {
      const receipts = [
        ...receiptsOf(gatewayId, reads, "read"),
        ...receiptsOf(gatewayId, acknowledges, "acknowledged"),
      ];
      this.#deps.receipts.take(partition, receipts, onKept);
    }
    const nowMs = this.#deps.clock.monotonicMs();
    const { sessions } = partition;
    for (const [sid, told] of report.closed) {
      const index = told === UNKNOWN_INDEX ? sessions.ownerOf(gatewayId, sid) : told;
      if (index !== undefined && sessions.close(index, gatewayId, sid, nowMs))
        tellClosed(partition, index);
    }
  }

  closeGateway(partition: Partition, gatewayId: string): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const index of partition.sessions.closeGateway(gatewayId, nowMs))
      tellClosed(partition, index);
  }

  async #prepare(partition: Partition, wanted: SessionOpen): Promise<Prepared | undefined> {
    const index = await this.#indexOf(partition, wanted);
    if (index === undefined) return undefined;
    const { position } = wanted;
    const isBehind = partition.isBehind(index);
    if (position === null) return { wanted, index, fromStore: [], afterOffset: 0, isBehind };
    const lost = { wanted, index, fromStore: undefined, afterOffset: 0, isBehind };
    if (position.epoch !== partition.ledgerEpoch || position.offset > partition.knownOffset)
      return lost;
    if (position.offset >= partition.tailFloor)
      return { wanted, index, fromStore: [], afterOffset: position.offset, isBehind };
    const upToOffset = partition.readyUpTo(index);
    const tail = await this.#deps.store.readTailOf(this.#deps.home, partition.partition, {
      index,
      afterOffset: position.offset,
      limitCount: LIMITS.recoveryMax + 1,
      scanMax: this.#deps.recoveryScanMax,
    });
    if (tail.kind === "tooFar") return lost;
    const rows = tail.rows.filter((row) => row.offset <= upToOffset);
    if (rows.length > LIMITS.recoveryMax) return lost;
    const fromStore = (await this.#deps.intake.entriesOf(rows)).map(
      (entry) => partition.entry(entry.offset) ?? entry, // memory is newer
    );
    const afterOffset = Math.max(upToOffset, position.offset);
    return { wanted, index, fromStore, afterOffset, isBehind };
  }

  /** Something that these would be sent is on its way to a later row. */
  #isHeldBack(partition: Partition, prepared: readonly (Prepared | undefined)[]): boolean {
    let isMoving = false;
    if (partition.isLost || (partition.openCount === 0 && partition.isWritten)) return false;
    const { outcomes } = this.#deps;
    const allowed = new Map<number, LedgerEntry[]>(); // by index: caps count these (PD1)
    for (const one of prepared) {
      if (one === undefined) continue;
      const before = allowed.get(one.index) ?? sentBefore(partition, one);
      allowed.set(one.index, before);
      for (const entry of missedOf(partition, one) ?? unsettledOf(partition, one.index))
        if (outcomes.isRecalled(entry))
          isMoving = !outcomes.mayPassOver(partition, one.index, entry) || isMoving;
        else if (entry.isPending(one.index) || entry.isLeaving(one.index)) {
          if (before.includes(entry)) continue;
          if (!outcomes.mayHand(partition, one.index, entry, before)) isMoving = true;
          else if (entry.isPending(one.index)) before.push(entry); // or it has just failed
        }
    }
    return isMoving;
  }

  #openOne(
    partition: Partition,
    asked: { gatewayId: string; prepared: Prepared | undefined; openings: Opening[] },
  ): OpenResult {
    const { gatewayId, prepared, openings } = asked;
    if (partition.isLost) return { kind: "refused", code: "not_owner" };
    if (prepared === undefined) return { kind: "refused", code: "unknown_recipient" };
    const { wanted, index } = prepared;
    if (!partition.sessions.mayOpen(index, gatewayId, wanted.sid))
      return { kind: "refused", code: "too_many_sessions" };
    const isShown = (entry: LedgerEntry): boolean =>
      !entry.isSuppressed(index) &&
      !this.#deps.outcomes.isRecalled(entry) && // RC2
      !this.#deps.outcomes.isWithheld(index, entry);
    const missed = missedOf(partition, prepared);
    const { handedOffset } = partition;
    const readyOffset = partition.readyUpTo(index); // SD8: from the shelf it goes on, in order
    const unsettled = missed ?? unsettledOf(partition, index);
    const firstOffset = unsettled[0]?.offset ?? readyOffset + 1;
    const missedEntries = this.#encoded(partition, index, unsettled.filter(isShown));
    const entries = missedEntries.map(({ entry }) => entry);
    const position = missed === undefined ? null : wanted.position;
    const offset = position?.offset ?? Math.min(readyOffset, firstOffset - 1);
    const ackedOffset = position === null ? 0 : Math.max(wanted.ackedOffset, 0);
    const place = { ackedOffset, sentOffset: position?.offset ?? 0 };
    const passed = passedLate(partition, index, {
      ...place,
      mayShow: (entry) => isShown(entry) || entry.wasSent(index), // RC2: it may have been passed over
    });
    const lateEntries = entries.filter(
      (entry) => !entry.isPending(index) && !entry.has("deliveredSocket", index),
    );
    const session: Session = {
      gatewayId,
      sid: wanted.sid,
      sentOffset: Math.max(readyOffset, Math.min(position?.offset ?? 0, handedOffset)),
      ackedOffset,
      lateOffsets: [
        ...passed.filter((late) => late > ackedOffset),
        ...lateEntries.map((entry) => entry.offset),
      ],
    };
    partition.sessions.open(index, session);
    if (position === null) partition.sessions.began(index, offset);
    const acked = passed.filter((late) => late <= ackedOffset);
    this.#late(partition, index, acked);
    openings.push({ index, session, missed: missedEntries });
    return {
      kind: "opened",
      index,
      recovered: missed !== undefined,
      epoch: partition.ledgerEpoch,
      offset,
      missed: entries.filter(isNotification).length,
      unread: partition
        .entriesOf(index, { afterOffset: 0, upToOffset: handedOffset })
        .filter((entry) => !entry.has("read", index) && isShown(entry) && isNotification(entry))
        .length,
    };
  }

  /** Before the answer: what cannot be encoded (poison.ts) is left out, and holds up nobody else's opening. */
  #encoded(partition: Partition, index: number, entries: readonly LedgerEntry[]): Missed[] {
    const locale = partition.directory.localeOf(index);
    return entries.flatMap((entry) => {
      try {
        return { entry, payload: entry.envelope.payloadFor(locale) };
      } catch {
        this.#deps.outcomes.failIfPoison(partition, index, entry);
        return [];
      }
    });
  }

  #sendMissed(partition: Partition, { index, session, missed }: Opening): void {
    for (const { entry, payload } of missed) {
      entry.markSent(index);
      const isReceived = entry.has("deliveredSocket", index) || entry.has("receivedLate", index);
      if (!isReceived && partition.entry(entry.offset) === entry)
        this.#deps.outcomes.handed(partition, index, entry);
      this.#deps.journal?.sent(partition, entry, { index, session, isResend: false });
      this.#deps.outbox.queue({
        gatewayId: session.gatewayId,
        event: entry.envelope.event,
        payload,
        partition: partition.partition,
        ledgerEpoch: partition.ledgerEpoch,
        offset: entry.offset,
        isResend: false,
        sid: session.sid,
      });
    }
    partition.table.cast(index, { kind: "opened" }, "control");
  }

  async #indexOf(partition: Partition, wanted: SessionOpen): Promise<number | undefined> {
    const { directory } = partition;
    const known = directory.indexOf(wanted.tenantId, wanted.recipientId);
    if (known !== undefined) return known;
    const heads = await this.#deps.store.readHeads(this.#deps.home, [partition.partition]);
    const version = heads[0]?.directoryVersion ?? 0;
    partition.wantedDirectoryVersion = Math.max(partition.wantedDirectoryVersion, version);
    await this.#deps.intake.refreshDirectory(partition);
    return directory.indexOf(wanted.tenantId, wanted.recipientId);
  }

  #acked(
    partition: Partition,
    { index, session, offset }: { index: number; session: Session; offset: number },
  ): void {
    if (offset <= session.ackedOffset) return;
    session.ackedOffset = Math.min(offset, session.sentOffset); // no ack for what was not sent
    const { lateOffsets } = session;
    if (lateOffsets.length > 0) {
      const acked = lateOffsets.filter((late) => late <= offset);
      this.#late(partition, index, acked);
      session.lateOffsets = lateOffsets.filter((late) => late > offset);
    }
    partition.table.cast(index, { kind: "acked", offset: session.ackedOffset }, "control");
  }

  /** No gateway tells these, and none waits for them. */
  #late(partition: Partition, index: number, offsets: readonly number[]): void {
    if (offsets.length === 0) return;
    const receipts = offsets.map((offset) => ({ index, offset, receipt: "receivedLate" }) as const);
    this.#deps.receipts.take(partition, receipts, () => undefined);
  }
}

/** Everything for the recipient above its position, terminal or not; undefined: lost (SD1). */
function missedOf(partition: Partition, prepared: Prepared): LedgerEntry[] | undefined {
  const { wanted, index, afterOffset, isBehind } = prepared;
  if (wanted.position === null) return unsettledOf(partition, index);
  const upToOffset = partition.readyUpTo(index);
  const fromStore = prepared.fromStore?.filter(({ offset }) => offset <= upToOffset); // RA4: it may wait since
  if (fromStore === undefined) return undefined;
  if (afterOffset < partition.tailFloor && !isBehind) return undefined;
  const range = { afterOffset, upToOffset };
  const standing = fromStore.filter((entry) => entry.isTargeted(index)); // SD7: others have left meanwhile
  const entries = [...standing, ...partition.entriesOf(index, range)];
  return entries.length > LIMITS.recoveryMax ? undefined : entries;
}

/** Open ones that an earlier owner has sent, as the place shows where the session goes on. */
function sentBefore(partition: Partition, { wanted, index }: Prepared): LedgerEntry[] {
  if (wanted.position === null) return [];
  const range = { afterOffset: 0, upToOffset: wanted.position.offset };
  return partition.entriesOf(index, range).filter((entry) => entry.isPending(index));
}

/** From the first on that is open, or whose outcome may be unwritten: terminal or not (SD5). */
function unsettledOf(partition: Partition, index: number): LedgerEntry[] {
  const range = { afterOffset: 0, upToOffset: partition.readyUpTo(index) };
  const entries = partition.entriesOf(index, range);
  const first = entries.findIndex((entry) => entry.isPending(index) || entry.isUnwritten(index));
  return first < 0 ? [] : entries.slice(first);
}

function isNotification({ envelope }: LedgerEntry): boolean {
  return envelope.event === "ntf";
}

function receiptsOf(
  gatewayId: string,
  told: SessionReport["reads"],
  receipt: Receipt,
): ReceiptOf[] {
  return told.map(([sid, index, offset]) => ({ index, offset, receipt, from: { gatewayId, sid } }));
}

function tellClosed(partition: Partition, index: number): void {
  partition.table.cast(index, { kind: "closed" }, "control");
}
