// packages/delivery/src/unread-audience.ts
// Whom a notification means that is about another one: a withdrawal, or a reminder (ADR 0032). Read from that one's
// rows in the partition when the row is expanded, with what this owner knows and has not written yet on top.
//   RC3  Of a recall all for whom it is in a row before the withdrawal's: who comes to a later row, or waits for one,
//        is handed nothing, since its owner has heard of the recall by then (RC1).
//   RC4  Of a reminder those of them who have neither read nor acknowledged it and were not spared it: who waits for
//        it still gets the notification itself.
import type { RegionAudience } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { LedgerRow, LedgerSetName, LedgerStore } from "./ports.ts";

export type UnreadAudience = Extract<RegionAudience, { kind: "unread" }>;

export interface UnreadDeps {
  readonly home: string;
  readonly store: Pick<LedgerStore, "readRowsOf">;
  entriesOf(rows: readonly LedgerRow[]): Promise<LedgerEntry[]>;
}

const OUT_OF: Readonly<Record<UnreadAudience["who"], readonly LedgerSetName[]>> = {
  sent: ["moved"],
  unread: ["moved", "read", "acknowledged", "optedOut", "cancelled", "collapsed"],
};

/** Index numbers; the caller's own set. Rows from `beforeOffset` on do not count. Throws Fault. */
export async function readUnread(
  partition: Partition,
  { notificationId, who }: UnreadAudience,
  { home, store, entriesOf }: UnreadDeps,
  beforeOffset = Infinity,
): Promise<Bitset> {
  const unpin = partition.pin(); // what is in memory stays newer than what is read
  try {
    const rows = await store.readRowsOf(home, partition.partition, notificationId);
    const entries = await entriesOf(rows.filter(({ offset }) => offset < beforeOffset));
    const found = new Bitset();
    for (const read of entries) {
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

/** Put off, and not written yet: as who waits already. */
function leaveThoseOnTheirWay(entry: LedgerEntry, those: Bitset): void {
  if (entry.pendingCount === 0) return;
  entry.pending().forEach((index) => {
    if (entry.isMoving(index)) those.remove(index);
  });
}
