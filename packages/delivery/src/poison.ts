// packages/delivery/src/poison.ts
// Tells a notification that nobody can handle from a recipient that can handle nothing (S41, D7): which rows
// crashed whose process. Without it a poison all-hands looks like a storm, and its whole partition pauses.
import type { LedgerEntry } from "./ledger-entry.ts";

/** Of one recipient's process, as for any message of the runtime (`poisonMax`). */
const CRASHES_MAX = 3;
/**
 * Recipients of one partition. Far below what makes a storm of it (20), as several such rows may come within its
 * window of 10 s; above two, so that not a pair of broken recipients fails an all-hands for everybody.
 */
const RECIPIENTS_MAX = 5;

export class PoisonRows {
  /** By row, how often it crashed whose process; null: more than `RECIPIENTS_MAX`. A row leaves when it is closed. */
  readonly #crashCounts = new Map<LedgerEntry, Map<number, number> | null>();
  /** It was not the fault of this recipient's process, which may be waiting for its next try. */
  readonly #forgive: (index: number) => void;

  constructor(forgive: (index: number) => void) {
    this.#forgive = forgive;
  }

  /**
   * The process of `index` has crashed by it. True: it is the row's fault, and its outcome for him is `failed`.
   * From the recipient after `RECIPIENTS_MAX` others on it is so for everybody at once, without another try.
   */
  isToFail(index: number, entry: LedgerEntry): boolean {
    let counts = this.#crashCounts.get(entry);
    if (counts === null) return true;
    if (counts === undefined) this.#crashCounts.set(entry, (counts = new Map()));
    if (counts.size >= RECIPIENTS_MAX && !counts.has(index)) {
      this.#crashCounts.set(entry, null);
      for (const earlier of counts.keys()) this.#forgive(earlier);
      return true;
    }
    const count = (counts.get(index) ?? 0) + 1;
    counts.set(index, count);
    return count >= CRASHES_MAX;
  }

  closed(entry: LedgerEntry): void {
    if (this.#crashCounts.size > 0) this.#crashCounts.delete(entry);
  }
}
