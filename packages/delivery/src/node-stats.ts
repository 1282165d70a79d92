// packages/delivery/src/node-stats.ts
// What a DeliveryNode holds, and what it has refused at its limits, for its metrics (D6): sums over its partitions
// and over its parts. Which limit belongs to what: docs/metrics.md.
import type { BoundedStats, BoundedStructure, DeliveryStats } from "./delivery-node-api.ts";
import type { DeferredRows } from "./deferred-rows.ts";
import type { DeliveryJournal } from "./delivery-journal.ts";
import type { DurableTimers } from "./durable-timers.ts";
import type { EnvelopeCache } from "./envelope.ts";
import type { ExpansionWriter } from "./expansion-writer.ts";
import type { GatewayOutbox } from "./gateway-outbox.ts";
import type { Pacer } from "./pacer.ts";
import type { Partition } from "./partition.ts";
import type { ReceiptDesk } from "./receipt-desk.ts";
import type { SessionDesk } from "./session-desk.ts";
import type { ThreadSlices } from "./thread-slices.ts";
import type { Verdicts } from "./verdicts.ts";

/** Those parts of a node that hold something. */
export interface CountedParts {
  readonly pacer: Pick<Pacer, "rowsCount" | "ratesRefusedCount">;
  readonly outbox: GatewayOutbox;
  readonly timers: Pick<DurableTimers<never>, "firingCount" | "changes">;
  readonly journal: DeliveryJournal | undefined;
  readonly expansions: ExpansionWriter;
  readonly deferred: DeferredRows;
  readonly desk: SessionDesk;
  readonly receipts: ReceiptDesk;
  readonly verdicts: Verdicts;
  readonly slices: ThreadSlices;
  readonly envelopes: EnvelopeCache;
}

export function statsOf(
  parts: CountedParts,
  partitions: readonly Partition[],
  servingCount: number,
): DeliveryStats {
  const { pacer, outbox, timers, journal } = parts;
  const sum = sumOver(partitions);
  return {
    partitionCount: servingCount,
    sessionCount: sum((partition) => partition.sessions.count),
    ratedRowsCount: sum((partition) => partition.ratedCount),
    openEntryCount: sum((partition) => partition.openCount),
    dirtyEntryCount: sum((partition) => partition.dirtyCount),
    incomingCount: sum((partition) => partition.incoming.length),
    shelvedRecipientCount: sum((partition) => partition.shelf.count),
    recipientCount: sum((partition) => partition.directory.recipientCount),
    heldRowsCount: pacer.rowsCount,
    ratesRefusedTotal: pacer.ratesRefusedCount,
    deliverMessagesTotal: outbox.sentCount,
    deliverFailedTotal: outbox.failedCount,
    timersFiringCount: timers.firingCount,
    journalWaitingCount: journal?.waitingCount ?? 0,
    journalWrittenTotal: journal?.writtenCount ?? 0,
    journalDroppedTotal: journal?.droppedCount ?? 0,
    bounded: boundedOf(parts, partitions),
  };
}

function boundedOf(parts: CountedParts, partitions: readonly Partition[]): BoundedStats {
  const { expansions, deferred, timers, outbox, desk, receipts, verdicts } = parts;
  const { policy, controls } = verdicts;
  const sum = sumOver(partitions);
  const held: Readonly<Record<BoundedStructure, number>> = {
    expansions: expansions.waitingCount,
    releases: deferred.waitingCount,
    timer_changes: timers.changes.waitingCount,
    gateway_sends: outbox.queuedCount,
    openings: desk.openingsCount,
    unwritten_reports: receipts.waitingCountOf(partitions),
    settling: sum((partition) => partition.settling.count),
    recent_deliveries: policy.recentCountOf(partitions),
    controls: controls.count,
    rates: verdicts.ratesCount,
    slices: parts.slices.waitingCount,
    tail: sum((partition) => partition.tailCount),
    envelopes: parts.envelopes.count,
  };
  return {
    held,
    refused: {
      expansions: expansions.refusedCount,
      releases: deferred.refusedCount,
      timer_changes: timers.changes.refusedCount,
      openings: desk.putOffCount,
      unwritten_reports: receipts.forgottenCount,
      recent_deliveries: policy.forgottenCount,
    },
  };
}

function sumOver(partitions: readonly Partition[]) {
  return (of: (partition: Partition) => number): number =>
    partitions.reduce((total, partition) => total + of(partition), 0);
}
