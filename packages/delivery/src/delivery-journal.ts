// packages/delivery/src/delivery-journal.ts
// The journal of deliveries: what was decided about a recipient's notification, when, by which owner, for
// "explain this delivery" (spec A4, ADR 0026). History for people; nothing is decided by it.
//   JO3  It never holds up a delivery: events go into a ring of their own, and a flusher of its own writes
//        them. At the limit the oldest goes, and is counted (D6).
//   JO4  Of the ring, failures of large audiences get half at most: a broadcast that expires must not push
//        out the stories of those who were named.
//   JO5  An event is written within a second while the store answers, and tried again while it does not;
//        what is written twice is once in the table. A crash costs what was not written yet.
//   JO6  A lost partition's events are still written. Nobody takes state from them, the table only grows, and
//        each carries the epoch under which it happened: what a second owner did is shown as such (D4).
import {
  backoffDelayMs,
  type BackoffOptions,
  type Clock,
  Fault,
  type Random,
  Ring,
  type Timer,
} from "@carillon/kernel";
import { isFailure, isKeptWhole, saltOf, sampledBelow, sampleHash } from "./journal-rule.ts";
import type { LedgerEntry, Outcome, Receipt } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { JournalEvent, JournalStore } from "./ports.ts";
import type { Session } from "./session-table.ts";

export interface JournalLimits {
  /** Of a large audience one recipient in so many is kept whole; 0: nobody. */
  readonly oneIn: number;
  readonly flushEveryMs: number;
  readonly eventsMax: number; // in memory, waiting
  readonly batchMax: number; // of one statement, and so many more in memory while it runs
}

export interface JournalDeps {
  readonly home: string;
  readonly node: string;
  readonly store: JournalStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: JournalLimits;
  readonly retry: BackoffOptions;
  onFault(cause: unknown): void;
  /** A bug in it. */
  readonly onCrash: (cause: unknown) => void;
}

/** What a later part of delivery tells: a deferral with its reason, an attempt with its provider's code. */
export interface JournalNote {
  readonly kind: string;
  readonly code: string | null;
  readonly detail?: Readonly<Record<string, string | number | boolean>>;
}

const CODE_CHARACTERS_MAX = 64;
const DETAIL_CHARACTERS_MAX = 500;

export class DeliveryJournal {
  readonly #deps: JournalDeps;
  readonly #waiting: Ring<JournalEvent>;
  #nextSeq = 1;
  #writtenCount = 0;
  #droppedCount = 0;
  #failuresCount = 0;
  readonly #sampledBelow: number;
  /** A row's recipients come one after another: what all of them share is worked out once. */
  #row: LedgerEntry | undefined;
  #isRowWhole = false;
  #rowSalt = 0;
  #timer: Timer | undefined;
  #flushing: Promise<void> | undefined;
  #isStopped = false;

