// apps/cli/src/node-command.ts
// `carillon node`: a region node as an operating-system process.
//   RN5  SIGTERM, SIGINT or the end of the process that started it: stops in order and exits 0; the
//        second one of these exits at once.
//   RN6  A configuration that is not valid: every problem on stderr, exit 78. What is not caught is
//        logged and ends the process with 1: a node that is not sound must not go on.
import { CONFIG_EXIT_CODE, ConfigError, type Environment, printConfig } from "@carillon/config";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { reasonOf } from "./node-telemetry.ts";
import { readRegionNodeConfig, type RegionNodeConfig } from "./region-node-config.ts";
import { createRegionNode, newMemberId } from "./region-node.ts";

export interface NodeCommandOptions {
  readonly env: Environment;
  readonly build: string;
  readonly mode: "run" | "check-config" | "print-config";
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const FLUSH_MS = 50; // what was logged last is on its way to the file

/** Resolves with the exit code. */
export async function runNodeCommand(options: NodeCommandOptions): Promise<number> {
  let config: RegionNodeConfig;
  try {
    config = readRegionNodeConfig(options.env);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    options.err(cause.problems.map((problem) => `carillon node: ${problem}\n`).join(""));
    return CONFIG_EXIT_CODE;
  }
  if (options.mode === "print-config") options.out(`${printConfig(config)}\n`);
  if (options.mode === "check-config") options.out("carillon node: the settings are valid\n");
  return options.mode === "run" ? runNode(config, options.build) : 0;
}

async function runNode(config: RegionNodeConfig, build: string): Promise<number> {
  const region = config.CARILLON_NODE_REGION;
  const memberId = newMemberId(config, systemRandom);
  const level = config.CARILLON_NODE_LOG_LEVEL;
  const log = createLogger({ region, node: memberId, component: "node", level });
  const metrics = createMetrics({ region, hasDefaults: true });
  const node = createRegionNode({
    config,
    memberId,
    build,
    clock: systemClock,
    random: systemRandom,
    scheduler: systemScheduler,
    log,
    metrics,
  });
  const onBug = (cause: unknown): void => {
    log.error("node.uncaught", { reason: reasonOf(cause) });
    process.exit(1); // RN6
  };
  process.on("uncaughtException", onBug).on("unhandledRejection", onBug);
  const asked = askedToStop();
  try {
    const ready = await Promise.race([node.start(), asked]);
    if (typeof ready === "string") log.info("node.stopping", { reason: ready });
    else {
      log.info("node.ready", { ...ready, build });
      process.send?.(ready);
      log.info("node.stopping", { reason: await asked });
    }
  } catch (cause) {
    log.error("node.start_failed", { reason: reasonOf(cause) });
    await node.stop();
    await systemClock.sleep(FLUSH_MS);
    return 1;
  }
  await node.stop();
  log.info("node.stopped");
  await systemClock.sleep(FLUSH_MS);
  return 0;
}

const EXIT_AT_ONCE = 130;

/** Resolves at the first signal with its name; the second ends the process (RN5). */
function askedToStop(): Promise<string> {
  const asked = Promise.withResolvers<string>();
  let isAsked = false;
  const ask = (reason: string): void => {
    if (isAsked) process.exit(EXIT_AT_ONCE);
    isAsked = true;
    asked.resolve(reason);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => ask(signal));
  if (process.connected)
    process.once("disconnect", () => {
      if (!isAsked) ask("parent_gone"); // while it stops anyway, that is no second wish
    });
  return asked.promise;
}
