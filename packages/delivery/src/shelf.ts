// packages/delivery/src/shelf.ts
// Whose rows of one partition stay in the ledger for now, since he has as many in memory as one may have
// (ADR 0028). No I/O: shelf-reader.ts brings them back. A row of his own is one that is for him alone.
//   SH1  A recipient has at most `ownRowsMax` open rows of his own in memory, whatever he is posted: the
//        room of a partition (IN4) is not one person's (D7).
//   SH2  From his first shelved row on he is handed nothing before that one: neither rows of his own nor
//        what others get, too (D3, PA4).
import { Bitset } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";

interface Shelved {
  /** His open rows from here on to `lastOffset` are in the ledger only, but for what a receipt read. */
  firstOffset: number;
  lastOffset: number;
  /** By the wall clock: none of them expires before it; 0: not known. */
  expiryAtMs: number;
  /** Monotonic: they are not looked through for expired ones before it. */
  lookAtMs: number;
  /** Where that look goes on. */
  lookFromOffset: number;
}

export class Shelf {
  readonly #ownRowsMax: number;
  readonly #byIndex = new Map<number, Shelved>();
  readonly #indexes = new Bitset();
  /** Open rows of their own that were handed, by index; 0: no entry. */
  readonly #ownCounts = new Map<number, number>();
  /** Have room for a page: half of what they may have is done. */
  readonly #hungry = new Set<number>();

  constructor(ownRowsMax: number) {
    this.#ownRowsMax = ownRowsMax;
  }

  /** Recipients that have rows on it. */
  get count(): number {
    return this.#byIndex.size;
  }

  /** So many rows are brought back at a time. */
  get pageCount(): number {
    return Math.ceil(this.#ownRowsMax / 2);
  }

  has(index: number): boolean {
    return this.#byIndex.has(index);
  }

  /** Below his first shelved row; Infinity: he has none. */
  upTo(index: number): number {
    const shelved = this.#byIndex.get(index);
    return shelved === undefined ? Infinity : shelved.firstOffset - 1;
  }

  /** Whether the row stays in the ledger (SH1); it is noted then. Of rows in offset order. */
  takes(entry: LedgerEntry): boolean {
    const index = ownerOf(entry);
    if (index === undefined || entry.state !== "open") return false;
    const shelved = this.#byIndex.get(index);
    const { offset } = entry;
    if (shelved === undefined) {
      if ((this.#ownCounts.get(index) ?? 0) < this.#ownRowsMax) return false;
      const expiryAtMs = entry.envelope.notification.expiresAtMs;
      this.put(index, { firstOffset: offset, lastOffset: offset, expiryAtMs });
      return true;
    }
    if (offset < shelved.firstOffset) return false;
    shelved.lastOffset = Math.max(shelved.lastOffset, offset);
    const { expiresAtMs } = entry.envelope.notification;
    shelved.expiryAtMs = Math.min(shelved.expiryAtMs, expiresAtMs);
    return true;
  }

  put(
    index: number,
    rows: {
      readonly firstOffset: number;
      readonly lastOffset: number;
      readonly expiryAtMs: number;
    },
  ): void {
    this.#byIndex.set(index, { ...rows, lookAtMs: 0, lookFromOffset: 0 });
    this.#indexes.add(index);
  }

  /** SH2. Removes from `slots` who must not be handed a row at this offset. */
  withhold(slots: Bitset, offset: number): void {
    if (this.#byIndex.size === 0) return;
    const some = this.#indexes.clone().and(slots);
    some.forEach((index) => {
      if (offset > this.upTo(index)) slots.remove(index);
    });
  }

  /** A row in memory is handed, and open. */
  handed(entry: LedgerEntry): void {
    const index = ownerOf(entry);
    if (index === undefined) return;
    this.#ownCounts.set(index, (this.#ownCounts.get(index) ?? 0) + 1);
  }

  /** A row that was handed is closed. */
  closed(entry: LedgerEntry): void {
    const index = ownerOf(entry);
    if (index === undefined) return;
    const count = (this.#ownCounts.get(index) ?? 0) - 1;
    if (count > 0) this.#ownCounts.set(index, count);
    else this.#ownCounts.delete(index);
    if (this.#byIndex.size > 0) this.#mayBeHungry(index);
  }

  /** Everybody is asked again: whatever was missed, nobody is forgotten. */
  lookAgain(): void {
    for (const index of this.#byIndex.keys()) this.#mayBeHungry(index);
  }

  /** Recipients who have room for a page of what lies up to `upToOffset`, and where it begins. */
  hungry(upToOffset: number): [index: number, fromOffset: number][] {
    if (this.#hungry.size === 0) return [];
    return [...this.#hungry].flatMap((index) => {
      const fromOffset = this.#byIndex.get(index)?.firstOffset ?? Infinity;
      return fromOffset <= upToOffset ? [[index, fromOffset] as [number, number]] : [];
    });
  }

  /** All of his below `nextOffset` are in memory. */
  broughtBack(index: number, nextOffset: number): void {
    const shelved = this.#byIndex.get(index);
    if (shelved === undefined) return;
    shelved.firstOffset = Math.max(shelved.firstOffset, nextOffset);
    if (shelved.firstOffset > shelved.lastOffset) {
      this.#byIndex.delete(index);
      this.#indexes.remove(index);
    }
    this.#hungry.delete(index);
    this.#mayBeHungry(index);
  }

  /** Those of whom something may have expired, and from where on it is to be looked for (SH4). */
  looks(now: { readonly wallClockMs: number; readonly monotonicMs: number }): [number, number][] {
    const due: [number, number][] = [];
    for (const [index, shelved] of this.#byIndex)
      if (shelved.expiryAtMs <= now.wallClockMs && shelved.lookAtMs <= now.monotonicMs)
        due.push([index, Math.max(shelved.firstOffset, shelved.lookFromOffset)]);
    return due;
  }

  /** `nextOffset`: the look goes on there; undefined: it is over, and the next one not before. */
  looked(index: number, nextOffset: number | undefined, notBeforeMs: number): void {
    const shelved = this.#byIndex.get(index);
    if (shelved === undefined) return;
    shelved.lookFromOffset = nextOffset ?? 0;
    if (nextOffset !== undefined) return;
    shelved.lookAtMs = notBeforeMs;
    shelved.expiryAtMs = 0;
  }

  indexes(): Iterable<number> {
    return this.#byIndex.keys();
  }

  #mayBeHungry(index: number): void {
    if (!this.#byIndex.has(index)) return;
    const count = this.#ownCounts.get(index) ?? 0;
    if (count <= this.#ownRowsMax - this.pageCount) this.#hungry.add(index);
  }
}

/** Whose own row it is; undefined: it is for several, or for an audience. */
export function ownerOf({ members }: Pick<LedgerEntry, "members">): number | undefined {
  return members?.length === 1 ? members[0] : undefined;
}
