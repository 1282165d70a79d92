// An owner of chains as a process of its own, to be killed: a real worker on a real Postgres, which posts to
// webhooks as plainly as can be (the guarded sender is packages/channels'). Arguments: database url, member id.
import { createMemoryNetwork } from "@carillon/bus";
import { createMembership } from "@carillon/cluster";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createStore } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { createWorker } from "@carillon/worker";

const HOME = "fra";
const [url = "", memberId = ""] = process.argv.slice(2);
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
    webhooks: {
      async post({ id, url: to, body }) {
        try {
          const headers = { "webhook-id": id };
          const { status } = await fetch(to, { method: "POST", headers, body });
          const code = `http_${status}`;
          if (status < 300) return { kind: "accepted" };
          return status === 410 ? { kind: "refused", code } : { kind: "failed", code };
        } catch {
          return { kind: "failed", code: "network" };
        }
      },
    },
  },
);
membership.start();
await worker.start();
setInterval(() => undefined, 60_000); // the clock's timers hold no process
