// packages/delivery/src/ledger-flusher.ts
// Writes changed ledger rows back: one statement for many rows, at most `flushEveryMs` late.
//   LF1  A change is in the database ≤ 200 ms after it, while the store answers (DESIGN §5 step 6).
//   LF2  Rows of a partition that is fenced are dropped, not tried again (D4). Who is told is told the
//        epoch that was refused: by then the partition may be owned here again, under another one.
//   LF3  One write at a time; a failed one puts its rows back and waits with jitter.
//   LF4  A bug is no failed write: it is told to whoever runs the flusher, and nothing is tried again.
import {
  backoffDelayMs,
  type BackoffOptions,
  type Bitset,
  type Clock,
  Fault,
  type Random,
} from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { HeldPartition, LedgerStore } from "./ports.ts";

export interface LedgerFlusherDeps {
  readonly store: LedgerStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly home: string;
  readonly flushEveryMs: number;
  readonly rowsMax: number; // of one statement
  readonly retry: BackoffOptions;
  partitions(): Iterable<Partition>;
  onFenced(refused: readonly HeldPartition[]): void;
  onFlushed(result: { rowCount: number; durationMs: number }): void;
  onFault(cause: unknown): void;
  /** Those who were put off have left the row (DL4). */
  onMoved(partition: Partition, entry: LedgerEntry, indexes: Bitset): void;
  /** After a write: closed entries may leave memory, waiting ones may come in. */
  onRoom(partition: Partition): void;
}

/** Whose the flusher's timers and bugs are. */
export interface FlushRunner {
  readonly clock: Clock;
  readonly onCrash: (cause: unknown) => void;
}

export class LedgerFlusher {
  readonly #deps: LedgerFlusherDeps;
  #runner: FlushRunner | undefined;
  #isScheduled = false;
  #flushing: Promise<boolean> | undefined;
  #failuresCount = 0;

  constructor(deps: LedgerFlusherDeps) {
    this.#deps = deps;
  }

  /** From now on its timers are the runner's. What is dirty already is written, too. */
  runBy(runner: FlushRunner): void {
    this.#runner = runner;
    this.#isScheduled = false;
    this.schedule();
  }

  /** To be called after a change; a flush follows within `flushEveryMs`. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const { random, flushEveryMs, retry } = this.#deps;
    const runner = this.#runner;
    const delayMs =
      this.#failuresCount === 0 ? flushEveryMs : backoffDelayMs(retry, this.#failuresCount, random);
    (runner?.clock ?? this.#deps.clock).setTimer(delayMs, () => {
      this.#isScheduled = false;
      const flushing = this.flush();
      if (runner !== undefined) flushing.catch(runner.onCrash); // LF4
    });
  }

  /** Writes what is dirty now; true when nothing is left. Rejects with a bug only. */
  async flush(): Promise<boolean> {
    while (this.#flushing !== undefined) await this.#flushing;
    this.#flushing = this.#flushOnce();
    try {
      return await this.#flushing;
    } finally {
      this.#flushing = undefined;
    }
  }

  async #flushOnce(): Promise<boolean> {
    for (;;) {
      const taken = this.#take();
      if (taken.length === 0) return true;
      if (!(await this.#write(taken))) return false;
      if (taken.length < this.#deps.rowsMax) return true;
    }
  }

  #take(): { partition: Partition; entry: LedgerEntry }[] {
    const taken: { partition: Partition; entry: LedgerEntry }[] = [];
    for (const partition of this.#deps.partitions()) {
      const room = this.#deps.rowsMax - taken.length;
      if (room <= 0) break;
      for (const entry of partition.takeDirty(room)) taken.push({ partition, entry });
    }
    return taken;
  }

  async #write(taken: readonly { partition: Partition; entry: LedgerEntry }[]): Promise<boolean> {
    const { store, home, clock } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    try {
      const updates = taken.map(({ partition, entry }) => entry.toUpdate(partition.epoch));
      const { fencedPartitions } = await store.writeRows(home, updates);
      this.#failuresCount = 0;
      const moved = taken.flatMap(({ partition, entry }) => {
        const indexes = partition.wrote(entry);
        if (entry.isDirty) {
          partition.changed(entry);
          this.schedule();
        }
        return indexes === undefined ? [] : [{ partition, entry, indexes }];
      });
      if (fencedPartitions.length > 0) this.#deps.onFenced(refusedOf(updates, fencedPartitions)); // LF2
      const durationMs = clock.monotonicMs() - startedAtMs;
      this.#deps.onFlushed({ rowCount: taken.length, durationMs });
      for (const { partition, entry, indexes } of moved)
        if (!partition.isLost) this.#deps.onMoved(partition, entry, indexes);
      for (const partition of new Set(taken.map((one) => one.partition)))
        this.#deps.onRoom(partition);
      return true;
    } catch (cause) {
      this.#failuresCount++;
      for (const { partition, entry } of taken) partition.putBackDirty(entry);
      if (!(cause instanceof Fault)) throw cause; // LF4
      this.#deps.onFault(cause);
      this.schedule();
      return false;
    }
  }
}

/** The fenced partitions with the epochs that these updates were written under, each once. */
export function refusedOf(
  updates: readonly HeldPartition[],
  fencedPartitions: readonly number[],
): HeldPartition[] {
  const epochs = new Map(updates.map(({ partition, epoch }) => [partition, epoch]));
  return fencedPartitions.flatMap((partition) => {
    const epoch = epochs.get(partition);
    return epoch === undefined ? [] : [{ partition, epoch }];
  });
}
