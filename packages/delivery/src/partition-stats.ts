// packages/delivery/src/partition-stats.ts
// What a node counts, for its gauges: sums over its partitions, and of its parts.
import type { DeliveryJournal } from "./delivery-journal.ts";
import type { DeliveryStats } from "./delivery-node-api.ts";
import type { GatewayOutbox } from "./gateway-outbox.ts";
import type { Pacer } from "./pacer.ts";
import type { Partition } from "./partition.ts";

type Summed =
  | "sessionCount"
  | "openEntryCount"
  | "ratedRowsCount"
  | "dirtyEntryCount"
  | "incomingCount"
  | "shelvedRecipientCount"
  | "recipientCount";

export function statsOfPartitions(partitions: readonly Partition[]): Pick<DeliveryStats, Summed> {
  const sum = (of: (partition: Partition) => number): number =>
    partitions.reduce((total, partition) => total + of(partition), 0);
  return {
    sessionCount: sum((partition) => partition.sessions.count),
    openEntryCount: sum((partition) => partition.openCount),
    ratedRowsCount: sum((partition) => partition.ratedCount),
    dirtyEntryCount: sum((partition) => partition.dirtyCount),
    incomingCount: sum((partition) => partition.incoming.length),
    shelvedRecipientCount: sum((partition) => partition.shelf.count),
    recipientCount: sum((partition) => partition.directory.recipientCount),
  };
}

export function statsOfParts(
  pacer: Pick<Pacer, "rowsCount" | "ratesRefusedCount">,
  outbox: Pick<GatewayOutbox, "sentCount" | "failedCount">,
  journal: DeliveryJournal | undefined,
): Omit<DeliveryStats, Summed | "partitionCount" | "timersFiringCount"> {
  return {
    heldRowsCount: pacer.rowsCount,
    ratesRefusedTotal: pacer.ratesRefusedCount,
    deliverMessagesTotal: outbox.sentCount,
    deliverFailedTotal: outbox.failedCount,
    journalWaitingCount: journal?.waitingCount ?? 0,
    journalWrittenTotal: journal?.writtenCount ?? 0,
    journalDroppedTotal: journal?.droppedCount ?? 0,
  };
}
