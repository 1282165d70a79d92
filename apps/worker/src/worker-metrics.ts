// apps/worker/src/worker-metrics.ts
// What a worker counts, joined to the catalogue.
import type { DeliveryNode, DeliveryObserver, DeliveryStats } from "@carillon/delivery";
import { Fault, type Clock } from "@carillon/kernel";
import type { ProcessRuntime, RuntimeStats } from "@carillon/process";
import type { Metrics } from "@carillon/telemetry";

const STATS_EVERY_MS = 1_000;
const PROCESS_EVENTS = [
  "restartsTotal",
  "coalescedTotal",
  "droppedTotal",
  "spilledTotal",
  "loadsFailedTotal",
  "callTimeoutsTotal",
  "skippedCallsTotal",
  "lateRepliesTotal",
  "staleWritesTotal",
  "callbackErrorsTotal",
] as const satisfies readonly (keyof RuntimeStats)[];

export function createObserver(deps: {
  readonly metrics: Metrics;
  readonly clock: Clock;
  onFault(cause: unknown): void;
}): DeliveryObserver {
  const { metrics, clock } = deps;
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
  };
}

/** Copies gauges, and what was counted from now on, once a second; returns what ends it. */
export function publishStats(deps: {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly delivery: DeliveryNode;
  readonly runtime: ProcessRuntime;
  readonly leaseAgeMs: () => number;
}): () => void {
  const { metrics, clock, delivery, runtime } = deps;
  let before = totalsOf(delivery.stats(), runtime.stats());
  const publish = (): void => {
    timer = clock.setTimer(STATS_EVERY_MS, publish);
    const stats = delivery.stats();
    metrics.partitionsServed.set(stats.partitionCount);
    metrics.leaseAge.set(deps.leaseAgeMs() / 1_000);
    metrics.sessions.set(stats.sessionCount);
    metrics.recipients.set(stats.recipientCount);
    metrics.openEntries.set(stats.openEntryCount);
    metrics.incomingEntries.set(stats.incomingCount);
    metrics.dirtyEntries.set(stats.dirtyEntryCount);
    const processes = runtime.stats();
    metrics.processesResident.set(processes.residentCount);
    metrics.processesQuarantined.set(processes.quarantinedCount);
    metrics.processesWaiting.set(processes.waitingCount);
    metrics.processTablesPaused.set(processes.pausedTablesCount);
    metrics.processLoadsWaiting.set(processes.loadsWaitingCount);
    metrics.longestTurn.set(processes.longestTurnMs / 1_000);
    const now = totalsOf(stats, processes);
    metrics.deliverMessages.inc({ outcome: "sent" }, now.sent - before.sent);
    metrics.deliverMessages.inc({ outcome: "failed" }, now.failed - before.failed);
    metrics.processCrashes.inc(now.crashes - before.crashes);
    metrics.processDeadLetters.inc(now.deadLetters - before.deadLetters);
    metrics.processRefused.inc(now.refused - before.refused);
    for (const name of PROCESS_EVENTS)
      metrics.processEvents.inc(
        { event: name.slice(0, -"Total".length) },
        now.events[name] - before.events[name],
      );
    before = now;
  };
  let timer = clock.setTimer(STATS_EVERY_MS, publish);
  return () => timer.cancel();
}

function totalsOf(delivery: DeliveryStats, processes: RuntimeStats) {
  return {
    sent: delivery.deliverMessagesTotal,
    failed: delivery.deliverFailedTotal,
    crashes: processes.crashesTotal,
    deadLetters: processes.deadLetteredTotal,
    refused: processes.refusedTotal,
    events: processes,
  };
}

/** For the log: a fault's code, otherwise the error's text. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Fault ? cause.code : String(cause);
}
