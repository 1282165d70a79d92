// apps/gateway/src/reports.ts
// Acks, reads, acknowledges and closed sessions, collected per partition and told to its owner.
//   GW12  The first of a quiet partition is told at once, the others at most `everyMs` later.
//   GW13  While a partition has no owner, what is to be told waits: acks by their highest offset,
//         the rest up to `RECEIPTS_MAX`.
import { encodeMessage, type SessionReport, subjects } from "@carillon/contracts";
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

const RECEIPTS_MAX = 10_000; // per partition; only an owner that is long away fills it

interface Pending {
  readonly home: string;
  readonly partition: number;
  readonly acks: Map<number, [sid: number, index: number, offset: number]>;
  readonly reads: [sid: number, index: number, offset: number][];
  readonly acknowledges: [sid: number, index: number, offset: number][];
  readonly closed: [sid: number, index: number][];
  readonly toldAtMs: number;
}

export interface ReportsOptions {
  readonly gatewayId: string;
  readonly everyMs: number;
  /** Whether somebody listens: an owner is known, or no session is left to wait for one. */
  readonly mayTell: (home: string, partition: number) => boolean;
}

export class Reports {
  readonly #options: ReportsOptions;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #pending = new Map<string, Pending>(); // at most one per partition
  #timer: Timer | undefined;
  #droppedTotal = 0;

  constructor(options: ReportsOptions, bus: Bus, clock: Clock) {
    this.#options = options;
    this.#bus = bus;
    this.#clock = clock;
  }

  /** Receipts that had to make room for newer ones (GW13). */
  get droppedTotal(): number {
    return this.#droppedTotal;
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
    if (pending[kind].length >= RECEIPTS_MAX) {
      pending[kind].shift();
      this.#droppedTotal++;
    }
    pending[kind].push([session.sid, session.index, offset]);
    this.#tellSoon(pending);
  }

  /** Told after the session's acks, in the same message. */
  closed(session: Reporter): void {
    const pending = this.#pendingOf(session);
    pending.closed.push([session.sid, session.index]);
    this.#tellSoon(pending);
  }

  /** The partition has an owner again. */
  release(home: string, partition: number): void {
    const pending = this.#pending.get(partitionKey(home, partition));
    if (pending !== undefined && !isEmpty(pending)) this.#tell(pending);
  }

  /** Tells everything that can be told now. */
  flush(): void {
    for (const pending of this.#pending.values()) if (!isEmpty(pending)) this.#tell(pending);
  }

  stop(): void {
    this.flush();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tellSoon(pending: Pending): void {
    if (this.#clock.monotonicMs() - pending.toldAtMs >= this.#options.everyMs) {
      this.#tell(pending); // GW12
      return;
    }
    this.#timer ??= this.#clock.setTimer(this.#options.everyMs, () => {
      this.#timer = undefined;
      this.flush();
    });
  }

  #tell(pending: Pending): void {
    const { home, partition, acks, reads, acknowledges, closed } = pending;
    if (!this.#options.mayTell(home, partition)) return; // GW13: `release` comes later
    const report: SessionReport = {
      kind: "report",
      gatewayId: this.#options.gatewayId,
      acks: [...acks.values()],
      reads,
      acknowledges,
      closed,
    };
    const subject = subjects.partitionSessions(home, partition);
    if (this.#bus.publish(subject, encodeMessage(report)).kind !== "sent") return; // likewise
    this.#pending.set(partitionKey(home, partition), {
      ...emptyPending(home, partition),
      toldAtMs: this.#clock.monotonicMs(),
    });
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
  const lists = { acks: new Map(), reads: [], acknowledges: [], closed: [] };
  return { home, partition, ...lists, toldAtMs: -Infinity };
}

function isEmpty({ acks, reads, acknowledges, closed }: Pending): boolean {
  return acks.size + reads.length + acknowledges.length + closed.length === 0;
}
