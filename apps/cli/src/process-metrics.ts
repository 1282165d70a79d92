// apps/cli/src/process-metrics.ts
// What the processes of a node do as metrics: recipients' (runtime worker), sessions' (gateway).
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
/** By the role that it belongs to; undefined: it does not run here. */
export type RoleRuntimes = Readonly<Record<"worker" | "gateway", ProcessRuntime | undefined>>;

/** Once a second; returns what ends it. */
export function publishProcessStats(deps: {
  readonly runtimes: () => RoleRuntimes;
  readonly metrics: Metrics;
  readonly clock: Clock;
}): () => void {
  const { runtimes, metrics, clock } = deps;
  const seen = new WeakMap<ProcessRuntime, RuntimeStats>();
  for (const [, runtime] of running(runtimes())) seen.set(runtime, runtime.stats()); // PM1: told before
  const publish = (): void => {
    timer = clock.setTimer(STATS_EVERY_MS, publish);
    for (const [role, runtime] of running(runtimes())) {
      const stats = runtime.stats();
      publishRuntime(metrics, role, { stats, before: seen.get(runtime) });
      runtime.resetLongestTurn();
      seen.set(runtime, stats);
    }
  };
  let timer = clock.setTimer(STATS_EVERY_MS, publish);
  return () => timer.cancel();
}

function running(runtimes: RoleRuntimes): [keyof RoleRuntimes, ProcessRuntime][] {
  return (["worker", "gateway"] as const).flatMap((role) => {
    const runtime = runtimes[role];
    return runtime === undefined ? [] : [[role, runtime]];
  });
}

function publishRuntime(
  metrics: Metrics,
  role: keyof RoleRuntimes,
  { stats, before }: { readonly stats: RuntimeStats; readonly before: RuntimeStats | undefined },
): void {
  const runtime = { runtime: role };
  const added = (name: (typeof TOTALS)[number]): number => stats[name] - (before?.[name] ?? 0);
  metrics.processesResident.set(runtime, stats.residentCount);
  metrics.processesQuarantined.set(runtime, stats.quarantinedCount);
  metrics.processesWaiting.set(runtime, stats.waitingCount);
  metrics.processTablesPaused.set(runtime, stats.pausedTablesCount);
  metrics.processLoadsWaiting.set(runtime, stats.loadsWaitingCount);
  metrics.longestTurn.set(runtime, stats.longestTurnMs / 1_000);
  metrics.processCrashes.inc(runtime, added("crashesTotal"));
  metrics.processDeadLetters.inc(runtime, added("deadLetteredTotal"));
  metrics.processRefused.inc(runtime, added("refusedTotal"));
  for (const name of EVENTS)
    metrics.processEvents.inc({ ...runtime, event: name.slice(0, -"Total".length) }, added(name));
}