  constructor(deps: JournalDeps) {
    this.#deps = deps;
    this.#waiting = new Ring(deps.limits.eventsMax);
    this.#sampledBelow = sampledBelow(deps.limits.oneIn);
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  get writtenCount(): number {
    return this.#writtenCount;
  }

  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** The recipient's process has it before it. By another owner than before: it goes on with it. */
  handed(partition: Partition, index: number, entry: LedgerEntry): void {
    if (this.#isKept(index, entry)) this.#add(partition, index, entry, "handed");
  }

  sent(
    partition: Partition,
    entry: LedgerEntry,
    to: { readonly index: number; readonly session: Session; readonly isResend: boolean },
  ): void {
    const { index, session, isResend } = to;
    if (!this.#isKept(index, entry)) return;
    const kind = isResend ? "resent" : "sent";
    const detail = `{"session":${session.sid}}`;
    this.#add(partition, index, entry, kind, session.gatewayId, detail);
  }

  outcome(partition: Partition, index: number, entry: LedgerEntry, outcome: Outcome): void {
    const isKept = this.#isKept(index, entry);
    if (!isKept && (!isFailure(outcome) || this.#isHalfFull())) return; // JO2, JO4
    const ackedBy =
      outcome === "deliveredSocket"
        ? partition.sessions.of(index).find(({ ackedOffset }) => ackedOffset >= entry.offset)
        : undefined;
    const detail =
      ackedBy === undefined ? null : `{"gateway":${JSON.stringify(ackedBy.gatewayId)}}`;
    this.#add(partition, index, entry, "outcome", outcome, detail);
  }

  receipt(partition: Partition, index: number, entry: LedgerEntry, receipt: Receipt): void {
    if (this.#isKept(index, entry)) this.#add(partition, index, entry, "receipt", receipt);
  }

  /** Its process crashed on it too often. */
  deadLettered(partition: Partition, index: number, entry: LedgerEntry): void {
    if (this.#isKept(index, entry) || !this.#isHalfFull())
      this.#add(partition, index, entry, "deadLettered");
  }

  note(partition: Partition, index: number, entry: LedgerEntry, note: JournalNote): void {
    if (!this.#isKept(index, entry)) return;
    const code = note.code?.slice(0, CODE_CHARACTERS_MAX).toWellFormed().replaceAll("\0", "");
    this.#add(partition, index, entry, note.kind, code ?? null, detailOf(note));
  }

  /** Writes what waits; ends when nothing does, or the store failed. Rejects with a bug only. */
  async flush(): Promise<void> {
    this.#flushing ??= this.#write().finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  /** As `flush`, for who does not wait for it. */
  flushSoon(): void {
    if (this.#waiting.length > 0) this.flush().catch(this.#deps.onCrash);
  }

  /** One more try to write what waits; what fails then is lost. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.flushSoon();
  }

  /** JO1. */
  #isKept(index: number, entry: LedgerEntry): boolean {
    if (entry !== this.#row) this.#turnTo(entry);
    return this.#isRowWhole || sampleHash(this.#rowSalt, index) < this.#sampledBelow;
  }

  #turnTo(entry: LedgerEntry): void {
    const { notification, audience } = entry.envelope;
    this.#row = entry;
    this.#isRowWhole = entry.members !== null || isKeptWhole(audience, entry.targetedCount);
    this.#rowSalt = saltOf(notification.id, entry.partition);
  }

  /** Only for those who are not kept whole: half of the ring is theirs. */
  #isHalfFull(): boolean {
    if (this.#waiting.length < this.#waiting.limitCount / 2) return false;
    this.#droppedCount++;
    return true;
  }

  #add(
    { partition, epoch }: Partition,
    index: number,
    entry: LedgerEntry,
    kind: string,
    code: string | null = null,
    detail: string | null = null,
  ): void {
    const atMs = this.#deps.clock.wallClockMs();
    const { id } = entry.envelope.notification;
    const event: JournalEvent = [
      partition,
      epoch,
      id,
      index,
      atMs,
      this.#nextSeq++,
      kind,
      code,
      detail,
    ];
    if (!this.#waiting.push(event)) {
      this.#waiting.shift(); // JO3
      this.#droppedCount++;
      this.#waiting.push(event);
    }
    if (this.#timer === undefined) this.#arm(this.#deps.limits.flushEveryMs);
  }

  #arm(delayMs: number): void {
    if (this.#isStopped) return;
    this.#timer = this.#deps.clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.flushSoon();
    });
  }

  async #write(): Promise<void> {
    const { store, home, node, limits, retry, random } = this.#deps;
    while (this.#waiting.length > 0) {
      const batch: JournalEvent[] = [];
      while (batch.length < limits.batchMax) {
        const event = this.#waiting.shift();
        if (event === undefined) break;
        batch.push(event);
      }
      try {
        await store.append(home, node, batch);
        this.#failuresCount = 0;
        this.#writtenCount += batch.length;
      } catch (cause) {
        if (!(cause instanceof Fault)) throw cause;
        this.#deps.onFault(cause);
        if (!cause.isRetryable || this.#isStopped) {
          this.#droppedCount += batch.length;
          continue;
        }
        this.#putBack(batch);
        this.#timer?.cancel();
        this.#arm(backoffDelayMs(retry, ++this.#failuresCount, random));
        return;
      }
    }
  }

  /** Before what came meanwhile; what has no room is the oldest (JO3). */
  #putBack(batch: readonly JournalEvent[]): void {
    const room = this.#waiting.limitCount - this.#waiting.length;
    const kept = batch.slice(Math.max(0, batch.length - room));
    this.#droppedCount += batch.length - kept.length;
    for (const event of kept.toReversed()) this.#waiting.unshift(event);
  }
}

/** JSON; null when it is too long, or holds what a JSON column cannot keep. */
function detailOf({ detail }: JournalNote): string | null {
  if (detail === undefined) return null;
  const json = JSON.stringify(detail);
  return json.length > DETAIL_CHARACTERS_MAX || json.includes("\\u") ? null : json;
}
