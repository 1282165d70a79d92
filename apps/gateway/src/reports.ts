// apps/gateway/src/reports.ts
// Acks, reads, acknowledges and closed sessions, collected per partition and told to its owner.
//   GW12  The first of a quiet partition is told at once, the others at most `reportEveryMs` later.
//   GW13  While a partition has no owner, what is to be told waits: one ack per session, receipts up
//         to `reportReceiptsMax` of each kind, closed sessions up to `reportClosedMax`. Beyond, the
//         oldest go.
//   GW28  What is too much for one message is told in several: nothing twice, acks first.
// A closed session that is not told costs a delay only. An owner that has lost this gateway, or the
// partition, knows the session no more, and the longest closed is the likeliest to be of that kind.
// One that still knows it hears of its end when it next sends to it (session-hub.ts); until then it
// counts among the sessions that its recipient may have.
import { encodeMessage, type SessionReport, subjects, UNKNOWN_INDEX } from "@carillon/contracts";
import type { Bus } from "@carillon/bus";
import type { Clock, Timer } from "@carillon/kernel";
import { partitionKey } from "./owner-view.ts";

/** The session as an owner knows it. */
export interface Reporter {
  readonly sid: number;
  readonly home: string;
  readonly partition: number;
  readonly index: number;
}
export type ReceiptKind = "reads" | "acknowledges";

export interface ReportLimits {
  readonly reportEveryMs: number;
  readonly reportReceiptsMax: number; // per partition, of each kind
  readonly reportClosedMax: number; // per partition
  readonly reportEntriesMax: number; // of one message
}

type Receipt = [sid: number, index: number, offset: number];
interface Pending {
  readonly home: string;
  readonly partition: number;
  readonly acks: Map<number, Receipt>; // by sid, which is open or among `closed`
  readonly reads: Receipt[];
  readonly acknowledges: Receipt[];
  readonly closed: Map<number, [sid: number, index: number]>; // by sid, longest closed first
  toldAtMs: number;
  wasRefused: boolean; // by the bus, the last time
}
type Entries = Pick<SessionReport, "acks" | "reads" | "acknowledges" | "closed">;

export interface ReportsOptions {
  readonly gatewayId: string;
  readonly limits: ReportLimits;
  /** Whether somebody listens: an owner is known, or no session is left to wait for one. */
  readonly mayTell: (home: string, partition: number) => boolean;
}

export class Reports {
  readonly #options: ReportsOptions;
  readonly #bus: Pick<Bus, "publish">;
  readonly #clock: Clock;
  readonly #pending = new Map<string, Pending>(); // at most one per partition
  #timer: Timer | undefined;
  #receiptsDroppedTotal = 0;
  #closedDroppedTotal = 0;

  constructor(options: ReportsOptions, bus: Pick<Bus, "publish">, clock: Clock) {
    this.#options = options;
    this.#bus = bus;
    this.#clock = clock;
  }

  /** Receipts that had to make room for newer ones (GW13). */
  get receiptsDroppedTotal(): number {
    return this.#receiptsDroppedTotal;
  }

  /** Closed sessions, and their acks, that had to make room for newer ones (GW13). */
  get closedDroppedTotal(): number {
    return this.#closedDroppedTotal;
  }

  /** All that waits to be told. Cost O(partitions). */
  get waitingCount(): number {
    let count = 0;
    for (const pending of this.#pending.values()) count += sizeOf(pending);
    return count;
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
    const { reportReceiptsMax } = this.#options.limits;
    if (pending[kind].length >= reportReceiptsMax) this.#makeRoom(pending);
    if (pending[kind].length >= reportReceiptsMax) {
      pending[kind].shift();
      this.#receiptsDroppedTotal++;
    }
    pending[kind].push([session.sid, session.index, offset]);
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
    if (pending !== undefined) this.#tell(pending);
  }

  /** Tells everything that can be told now. */
  flush(): void {
    for (const pending of this.#pending.values()) this.#tell(pending);
  }

  stop(): void {
    this.flush();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tellSoon(pending: Pending): void {
    const { reportEveryMs } = this.#options.limits;
    if (this.#clock.monotonicMs() - pending.toldAtMs >= reportEveryMs) {
      this.#tell(pending); // GW12
      return;
    }
    this.#timer ??= this.#clock.setTimer(reportEveryMs, () => {
      this.#timer = undefined;
      this.flush();
    });
  }

  #tell(pending: Pending): void {
    const { home, partition } = pending;
    if (sizeOf(pending) === 0 || !this.#options.mayTell(home, partition)) return; // GW13
    const subject = subjects.partitionSessions(home, partition);
    const { gatewayId, limits } = this.#options;
    pending.toldAtMs = this.#clock.monotonicMs(); // tried: a bus that is away is not asked each time
    do {
      const entries = firstOf(pending, limits.reportEntriesMax);
      const report: SessionReport = { kind: "report", gatewayId, ...entries };
      pending.wasRefused = this.#bus.publish(subject, encodeMessage(report)).kind !== "sent";
      if (pending.wasRefused) return; // likewise
      remove(pending, entries);
    } while (sizeOf(pending) > 0);
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
      pending = emptyPending(home, partition);
      this.#pending.set(key, pending);
    }
    return pending;
  }
}

function emptyPending(home: string, partition: number): Pending {
  const lists = { acks: new Map(), reads: [], acknowledges: [], closed: new Map() };
  return { home, partition, ...lists, toldAtMs: -Infinity, wasRefused: false };
}

function sizeOf({ acks, reads, acknowledges, closed }: Pending): number {
  return acks.size + reads.length + acknowledges.length + closed.size;
}

/** At most `countMax`, acks before all else (GW28). */
function firstOf(pending: Pending, countMax: number): Entries {
  let left = countMax;
  const take = <Entry>(all: readonly Entry[]): Entry[] => {
    const taken = all.slice(0, left);
    left -= taken.length;
    return taken;
  };
  const acks = take([...pending.acks.values()]);
  const reads = take(pending.reads);
  const acknowledges = take(pending.acknowledges);
  return { acks, reads, acknowledges, closed: take([...pending.closed.values()]) };
}

function remove(pending: Pending, { acks, reads, acknowledges, closed }: Entries): void {
  for (const [sid] of acks) pending.acks.delete(sid);
  pending.reads.splice(0, reads.length);
  pending.acknowledges.splice(0, acknowledges.length);
  for (const [sid] of closed) pending.closed.delete(sid);
}
