// apps/worker/src/worker-metrics.ts
// What a worker counts, joined to the catalogue.
import type { RouterObserver } from "@carillon/cluster";
import type { DeliveryNode, DeliveryObserver, DeliveryStats } from "@carillon/delivery";
import { Fault, type Clock } from "@carillon/kernel";
import type { Logger, Metrics } from "@carillon/telemetry";

const STATS_EVERY_MS = 1_000;

export function createObserver(deps: {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Logger;
  onFault(cause: unknown): void;
}): DeliveryObserver {
  const { metrics, clock, log } = deps;
  return {
    onFault(cause) {
      metrics.failures.inc({ component: "delivery" });
      deps.onFault(cause);
    },
    onFlushed({ rowCount, durationMs }) {
      metrics.flushes.observe(durationMs / 1_000);
      metrics.flushedRows.inc(rowCount);
    },
    onOutcome(outcome, entry) {
      metrics.outcomes.inc({ outcome });
      if (outcome !== "deliveredSocket") return;
      const delayMs = clock.wallClockMs() - entry.envelope.notification.acceptedAtMs;
      metrics.acceptToAck.observe(Math.max(0, delayMs) / 1_000);
    },
    onReceipt: (receipt) => metrics.receipts.inc({ receipt }),
    onTimerFired(_, lateMs) {
      metrics.timers.inc({ event: "fired" });
      metrics.timerLateness.observe(Math.max(0, lateMs) / 1_000);
    },
    onTimerFailed({ partition, kind, attemptCount }, cause) {
      metrics.timers.inc({ event: "failed" });
      log.warn("timer.failed", { partition, kind, attemptCount, reason: reasonOf(cause) });
    },
    onTimerBuried({ id, partition, kind, key, attemptCount }, reason) {
      metrics.timers.inc({ event: "buried" });
      log.error("timer.buried", { id, partition, kind, key, attemptCount, reason });
    },
  };
}

/** A worker hands messages on, and calls nobody. */
export function routerObserver(metrics: Metrics): Pick<RouterObserver, "onSent"> {
  return { onSent: (outcome, keyCount) => metrics.routeSends.inc({ outcome }, keyCount) };
}

/** Copies gauges, and what was counted from now on, once a second; returns what ends it. */
export function publishStats(deps: {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly delivery: DeliveryNode;
  readonly leaseAgeMs: () => number;
}): () => void {
  const { metrics, clock, delivery } = deps;
  let before = totalsOf(delivery.stats());
  const publish = (): void => {
    timer = clock.setTimer(STATS_EVERY_MS, publish);
    const stats = delivery.stats();
    metrics.partitionsServed.set(stats.partitionCount);
    metrics.leaseAge.set(deps.leaseAgeMs() / 1_000);
    metrics.sessions.set(stats.sessionCount);
    metrics.recipients.set(stats.recipientCount);
    metrics.openEntries.set(stats.openEntryCount);
    metrics.incomingEntries.set(stats.incomingCount);
    metrics.heldEntries.set(stats.heldRowsCount);
    metrics.ratedEntries.set(stats.ratedRowsCount);
    metrics.shelvedRecipients.set(stats.shelvedRecipientCount);
    metrics.dirtyEntries.set(stats.dirtyEntryCount);
    metrics.timersFiring.set(stats.timersFiringCount);
    metrics.journalWaiting.set(stats.journalWaitingCount);
    for (const [structure, count] of Object.entries(stats.bounded.held))
      metrics.boundedItems.set({ structure }, count);
    const now = totalsOf(stats);
    for (const [structure, count] of Object.entries(now.refused))
      metrics.boundedRefused.inc({ structure }, count - (before.refused[structure] ?? 0));
    metrics.deliverMessages.inc({ outcome: "sent" }, now.sent - before.sent);
    metrics.deliverMessages.inc({ outcome: "failed" }, now.failed - before.failed);
    metrics.journalEvents.inc({ outcome: "written" }, now.written - before.written);
    metrics.journalEvents.inc({ outcome: "dropped" }, now.dropped - before.dropped);
    metrics.ratesRefused.inc(now.ratesRefused - before.ratesRefused);
    before = now;
  };
  let timer = clock.setTimer(STATS_EVERY_MS, publish);
  return () => timer.cancel();
}

function totalsOf(stats: DeliveryStats) {
  return {
    ratesRefused: stats.ratesRefusedTotal,
    sent: stats.deliverMessagesTotal,
    failed: stats.deliverFailedTotal,
    written: stats.journalWrittenTotal,
    dropped: stats.journalDroppedTotal,
    refused: stats.bounded.refused as Readonly<Record<string, number>>,
  };
}

/** For the log: a fault's code, otherwise the error's text. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Fault ? cause.code : String(cause);
}
