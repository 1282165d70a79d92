// apps/gateway/src/reports.ts
// Acks, reads, acknowledges and closed sessions, collected per partition and told to its owner.
//   GW12  The first of a quiet partition is told at once, the others at most `reportEveryMs` later.
//   GW13  While a partition has no owner, what is to be told waits: one ack per session, receipts up
//         to `reportReceiptsMax` of each kind, closed sessions up to `reportClosedMax`. Beyond, the
//         oldest go.
//   GW28  What is too much for one message is told in several: nothing twice, acks first.
//   GW34  A receipt is told again until its owner answers that it is in the ledger: a handover, a crash
//         or a lost message costs a delay. Nobody else would repeat it; an ack is repeated by the
//         session's place, which its owner hears whenever it opens the session again (SD4).
// A closed session that is not told costs a delay only. An owner that has lost this gateway, or the
// partition, knows the session no more, and the longest closed is the likeliest to be of that kind.
// One that still knows it hears of its end when it next sends to it (session-hub.ts); until then it
// counts among the sessions that its recipient may have.
import type { Bus } from "@carillon/bus";
import {
  decodeMessage,
  encodeMessage,
  reportReplySchema,
  type SessionReport,
  subjects,
  UNKNOWN_INDEX,
} from "@carillon/contracts";
import {
  backoffDelayMs,
  type BackoffOptions,
  type Clock,
  type Random,
  type Timer,
} from "@carillon/kernel";
import { partitionKey } from "./owner-view.ts";
import {
  type Receipt,
  type ReceiptBatch,
  type ReceiptKind,
  ReceiptQueue,
} from "./receipt-queue.ts";

/** The session as an owner knows it. */
export interface Reporter {
  readonly sid: number;
  readonly home: string;
  readonly partition: number;
  readonly index: number;
}

export interface ReportLimits {
  readonly reportEveryMs: number;
  readonly reportReceiptsMax: number; // per partition, of each kind
  readonly reportClosedMax: number; // per partition
  readonly reportEntriesMax: number; // of one message
  readonly receiptEntriesMax: number; // of one message that asks for an answer
  readonly receiptTimeoutMs: number;
  readonly receiptRetry: BackoffOptions;
}

interface Pending {
  readonly home: string;
  readonly partition: number;
  readonly acks: Map<number, Receipt>; // by sid, which is open or among `closed`
  readonly closed: Map<number, [sid: number, index: number]>; // by sid, longest closed first
  readonly receipts: ReceiptQueue;
  toldAtMs: number;
  wasRefused: boolean; // by the bus, the last time
  failuresCount: number; // of receipts, since the last answer
  retry: Timer | undefined; // receipts are not asked for before
}
type Entries = Pick<SessionReport, "acks" | "closed">;

export interface ReportsOptions {
  readonly gatewayId: string;
  readonly limits: ReportLimits;
  /** Whether somebody listens: an owner is known, or no session is left to wait for one. */
  readonly mayTell: (home: string, partition: number) => boolean;
}

export interface ReportsDeps {
  readonly bus: Pick<Bus, "publish" | "request">;
  readonly clock: Clock;
  readonly random: Random;
}

export class Reports {
  readonly #options: ReportsOptions;
  readonly #deps: ReportsDeps;
  readonly #pending = new Map<string, Pending>(); // at most one per partition
  #timer: Timer | undefined;
  #isStopped = false;
  #closedDroppedTotal = 0;

  constructor(options: ReportsOptions, deps: ReportsDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Receipts that had to make room for newer ones (GW13). Cost O(partitions), as the next two. */
  get receiptsDroppedTotal(): number {
    return this.#sum(({ receipts }) => receipts.droppedTotal);
  }

  /** Receipts of which an owner has been told, and not answered yet. */
  get receiptsAskedCount(): number {
    return this.#sum(({ receipts }) => receipts.askedCount);
  }

  /** Closed sessions, and their acks, that had to make room for newer ones (GW13). */
  get closedDroppedTotal(): number {
    return this.#closedDroppedTotal;
  }

  /** All that waits to be told. */
  get waitingCount(): number {
    return this.#sum((pending) => sizeOf(pending) + pending.receipts.waitingCount);
  }

  ack(session: Reporter, offset: number): void {
    const pending = this.#pendingOf(session);
    const known = pending.acks.get(session.sid);
    if (known === undefined) pending.acks.set(session.sid, [session.sid, session.index, offset]);
    else known[2] = Math.max(known[2], offset);
    this.#tellSoon(pending);
  }

  receipt(kind: ReceiptKind, session: Reporter, offset: number): void {
    const pending = this.#pendingOf(session);
    if (pending.receipts.isFull(kind)) this.#makeRoom(pending);
    pending.receipts.add(kind, [session.sid, session.index, offset]);
    this.#tellSoon(pending);
  }

  /** Told after the session's acks. Once, however often it is found closed meanwhile. */
  closed(session: Reporter): void {
    const { sid, index } = session;
    const pending = this.#pendingOf(session);
    const known = pending.closed.get(sid);
    const { reportClosedMax } = this.#options.limits;
    if (known === undefined) {
      if (pending.closed.size >= reportClosedMax) this.#makeRoom(pending);
      if (pending.closed.size >= reportClosedMax) this.#dropLongestClosed(pending);
      pending.closed.set(sid, [sid, index]);
    } else if (known[1] === UNKNOWN_INDEX) known[1] = index;
    this.#tellSoon(pending);
  }

  /** The partition has an owner again. */
  release(home: string, partition: number): void {
    const pending = this.#pending.get(partitionKey(home, partition));
    if (pending !== undefined) this.#tellNow(pending);
  }

  /** Tells everything that can be told now. */
  flush(): void {
    for (const pending of this.#pending.values()) this.#tellNow(pending);
  }

  stop(): void {
    this.flush();
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const pending of this.#pending.values()) endRetry(pending);
  }

  #tellSoon(pending: Pending): void {
    const { reportEveryMs } = this.#options.limits;
    const { clock } = this.#deps;
    if (clock.monotonicMs() - pending.toldAtMs >= reportEveryMs) {
      this.#tell(pending); // GW12
      return;
    }
    this.#timer ??= clock.setTimer(reportEveryMs, () => {
      this.#timer = undefined;
      for (const one of this.#pending.values()) this.#tell(one);
    });
  }

