// test/e2e/owner-process.ts
// An owner of partitions as a process of its own, to be killed: a real worker on a real Postgres, alone on its bus.
// Arguments of whoever calls it: database url, member id.
import { createMemoryNetwork } from "@carillon/bus";
import { createMembership } from "@carillon/cluster";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createStore } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { createWorker } from "@carillon/worker";

const HOME = "fra";
type Handlers = Pick<Parameters<typeof createWorker>[1], "timerHandlers" | "webhooks">;

const [url = "", ownId = "", ...rest] = process.argv.slice(2);
export const memberId = ownId;
/** Arguments after these two. */
export const others: readonly string[] = rest;

export async function runOwner(handlers: Handlers): Promise<void> {
  const deps = {
    bus: createMemoryNetwork().connect(memberId),
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
  };
  const self = { memberId, region: HOME, roles: ["worker" as const], build: "test" };
  const membership = createMembership({ self }, { ...deps, onMalformed: () => undefined });
  const worker = createWorker(
    { home: HOME, memberId, placement: { settleMs: 500, holdMs: 500 } },
    {
      ...deps,
      ...handlers,
      store: createStore({
        url,
        poolMax: 4,
        applicationName: memberId,
        connectTimeoutMs: 20_000,
        statementTimeoutMs: 20_000,
      }),
      membership,
      log: createLogger({ region: HOME, node: memberId, component: "test", level: "fatal" }),
      metrics: createMetrics({ region: HOME, hasDefaults: false }),
    },
  );
  membership.start();
  await worker.start();
  setInterval(() => undefined, 60_000); // the clock's timers hold no process
}
