// packages/delivery/src/late-receipts.ts
// Which rows a session's place in the ledger proves to have been received, though their outcome says
// otherwise: its ack came to an owner that lost the partition, or the report of it was lost.
//   SD4  Who goes on above a row has received it late, as far as that follows for certain.
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";

/** What a gateway says when it opens a session that goes on. */
export interface Place {
  /** The client has told it: with its join, or by an ack. */
  readonly ackedOffset: number;
  /** Put on its socket, or as the client joined; at least `ackedOffset`. */
  readonly sentOffset: number;
  /** False: he is passed by it, and not sent it (CB4). */
  mayShow(entry: LedgerEntry): boolean;
}

/**
 * Offsets of `index` up to `sentOffset`, ascending: those up to `ackedOffset` have been received, an
 * ack of the others will be a late one. Follows for rows
 * - that this owner decided: a device that joined anew before had them ahead of it, since they were
 *   open, and one that joined anew since is told apart by `sessions.beganOffset`;
 * - that were sent, or that the place names itself. One that expired unsent is passed by what comes
 *   after it, and an earlier owner's sends are not known here.
 * Only what is in memory. Cost O(entries in memory), as the count of unread that an open makes, too.
 */
export function passedLate(partition: Partition, index: number, place: Place): number[] {
  const { ackedOffset, sentOffset } = place;
  const range = { afterOffset: partition.sessions.beganOffset(index), upToOffset: sentOffset };
  return partition
    .entriesOf(index, range)
    .filter((entry) => {
      if (!entry.isLateHere(index) || !place.mayShow(entry)) return false;
      const isNamed = entry.offset === ackedOffset || entry.offset === sentOffset;
      return isNamed || !entry.has("expired", index) || entry.wasSent(index);
    })
    .map((entry) => entry.offset);
}
