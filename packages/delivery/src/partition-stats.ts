// packages/delivery/src/partition-stats.ts
// Sums over the partitions of a node, for its gauges.
import type { DeliveryStats } from "./delivery-node-api.ts";
import type { Partition } from "./partition.ts";

type Summed =
  | "sessionCount"
  | "openEntryCount"
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
    dirtyEntryCount: sum((partition) => partition.dirtyCount),
    incomingCount: sum((partition) => partition.incoming.length),
    shelvedRecipientCount: sum((partition) => partition.shelf.count),
    recipientCount: sum((partition) => partition.directory.recipientCount),
  };
}
