// packages/delivery/src/unread-audience.ts
// Whom a notification means that is about another one: a withdrawal, or a reminder (ADR 0032). Read from that one's
// rows in the partition when the row is expanded, with what this owner knows and has not written yet on top.
//   RC3  Of a recall all for whom it is in a row before the withdrawal's: who comes to a later row, or waits for one,
//        is handed nothing, since its owner has heard of the recall by then (RC1).
//   RC4  Of a reminder those of them who have neither read nor acknowledged it and were not spared it: who waits for
//        it still gets the notification itself.
import { LIMITS, type RegionAudience } from "@carillon/contracts";
import { type Batcher, Bitset, type Clock, createBatcher, Fault } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { LedgerRow, LedgerSetName, LedgerStore } from "./ports.ts";

export type UnreadAudience = Extract<RegionAudience, { kind: "unread" }>;

export interface UnreadDeps {
  readonly home: string;
  readonly store: Pick<LedgerStore, "readRowsOf">;
  readonly clock: Clock;
  entriesOf(rows: readonly LedgerRow[]): Promise<LedgerEntry[]>;
}

interface Wanted {
  readonly partition: number;
  readonly notificationId: string;
}

const OUT_OF: Readonly<Record<UnreadAudience["who"], readonly LedgerSetName[]>> = {
  sent: ["moved"],
  unread: ["moved", "read", "acknowledged", "optedOut", "cancelled", "collapsed"],
};

/** Of its partitions those that ask at a time are read for in one statement: each row is in all of them. */
export class UnreadReader {
  readonly #deps: UnreadDeps;
  readonly #batcher: Batcher<Wanted, LedgerRow[]>;

  constructor(deps: UnreadDeps) {
    this.#deps = deps;
    this.#batcher = createBatcher(
      {
        run: (wanted) => this.#readRows(wanted),
        itemsMax: LIMITS.partitionCount,
        waitMs: 1,
        concurrencyMax: 2,
        queueMax: WAITING_MAX,
      },
      deps.clock,
    );
  }

  /** Index numbers; the caller's own set. Rows from `beforeOffset` on do not count. Throws Fault. */
  async read(
    partition: Partition,
    { notificationId, who }: UnreadAudience,
    beforeOffset = Infinity,
  ): Promise<Bitset> {
    const unpin = partition.pin(); // what is in memory stays newer than what is read
    try {
      const answer = this.#batcher.add({ partition: partition.partition, notificationId });
      if ("kind" in answer)
        throw new Fault("rows wait already", { code: "overloaded", isRetryable: true });
      const rows = (await answer).filter(({ offset }) => offset < beforeOffset);
      const found = new Bitset();
      for (const read of await this.#deps.entriesOf(rows)) {
        const entry = partition.entry(read.offset) ?? read;
        const those = entry.without(OUT_OF[who]);
        if (who === "unread") leaveThoseOnTheirWay(entry, those);
        found.or(those);
      }
      return found;
    } finally {
      unpin();
    }
  }

  async #readRows(wanted: readonly Wanted[]): Promise<LedgerRow[][]> {
    const { home, store } = this.#deps;
    const rows = new Map<string, LedgerRow[]>();
    for (const id of new Set(wanted.map(({ notificationId }) => notificationId))) {
      const its = wanted.filter(({ notificationId }) => notificationId === id);
      const partitions = its.map(({ partition }) => partition);
      rows.set(id, await store.readRowsOf(home, partitions, id));
    }
    return wanted.map(({ partition, notificationId }) =>
      (rows.get(notificationId) ?? []).filter((row) => row.partition === partition),
    );
  }
}

const WAITING_MAX = 4_096;

/** Put off, and not written yet: as who waits already. */
function leaveThoseOnTheirWay(entry: LedgerEntry, those: Bitset): void {
  if (entry.pendingCount === 0) return;
  entry.pending().forEach((index) => {
    if (entry.isMoving(index)) those.remove(index);
  });
}