  /** Something has changed: receipts do not wait for their retry. */
  #tellNow(pending: Pending): void {
    endRetry(pending);
    this.#tell(pending);
  }

  #tell(pending: Pending): void {
    const { home, partition, receipts } = pending;
    const isAsking = receipts.waitingCount > 0 && pending.retry === undefined;
    if (sizeOf(pending) === 0 && !isAsking) return;
    if (!this.#options.mayTell(home, partition)) return; // GW13
    pending.toldAtMs = this.#deps.clock.monotonicMs(); // tried: a bus that is away is not asked each time
    this.#publish(pending);
    if (!isAsking || pending.wasRefused) return;
    const { receiptEntriesMax } = this.#options.limits;
    for (;;) {
      const batch = receipts.take(receiptEntriesMax);
      if (batch === undefined) return;
      void this.#ask(pending, batch);
    }
  }

  #publish(pending: Pending): void {
    const { gatewayId, limits } = this.#options;
    const subject = subjects.partitionSessions(pending.home, pending.partition);
    pending.wasRefused = false;
    while (sizeOf(pending) > 0) {
      const entries = firstOf(pending, limits.reportEntriesMax);
      const none = { reads: [], acknowledges: [] };
      const message: SessionReport = { kind: "report", gatewayId, ...entries, ...none };
      const outcome = this.#deps.bus.publish(subject, encodeMessage(message));
      pending.wasRefused = outcome.kind !== "sent";
      if (pending.wasRefused) return; // likewise
      remove(pending, entries);
    }
  }

  /** GW34. The answer comes once they are in the ledger, which may take a flush. */
  async #ask(pending: Pending, batch: ReceiptBatch): Promise<void> {
    const { bus, clock, random } = this.#deps;
    const { gatewayId, limits } = this.#options;
    const { home, partition, receipts } = pending;
    const { reads, acknowledges } = batch;
    const told = { reads: [...reads], acknowledges: [...acknowledges] };
    const message: SessionReport = { kind: "report", gatewayId, acks: [], ...told, closed: [] };
    const subject = subjects.partitionSessions(home, partition);
    const outcome = await bus.request(subject, encodeMessage(message), limits.receiptTimeoutMs);
    if (this.#isStopped) return;
    if (
      outcome.kind === "reply" &&
      decodeMessage(reportReplySchema, outcome.data).kind === "message"
    ) {
      receipts.kept(batch);
      pending.failuresCount = 0;
      if (receipts.waitingCount > 0) this.#tellSoon(pending); // there may have been no room to ask
      return;
    }
    receipts.putBack(batch);
    if (pending.retry !== undefined) return; // another of the same time has failed
    const delayMs = backoffDelayMs(limits.receiptRetry, ++pending.failuresCount, random);
    pending.retry = clock.setTimer(delayMs, () => this.#tellNow(pending));
  }

  /** Very much at once: told before its time, but not asked of a bus that is away (GW13). */
  #makeRoom(pending: Pending): void {
    if (!pending.wasRefused) this.#tell(pending);
  }

  #dropLongestClosed({ acks, closed }: Pending): void {
    const [sid = UNKNOWN_INDEX] = closed.keys();
    closed.delete(sid);
    acks.delete(sid);
    this.#closedDroppedTotal++;
  }

  #pendingOf({ home, partition }: Reporter): Pending {
    const key = partitionKey(home, partition);
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      const receipts = new ReceiptQueue(this.#options.limits.reportReceiptsMax);
      const lists = { acks: new Map(), closed: new Map(), receipts };
      const state = { toldAtMs: -Infinity, wasRefused: false, failuresCount: 0, retry: undefined };
      pending = { home, partition, ...lists, ...state };
      this.#pending.set(key, pending);
    }
    return pending;
  }

  #sum(of: (pending: Pending) => number): number {
    let sum = 0;
    for (const pending of this.#pending.values()) sum += of(pending);
    return sum;
  }
}

function endRetry(pending: Pending): void {
  pending.retry?.cancel();
  pending.retry = undefined;
}

/** Without receipts. */
function sizeOf({ acks, closed }: Pending): number {
  return acks.size + closed.size;
}

/** At most `countMax`, acks before all else (GW28). */
function firstOf({ acks, closed }: Pending, countMax: number): Entries {
  const first = [...acks.values()].slice(0, countMax);
  return { acks: first, closed: [...closed.values()].slice(0, countMax - first.length) };
}

function remove(pending: Pending, { acks, closed }: Entries): void {
  for (const [sid] of acks) pending.acks.delete(sid);
  for (const [sid] of closed) pending.closed.delete(sid);
}
