// apps/ingest/src/retention.ts
// Sweeps what is over its time out of the region's database, again and again (ADR 0027).
//   RT6  A sweep follows the last one's end, on every node while its home is served here, none in time
//        with another; one that fails is tried again, and stops nothing.
import { type Clock, Fault, type Random } from "@carillon/kernel";
import type { RetentionPolicy, RetentionReport, Store } from "@carillon/store";

export interface RetentionDeps {
  readonly store: Pick<Store, "retention">;
  readonly policy: RetentionPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly onSwept: (report: RetentionReport) => void;
  readonly onFault: (event: "retention.failed", cause: unknown) => void;
  /** A bug: this is over. */
  readonly onCrash: (cause: unknown) => void;
}

/** Each with jitter, so that the nodes of a region do not come at once. */
const DELAY_MS = {
  first: 60_000, // a node that has just begun has other things to do
  idle: 600_000, // parts are cut by days; keys live up to this beyond their 24 hours
  again: 60_000, // RT3: whoever waits behind a lock does so once a minute at most
  more: 1_000,
} as const;

/** Until it is stopped; a step that is under way then ends by itself. */
export function startRetention(deps: RetentionDeps): { stop(): void } {
  const { store, policy, clock, random } = deps;
  let isStopped = false;
  const arm = (delay: keyof typeof DELAY_MS) =>
    clock.setTimer(DELAY_MS[delay] * (0.5 + random.next()), () => {
      sweep().catch(deps.onCrash);
    });
  let timer = arm("first");
  const sweep = async (): Promise<void> => {
    const next = await once();
    if (!isStopped) timer = arm(next);
  };
  const once = async (): Promise<keyof typeof DELAY_MS> => {
    try {
      const report = await store.retention.sweep(policy);
      deps.onSwept(report);
      if (report.hasMore) return "more";
      return report.isBusy ? "again" : "idle";
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      if (!isStopped) deps.onFault("retention.failed", cause);
      return "again";
    }
  };
  return {
    stop() {
      isStopped = true;
      timer.cancel();
    },
  };
}
