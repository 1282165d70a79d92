// packages/delivery/src/settling.ts
// Whose process waits until it is written that he is not handed something (DL5): what comes after it would move his
// place over it, and the next owner, should that find the row open, would count the place as an ack (SD4).
import { Bitset } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";

export class Settling {
  readonly #entries = new Map<number, LedgerEntry[]>(); // by index

  /** Recipients. */
  get count(): number {
    return this.#entries.size;
  }

  add(index: number, entry: LedgerEntry): void {
    const known = this.#entries.get(index);
    if (known === undefined) this.#entries.set(index, [entry]);
    else known.push(entry);
  }

  has(index: number): boolean {
    return this.#entries.size > 0 && this.#entries.has(index);
  }

  /** Who need not wait any more, once; undefined: nobody. */
  takeWritten(): Bitset | undefined {
    if (this.#entries.size === 0) return undefined;
    const written = new Bitset();
    for (const [index, entries] of this.#entries)
      if (!entries.some((entry) => entry.isLeaving(index))) written.add(index);
    written.forEach((index) => void this.#entries.delete(index));
    return written.isEmpty ? undefined : written;
  }
}
