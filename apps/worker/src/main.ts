// apps/worker/src/main.ts
// Runs one worker node by itself: store, bus, membership, worker; SIGTERM hands over and ends.
import { connectBus } from "@carillon/bus";
import { createMembership } from "@carillon/cluster";
import { CONFIG_EXIT_CODE, ConfigError, printConfig, readConfig } from "@carillon/config";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createStore } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { WORKER_TABLE } from "./config.ts";
import { createWorker } from "./worker.ts";

const BUILD = "0.1.0";
const MEMBERSHIP = { beatEveryMs: 1_000, lostAfterMs: 5_000, lostAfterRemoteMs: 10_000 };

try {
  const config = readConfig(WORKER_TABLE, process.env);
  if (process.argv.includes("--print-config")) console.log(printConfig(config));
  if (process.argv.includes("--print-config") || process.argv.includes("--check-config"))
    process.exit(0);
  await run(config);
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  console.error(error.message);
  process.exit(CONFIG_EXIT_CODE);
}

async function run(config: ReturnType<typeof readConfig<typeof WORKER_TABLE>>): Promise<void> {
  const region = config.CARILLON_WORKER_REGION;
  const nonce = Buffer.from(systemRandom.bytes(5)).toString("hex");
  const memberId = `${region}-worker-${nonce}`;
  const clock = systemClock;
  const log = createLogger({
    region,
    node: memberId,
    component: "worker",
    level: config.CARILLON_WORKER_LOG_LEVEL,
  });
  const metrics = createMetrics({ region, hasDefaults: true });
  const store = createStore({
    url: config.CARILLON_WORKER_STORE_URL.reveal(),
    poolMax: config.CARILLON_WORKER_STORE_POOL_MAX,
    applicationName: memberId,
    connectTimeoutMs: 5_000,
    statementTimeoutMs: 15_000,
  });
  const bus = await connectBus({
    urls: config.CARILLON_WORKER_NATS_URLS,
    name: memberId,
    clock,
    random: systemRandom,
    onEvent: ({ kind }) => metrics.busEvents.inc({ event: kind }),
  });
  const membership = createMembership(
    { self: { memberId, region, roles: ["worker"], build: BUILD }, ...MEMBERSHIP },
    {
      bus,
      clock,
      scheduler: systemScheduler,
      onMalformed: () => metrics.messagesMalformed.inc({ subject: "beat" }),
    },
  );
  const worker = createWorker(
    { home: region, memberId, limits: { graceMs: config.CARILLON_WORKER_SESSION_GRACE_MS } },
    {
      bus,
      store,
      membership,
      clock,
      scheduler: systemScheduler,
      random: systemRandom,
      log,
      metrics,
    },
  );
  membership.start();
  worker.start();
  log.info("node.ready");

  const stop = async (): Promise<void> => {
    membership.drain();
    await worker.drain();
    worker.stop();
    membership.stop();
    await bus.drain();
    await store.close();
    log.info("node.stopped");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop());
}
