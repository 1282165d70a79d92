// test/e2e/timer-owner.ts
// An owner of timers as a process of its own, to be killed: a real worker on a real Postgres, with a flow
// of three steps. Each step says so in a file before it sets the next one; what is written stays written.
// Arguments: database url, member id, file.
import { appendFileSync } from "node:fs";
import { createMemoryNetwork } from "@carillon/bus";
import { createMembership } from "@carillon/cluster";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createStore } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { createWorker } from "@carillon/worker";

const HOME = "fra";
const [url = "", memberId = "", file = ""] = process.argv.slice(2);
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
    timerHandlers: [
      {
        kind: "flow",
        async fire({ key, tenantId, payload, lateMs }, { timers }) {
          const step = Number(payload);
          appendFileSync(file, `${memberId} ${key} ${step} ${lateMs}\n`);
          if (step === 3) return;
          const due = { inMs: 200 };
          const isSet = await timers.set({ kind: "flow", key, tenantId, due, payload: step + 1 });
          if (!isSet) throw new Error("another owner has it");
        },
      },
    ],
  },
);
membership.start();
await worker.start();
setInterval(() => undefined, 60_000); // the clock's timers hold no process
