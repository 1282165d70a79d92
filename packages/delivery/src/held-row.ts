// packages/delivery/src/held-row.ts
// A committed row that has not been handed to all of its recipients' processes yet.
//   HR1  Nobody is taken from it twice, and nobody who has an outcome already.
import type { Bitset } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";

export class HeldRow {
  readonly entry: LedgerEntry;
  /** By index; undefined: everybody who is pending. Most rows are taken whole, and need no copy. */
  #left: Bitset | undefined;
  #isDone = false;
  /** It waits for its notification's rate: `Partition.rated`. */
  isRated = false;

  constructor(entry: LedgerEntry) {
    this.entry = entry;
  }

  /** Nobody is left in it. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** The process of `index` has not been handed it. */
  isLeft(index: number): boolean {
    if (this.#isDone) return false;
    return this.entry.isPending(index) && this.#left?.has(index) !== false;
  }

  /** Up to `countMax` of those that are left, by index. */
  take(countMax: number): Bitset {
    const taken = this.#stillLeft().takeLowest(countMax);
    this.#isDone = this.#left?.isEmpty === true;
    return taken;
  }

  /** Those of `slots` that are left in it; undefined: nobody. */
  takeThose(slots: Bitset): Bitset | undefined {
    const { members } = this.entry;
    if (this.#isDone || members?.some((index) => slots.has(index)) === false) return undefined;
    const left = this.#stillLeft();
    const taken = left.clone().and(slots);
    if (taken.isEmpty) return undefined;
    this.#isDone = left.andNot(taken).isEmpty;
    return taken;
  }

  /** In place: without those who have not been handed it. */
  onlyHanded(slots: Bitset): Bitset {
    if (this.#isDone) return slots;
    return slots.andNot(this.#left ?? this.entry.pending());
  }

  /** Without those who have got an outcome since the last part was taken. */
  #stillLeft(): Bitset {
    const pending = this.entry.pending();
    this.#left = this.#left === undefined ? pending : this.#left.and(pending);
    return this.#left;
  }
}
