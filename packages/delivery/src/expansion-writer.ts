// packages/delivery/src/expansion-writer.ts
// Commits what planned rows came to, grouped over partitions, before anybody is handed them (IN2).
import { type Batcher, type Clock, createBatcher, Fault } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";
import { refusedOf } from "./ledger-flusher.ts";
import type { Partition } from "./partition.ts";
import type { HeldPartition, LedgerStore, LedgerUpdate } from "./ports.ts";

export interface ExpansionWriterDeps {
  readonly home: string;
  readonly store: Pick<LedgerStore, "writeRows">;
  readonly clock: Clock;
  readonly rowsMax: number; // of one statement
  /** The ownership that the update was made under is the one of now. */
  isHeld(held: HeldPartition): boolean;
  onFenced(refused: readonly HeldPartition[]): void;
}

const WAITING_MAX = 65_536;

export class ExpansionWriter {
  readonly #deps: ExpansionWriterDeps;
  readonly #batcher: Batcher<LedgerUpdate, boolean>;
  refusedCount = 0; // at WAITING_MAX

  constructor(deps: ExpansionWriterDeps) {
    this.#deps = deps;
    this.#batcher = createBatcher(
      {
        run: (updates) => this.#commit(updates),
        itemsMax: deps.rowsMax,
        waitMs: 1,
        concurrencyMax: 2,
        queueMax: WAITING_MAX,
      },
      deps.clock,
    );
  }

  get waitingCount(): number {
    return this.#batcher.waitingCount;
  }

  /**
   * False for what was not written: refused, or of an ownership that ended while it waited. Throws a
   * Fault when the store is down, or `overloaded`.
   */
  async commit(partition: Partition, entry: LedgerEntry): Promise<boolean> {
    const answer = this.#batcher.add(entry.toUpdate(partition.epoch));
    if ("kind" in answer) {
      this.refusedCount++;
      throw new Fault("expansions wait already", { code: "overloaded", isRetryable: true });
    }
    const isCommitted = await answer;
    if (isCommitted) entry.expansionCommitted();
    return isCommitted;
  }

  async #commit(queued: readonly LedgerUpdate[]): Promise<boolean[]> {
    const { store, home } = this.#deps;
    const updates = queued.filter((update) => this.#deps.isHeld(update)); // one epoch each (D4)
    if (updates.length === 0) return queued.map(() => false);
    const written = new Set(updates);
    const { fencedPartitions } = await store.writeRows(home, updates);
    this.#deps.onFenced(refusedOf(updates, fencedPartitions));
    const fenced = new Set(fencedPartitions);
    return queued.map((update) => written.has(update) && !fenced.has(update.partition));
  }
}
