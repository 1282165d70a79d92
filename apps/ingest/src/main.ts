// apps/ingest/src/main.ts
// Runs one ingest node by itself: store, bus, membership, HTTP; SIGTERM drains and ends it.
import { connectBus } from "@carillon/bus";
import { createMembership } from "@carillon/cluster";
import {
  CONFIG_EXIT_CODE,
  ConfigError,
  type ConfigOf,
  printConfig,
  readConfig,
} from "@carillon/config";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createStore } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import type { JWK } from "jose";
import { INGEST_TABLE } from "./config.ts";
import { createEvents } from "./create-events.ts";
import { createIngest, type IngestConfig } from "./ingest.ts";
import { INGEST_LIMITS } from "./limits.ts";

type Settings = ConfigOf<typeof INGEST_TABLE>;

const BUILD = "0.1.0";
const MEMBERSHIP = { beatEveryMs: 1_000, lostAfterMs: 5_000, lostAfterRemoteMs: 10_000 };

try {
  const settings = readConfig(INGEST_TABLE, process.env);
  if (process.argv.includes("--print-config")) console.log(printConfig(settings));
  if (process.argv.includes("--print-config") || process.argv.includes("--check-config"))
    process.exit(0);
  await run(settings);
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  console.error(error.message);
  process.exit(CONFIG_EXIT_CODE);
}

async function run(settings: Settings): Promise<void> {
  const region = settings.CARILLON_INGEST_REGION;
  const nonce = Buffer.from(systemRandom.bytes(5)).toString("hex");
  const memberId = `${region}-ingest-${nonce}`;
  const clock = systemClock;
  const random = systemRandom;
  const level = settings.CARILLON_INGEST_LOG_LEVEL;
  const log = createLogger({ region, node: memberId, component: "ingest", level });
  const metrics = createMetrics({ region, hasDefaults: true });
  const store = createStore({
    url: settings.CARILLON_INGEST_STORE_URL.reveal(),
    poolMax: settings.CARILLON_INGEST_STORE_POOL_MAX,
    applicationName: memberId,
    connectTimeoutMs: 5_000,
    statementTimeoutMs: 15_000,
  });
  const bus = await connectBus({
    urls: settings.CARILLON_INGEST_NATS_URLS,
    name: memberId,
    clock,
    random,
    onEvent: ({ kind }) => metrics.busEvents.inc({ event: kind }),
  });
  const membership = createMembership(
    { self: { memberId, region, roles: ["ingest"], build: BUILD }, ...MEMBERSHIP },
    {
      bus,
      clock,
      scheduler: systemScheduler,
      onMalformed: () => metrics.messagesMalformed.inc({ subject: "beat" }),
    },
  );
  const ingest = await createIngest({
    config: configOf(settings),
    store,
    bus,
    owners: membership,
    clock,
    random,
    events: createEvents(log, metrics, clock),
    metricsText: () => metrics.render(),
  });
  membership.start();
  const { port } = await ingest.start();
  log.info("node.ready", { port });

  const stop = async (): Promise<void> => {
    membership.drain();
    await ingest.stop();
    membership.stop();
    await bus.drain();
    await store.close();
    log.info("node.stopped");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop());
}

function configOf(settings: Settings): IngestConfig {
  return {
    region: settings.CARILLON_INGEST_REGION,
    regions: settings.CARILLON_INGEST_REGIONS,
    host: settings.CARILLON_INGEST_HOST,
    port: settings.CARILLON_INGEST_PORT,
    apiKeyPepper: settings.CARILLON_INGEST_KEY_PEPPER.reveal(),
    tokenKeys: {
      privateJwk: JSON.parse(settings.CARILLON_INGEST_TOKEN_PRIVATE_KEY.reveal()) as JWK,
      publicJwks: settings.CARILLON_INGEST_TOKEN_PUBLIC_KEYS,
    },
    limits: { ...INGEST_LIMITS, drainMaxMs: settings.CARILLON_INGEST_DRAIN_MAX_MS },
  };
}
