// packages/delivery/src/outcomes.ts
// What is decided about a recipient's notification, put into the partition's ledger.
import type { DeferReason } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { DeliveryJournal } from "./delivery-journal.ts";
import { type LedgerEntry, type Outcome, RECEIPT_SETS, type Suppression } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { Verdict, VerdictOf } from "./verdict.ts";

/** The database's clock, which releases, may be before this node's: else one row would follow the other. */
const DEFER_MIN_MS = 1_000;
/** Nobody was handed it, but for what expired on a socket. */
const UNSENT = ["noDevice", "expired", "failed"] as const satisfies readonly Outcome[];
const SUPERSEDED: Verdict = { kind: "suppress", outcome: "collapsed" };

export interface OutcomesDeps {
  /** An entry has been changed; written with the next flush. */
  onChanged(partition: Partition, entry: LedgerEntry): void;
  readonly clock: Pick<Clock, "wallClockMs">;
  onOutcome(outcome: Outcome, entry: LedgerEntry): void;
  readonly verdictOf: VerdictOf;
  isRecalled(entry: LedgerEntry): boolean;
  /** Its sender has ended it: what becomes of who has not been handed it. */
  endOf(entry: LedgerEntry): Suppression | undefined;
  isPaused(entry: LedgerEntry): boolean;
  readonly journal: DeliveryJournal | undefined;
  /** A session is handed it, or was by an earlier owner; maybe told again. */
  onHanded(partition: Partition, index: number, entry: LedgerEntry): void;
}

export class Outcomes {
  readonly #deps: OutcomesDeps;

  constructor(deps: OutcomesDeps) {
    this.#deps = deps;
  }

  /** `before`: what he is to be handed before it, by the same opening or turn. */
  verdictOf(
    partition: Partition,
    index: number,
    entry: LedgerEntry,
    before: readonly LedgerEntry[] = [],
  ): Verdict {
    const mayBeHanded = (newer: LedgerEntry): boolean =>
      !newer.isMoving(index) && this.#deps.verdictOf(partition, index, newer).kind === "allow";
    if (partition.collapse.isSuperseded(index, entry, mayBeHanded)) return SUPERSEDED; // CO1
    return this.#deps.verdictOf(partition, index, entry, before);
  }

  isRecalled(entry: LedgerEntry): boolean {
    return this.#deps.isRecalled(entry);
  }

  endOf(entry: LedgerEntry): Suppression | undefined {
    return this.#deps.endOf(entry);
  }

  /** CB4. It ended otherwise before its sender ended it, or expired in a pause, and nobody has handed it to him. */
  isWithheld(index: number, entry: LedgerEntry): boolean {
    if (entry.isPending(index) || entry.wasSent(index)) return false;
    if (this.#deps.isPaused(entry)) return entry.has("expired", index);
    if (this.#deps.endOf(entry) === undefined) return false;
    const wasUnsent = UNSENT.some((outcome) => entry.has(outcome, index));
    return wasUnsent && !RECEIPT_SETS.some((receipt) => entry.has(receipt, index));
  }

  record(partition: Partition, index: number, entry: LedgerEntry, outcome: Outcome): void {
    if (!entry.record(index, outcome)) return;
    if (outcome !== "deliveredSocket" && !entry.isSuppressed(index))
      partition.sessions.mayAckLate(index, entry.offset);
    if (outcome === "deliveredSocket") this.#deps.onHanded(partition, index, entry); // PD1
    this.#deps.onOutcome(outcome, entry);
    this.#deps.journal?.outcome(partition, index, entry, outcome);
    if (entry.state === "closed") partition.closedOne(entry);
    this.#deps.onChanged(partition, entry);
  }

  /**
   * The row made a turn of `index` throw. True: too often, here or for others, and it has failed for him
   * (poison.ts). False: he may try it again.
   */
  failIfPoison(partition: Partition, index: number, entry: LedgerEntry): boolean {
    if (!entry.isPending(index) || !partition.poison.isToFail(index, entry)) return false;
    this.#deps.journal?.deadLettered(partition, index, entry);
    this.record(partition, index, entry, "failed");
    return true;
  }

  handed(partition: Partition, index: number, entry: LedgerEntry): void {
    this.#deps.onHanded(partition, index, entry);
  }

  /** It leaves the row when that is written (DL4). `untilMs`: wall clock. */
  defer(
    partition: Partition,
    index: number,
    entry: LedgerEntry,
    { untilMs, reason }: { readonly untilMs: number; readonly reason: DeferReason },
  ): void {
    const latestMs = entry.envelope.notification.expiresAtMs; // then it gets that outcome
    const soonestMs = this.#deps.clock.wallClockMs() + DEFER_MIN_MS;
    const atMs = Math.max(Math.min(untilMs, latestMs), soonestMs);
    if (!entry.defer(index, atMs, reason)) return;
    const detail = { until: new Date(atMs).toISOString() };
    this.#deps.journal?.note(partition, index, entry, { kind: "deferred", code: reason, detail });
    this.#deps.onChanged(partition, entry);
  }

  /**
   * Of a pending one that a session would be sent outside of the process's turn, after those `before`. False: it is
   * on its way to a later row, or not to be handed at all, and that is not written (DL4, DL5); or nobody can tell.
   */
  mayHand(
    partition: Partition,
    index: number,
    entry: LedgerEntry,
    before: readonly LedgerEntry[] = [],
  ): boolean {
    if (entry.isLeaving(index)) return false;
    if (partition.sessions.of(index).some((session) => session.sentOffset >= entry.offset))
      return true; // one of them has it
    let verdict: Verdict;
    try {
      verdict = this.verdictOf(partition, index, entry, before);
    } catch {
      return this.failIfPoison(partition, index, entry); // asked again soon, as by the process
    }
    if (verdict.kind === "suppress") this.record(partition, index, entry, verdict.outcome);
    if (verdict.kind === "defer") this.defer(partition, index, entry, verdict);
    return verdict.kind === "allow";
  }

  /**
   * RC2. Of what is recalled: a session that opens is not sent it, and its place will cover it. False: what became
   * of it is not written, and the next owner would take the place for an ack (DL5).
   */
  mayPassOver(partition: Partition, index: number, entry: LedgerEntry): boolean {
    const isSent = entry.isPending(index) && this.mayHand(partition, index, entry);
    if (isSent) this.record(partition, index, entry, "unacked"); // another session's ack comes late then
    return !entry.isUnwritten(index) && !entry.isLeaving(index);
  }
}
