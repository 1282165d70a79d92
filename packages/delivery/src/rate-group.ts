// packages/delivery/src/rate-group.ts
// The rows of one notification at one owner, which hands them at a rate (ADR 0033). No timer, no I/O.
//   RA2  In any span of t seconds it hands at most its share of rate × (t + BURST) and one: its share is what its
//        partitions have of all whom the notification comes to, so that no owner needs to know of the others.
//   RA3  Its rows are handed evenly: at any time of each the same part, to one recipient.
import { assert } from "@carillon/kernel";
import type { HeldRow } from "./held-row.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";

/** Of a whole notification, over all owners. */
export interface Pace {
  readonly perMs: number; // 0: nobody is handed it now
  readonly targetedCount: number;
}

export interface HeldPlace {
  readonly partition: Partition;
  readonly row: HeldRow;
}

interface RatedRow extends HeldPlace {
  /** Which part of it is handed when its next recipient is: rows are served in this order (RA3). */
  nextAtShare: number;
}

/** What was not handed in time, since the thread or the lane was busy, is made good for as long. */
const BURST_MS = 1_000;
/** A timer is armed for the instant at which a token is whole, and sums of parts are not. */
const ROUNDING = 1e-6;
const GOLDEN = 0.618_033_988_749_895; // its multiples are spread evenly, however many there are

export class RateGroup {
  /** Of any of its rows: they are of one notification. */
  readonly entry: LedgerEntry;
  /** It waits in its lane for its turn; else for its next token. */
  isQueued = false;
  /** Of the timer that it waits for; key 0: none. */
  timerKey = 0;
  timerHandle = 0;
  readonly #phase: number;
  #rows: RatedRow[] = []; // by nextAtShare
  /** How many each partition has of the notification. */
  readonly #weights = new Map<Partition, number>();
  #weight = 0;
  #pace: Pace;
  #handedShare = 0;
  #tokens: number;
  #countedAtMs: number;

  /** `phase`: 0 to 1, another one for each owner and notification, so that their first ones are spread. */
  constructor(entry: LedgerEntry, start: { readonly pace: Pace; phase: number; nowMs: number }) {
    this.entry = entry;
    this.#pace = start.pace;
    this.#phase = start.phase;
    this.#tokens = 1 - start.phase;
    this.#countedAtMs = start.nowMs;
  }

  get rowsCount(): number {
    return this.#rows.length;
  }

  add({ partition, row }: HeldPlace, nowMs: number): void {
    this.#count(nowMs);
    const { targetedCount } = row.entry;
    assert(targetedCount > 0, "RA2 a row that is held is for somebody");
    // Of a notification a partition may have several rows; who is in a later one was in the first (ADR 0022).
    const known = this.#weights.get(partition) ?? 0;
    this.#weights.set(partition, Math.max(known, targetedCount));
    this.#weight += Math.max(0, targetedCount - known);
    const phase = (this.#phase + partition.partition * GOLDEN) % 1;
    partition.rated(row, true);
    this.#insert({ partition, row, nextAtShare: this.#handedShare + phase / targetedCount });
  }

  setPace(pace: Pace, nowMs: number): void {
    this.#count(nowMs);
    this.#pace = pace;
  }

  /** How many may be handed now. */
  readyCount(nowMs: number): number {
    if (this.#rows.length === 0) return 0;
    this.#count(nowMs);
    return Math.floor(this.#tokens + ROUNDING);
  }

  /** Until one may be handed; Infinity: not at this pace. */
  waitMs(nowMs: number): number {
    this.#count(nowMs);
    const perMs = this.#ownPerMs();
    return perMs === 0 ? Infinity : Math.max(0, 1 - this.#tokens) / perMs;
  }

  /** Hands up to `countMax`, as far as there are tokens; `hand` says how many it has handed of a row. */
  serve(
    nowMs: number,
    countMax: number,
    hand: (place: HeldPlace, countMax: number) => number,
  ): number {
    const mayCount = Math.min(countMax, this.readyCount(nowMs));
    let leftCount = mayCount;
    while (leftCount > 0) {
      const first = this.#rows.shift();
      if (first === undefined) break;
      if (!isWaiting(first)) {
        first.partition.rated(first.row, false);
        continue;
      }
      const partCount = Math.max(1, Math.floor(leftCount / (this.#rows.length + 1)));
      const count = hand(first, partCount);
      leftCount -= count;
      this.#tokens -= count;
      this.#handedShare = Math.max(this.#handedShare, first.nextAtShare);
      first.nextAtShare += count / first.row.entry.targetedCount;
      if (isWaiting(first)) this.#insert(first);
      else first.partition.rated(first.row, false);
    }
    return mayCount - leftCount;
  }

  /** Lets go of rows that nobody waits in any more, and of partitions that are lost. */
  prune(): void {
    this.#rows = this.#rows.filter((one) => {
      const isKept = isWaiting(one);
      if (!isKept) one.partition.rated(one.row, false);
      return isKept;
    });
    for (const [partition, weight] of this.#weights) {
      if (!partition.isLost) continue;
      this.#weights.delete(partition); // its next owner has its share
      this.#weight -= weight;
    }
  }

  /** All of its rows, which have no rate any more. */
  dissolve(): readonly HeldPlace[] {
    const rows = this.#rows;
    this.#rows = [];
    for (const { partition, row } of rows) partition.rated(row, false);
    return rows;
  }

  #ownPerMs(): number {
    const { perMs, targetedCount } = this.#pace;
    return perMs * Math.min(1, this.#weight / targetedCount);
  }

  /** Weights stay when a row is done: those that are not go on at the rate of all of them. */
  #count(nowMs: number): void {
    const perMs = this.#ownPerMs();
    const earned = (nowMs - this.#countedAtMs) * perMs;
    this.#tokens = Math.min(1 + perMs * BURST_MS, this.#tokens + earned);
    this.#countedAtMs = nowMs;
  }

  #insert(added: RatedRow): void {
    let [low, high] = [0, this.#rows.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#rows[middle]?.nextAtShare ?? 0) <= added.nextAtShare) low = middle + 1;
      else high = middle;
    }
    this.#rows.splice(low, 0, added);
  }
}

function isWaiting({ partition, row }: HeldPlace): boolean {
  return !partition.isLost && !row.isDone && row.entry.pendingCount > 0;
}
