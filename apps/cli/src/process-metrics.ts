// apps/cli/src/process-metrics.ts
// What all processes of a node do, recipients' and sessions', as metrics.
//   PM1  A counter never falls and counts nothing twice, also when a role's runtime begins anew.
import type { Clock } from "@carillon/kernel";
import type { ProcessRuntime, RuntimeStats } from "@carillon/process";
import type { Metrics } from "@carillon/telemetry";

const STATS_EVERY_MS = 1_000;
const EVENTS = [
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
const TOTALS = ["crashesTotal", "deadLetteredTotal", "refusedTotal", ...EVENTS] as const;
const GAUGES = [
  "residentCount",
  "quarantinedCount",
  "waitingCount",
  "pausedTablesCount",
  "loadsWaitingCount",
] as const satisfies readonly (keyof RuntimeStats)[];
type Sums = Record<(typeof TOTALS | typeof GAUGES)[number], number>;

/** Once a second; returns what ends it. */
export function publishProcessStats(deps: {
  readonly runtimes: () => readonly ProcessRuntime[];
  readonly metrics: Metrics;
  readonly clock: Clock;
}): () => void {
  const { runtimes, metrics, clock } = deps;
  const seen = new WeakMap<ProcessRuntime, RuntimeStats>();
  for (const runtime of runtimes()) seen.set(runtime, runtime.stats()); // PM1: told before
  const publish = (): void => {
    timer = clock.setTimer(STATS_EVERY_MS, publish);
    const sums = Object.fromEntries([...GAUGES, ...TOTALS].map((name) => [name, 0])) as Sums;
    let longestTurnMs = 0;
    for (const runtime of runtimes()) {
      const stats = runtime.stats();
      const before = seen.get(runtime);
      for (const name of GAUGES) sums[name] += stats[name];
      for (const name of TOTALS) sums[name] += stats[name] - (before?.[name] ?? 0);
      longestTurnMs = Math.max(longestTurnMs, stats.longestTurnMs);
      runtime.resetLongestTurn();
      seen.set(runtime, stats);
    }
    metrics.processesResident.set(sums.residentCount);
    metrics.processesQuarantined.set(sums.quarantinedCount);
    metrics.processesWaiting.set(sums.waitingCount);
    metrics.processTablesPaused.set(sums.pausedTablesCount);
    metrics.processLoadsWaiting.set(sums.loadsWaitingCount);
    metrics.longestTurn.set(longestTurnMs / 1_000);
    metrics.processCrashes.inc(sums.crashesTotal);
    metrics.processDeadLetters.inc(sums.deadLetteredTotal);
    metrics.processRefused.inc(sums.refusedTotal);
    for (const name of EVENTS)
      metrics.processEvents.inc({ event: name.slice(0, -"Total".length) }, sums[name]);
  };
  let timer = clock.setTimer(STATS_EVERY_MS, publish);
  return () => timer.cancel();
}
