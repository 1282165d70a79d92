// apps/gateway/src/main.ts
// Runs one gateway node by itself: bus, membership, sockets; SIGTERM drains and ends it.
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
import { createLogger } from "@carillon/telemetry";
import { parseKeySet } from "./authenticate.ts";
import { GATEWAY_TABLE } from "./config.ts";
import { createGateway, type GatewayConfig } from "./gateway.ts";

type Settings = ConfigOf<typeof GATEWAY_TABLE>;

const BUILD = "0.1.0";
const MEMBERSHIP = { beatEveryMs: 1_000, lostAfterMs: 5_000, lostAfterRemoteMs: 10_000 };

try {
  const settings = readConfig(GATEWAY_TABLE, process.env);
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
  const region = settings.CARILLON_GATEWAY_REGION;
  const memberId = `${region}-gateway-${Buffer.from(systemRandom.bytes(5)).toString("hex")}`;
  const system = { clock: systemClock, random: systemRandom, scheduler: systemScheduler };
  const level = settings.CARILLON_GATEWAY_LOG_LEVEL;
  const log = createLogger({ region, node: memberId, component: "gateway", level });
  const bus = await connectBus({
    urls: settings.CARILLON_GATEWAY_NATS_URLS,
    name: memberId,
    ...system,
    onEvent: ({ kind }) => log.debug("bus.event", { kind }),
  });
  const members = createMembership(
    { self: { memberId, region, roles: ["gateway"], build: BUILD }, ...MEMBERSHIP },
    { bus, ...system, onMalformed: () => log.warn("member.beat_malformed") },
  );
  const gateway = createGateway({
    config: configOf(settings),
    memberId,
    bus,
    members,
    log,
    ...system,
  });
  members.start();
  const { port } = await gateway.start();
  log.info("node.ready", { port });

  const stop = async (): Promise<void> => {
    members.drain();
    await gateway.drain();
    await gateway.stop();
    members.stop();
    await bus.drain();
    log.info("node.stopped");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop());
}

function configOf(settings: Settings): GatewayConfig {
  const issuer = settings.CARILLON_GATEWAY_TOKEN_ISSUER;
  const audience = settings.CARILLON_GATEWAY_TOKEN_AUDIENCE;
  const keySet = parseKeySet(settings.CARILLON_GATEWAY_JWKS.reveal());
  if (!keySet.ok) throw new ConfigError([`CARILLON_GATEWAY_JWKS must be ${keySet.expected}`]);
  return {
    region: settings.CARILLON_GATEWAY_REGION,
    host: settings.CARILLON_GATEWAY_HOST,
    port: settings.CARILLON_GATEWAY_PORT,
    origins: settings.CARILLON_GATEWAY_ORIGINS,
    auth: {
      jwks: keySet.value,
      regions: settings.CARILLON_GATEWAY_REGIONS,
      ...(issuer === "" ? {} : { issuer }),
      ...(audience === "" ? {} : { audience }),
    },
    limits: {
      socketsMax: settings.CARILLON_GATEWAY_SOCKETS_MAX,
      drainMs: settings.CARILLON_GATEWAY_DRAIN_MAX_MS,
    },
  };
}
