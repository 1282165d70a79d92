// apps/cli/src/node-command.ts
// `carillon node`: a region node as an operating-system process.
//   RN5  SIGTERM, SIGINT or the end of the process that started it: stops in order and exits 0; the
//        second one of these exits at once.
//   RN11 A thread that is held for a second is logged with the process that holds it; held for 5 s,
//        the recipient is written down for the next owner and the node is ended (P16).
//   RN10 A node that has given up (RN9) is logged as `node.gave_up`, stopped within the time of an
//        orderly stop, and exits 1: systemd starts it again.
//   RN6  A configuration that is not valid: every problem on stderr, exit 78. What nobody catches, a
//        rejection without a handler too, is logged as `node.uncaught` and ends the process with 1: a
//        node that is not sound must not go on. It stops in order, as one that gave up does: its
//        clients hear that they shall come back, its leases are given back.
import { performance } from "node:perf_hooks";
import { CONFIG_EXIT_CODE, ConfigError, type Environment, printConfig } from "@carillon/config";
import { type Clock, systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import {
  DEFAULT_RUNTIME_LIMITS,
  Pulse,
  type Stall,
  startWatchdog,
  type Watchdog,
} from "@carillon/process";
import type { LastWordsData } from "@carillon/store";
import { createLogger, createMetrics, type Logger } from "@carillon/telemetry";
import { reasonOf, stallObserver } from "./node-telemetry.ts";
import { homeOf, readRegionNodeConfig, type RegionNodeConfig } from "./region-node-config.ts";
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
  const pulse = new Pulse();
  let watchdog: Watchdog | undefined;
  const node = createRegionNode({
    config,
    pulse,
    load: loadOfThread(),
    memberId,
    build,
    clock: systemClock,
    random: systemRandom,
    scheduler: systemScheduler,
    log,
    metrics,
  });
  const uncaught = firstUncaught(log);
  const exitCode = await runUntilAsked(node, {
    asked: askedToStop(),
    uncaught,
    log,
    clock: systemClock,
    giveUpMaxMs: config.CARILLON_NODE_STOP_MAX_MS + config.CARILLON_NODE_GATEWAY_DRAIN_MS,
    onReady(ready) {
      log.info("node.ready", { ...ready, build });
      process.send?.(ready);
      // Not before: its threads load, too.
      watchdog = watchThisNode(pulse, {
        config,
        log,
        onStall: stallObserver({ log, metrics, runtimes: () => node.runtimes() }),
      });
    },
  });
  await watchdog?.stop();
  await systemClock.sleep(FLUSH_MS);
  return exitCode;
}

/** Share of time that the thread was busy since it was asked last, to the hundredth. */
function loadOfThread(): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return Math.round(utilization * 100) / 100;
  };
}

/** As a process in quarantine: the node may not have been its fault. */
const STUCK_QUARANTINE = {
  firstMs: DEFAULT_RUNTIME_LIMITS.quarantineMs,
  maxMs: DEFAULT_RUNTIME_LIMITS.quarantineMaxMs,
};

/** RN11. Last words only where there is a database to write them to. */
function watchThisNode(
  pulse: Pulse,
  {
    config,
    log,
    onStall,
  }: { config: RegionNodeConfig; log: Logger; onStall: (stall: Stall) => void },
): Watchdog {
  const url = config.CARILLON_NODE_STORE_URL?.reveal();
  const home = homeOf(config);
  return startWatchdog({
    clock: systemClock,
    pulse,
    ...(url !== undefined && {
      lastWords: {
        moduleUrl: import.meta.resolve("@carillon/store/last-words"),
        data: { url, home, times: STUCK_QUARANTINE } satisfies LastWordsData,
      },
    }),
    onStall,
    onError: ({ thread, fate, cause }) =>
      log.error("node.watchdog_died", { thread, fate, reason: reasonOf(cause) }),
  });
}

/** Anything that is started, asked to stop, and may give up: a region node, the discovery agent. */
export interface Runnable<Ready> {
  start(): Promise<Ready>;
  stop(): Promise<void>;
  readonly gaveUp: Promise<string>;
}

export interface NodeRun<Ready> {
  /** Resolves with the reason. */
  readonly asked: Promise<string>;
  /** Resolves when something was not caught, which is logged already (RN6). */
  readonly uncaught: Promise<void>;
  readonly log: Logger;
  readonly clock: Clock;
  /** What a node that has given up, or is not sound, may still take; then the rest is cut off. */
  readonly giveUpMaxMs: number;
  onReady(ready: Ready): void;
}

/** From start to stop. Resolves with the exit code; never rejects (RN5, RN6, RN10). */
export async function runUntilAsked<Ready extends object>(
  node: Runnable<Ready>,
  run: NodeRun<Ready>,
): Promise<number> {
  const { log, clock, giveUpMaxMs } = run;
  const stop = (): Promise<boolean> => stopsInOrder(node, log);
  const asked = run.asked.then((reason) => ({ end: "asked" as const, reason }));
  const health = { isSound: true };
  const uncaught = run.uncaught.then(() => {
    health.isSound = false;
    return { end: "uncaught" as const };
  });
  const gaveUp = node.gaveUp.then((reason) => ({ end: "gave_up" as const, reason }));
  const cutOff = run.uncaught.then(() => clock.sleep(giveUpMaxMs)).then(() => false);
  try {
    const ready = await Promise.race([node.start(), asked, uncaught]);
    if (!("end" in ready)) run.onReady(ready);
  } catch (cause) {
    log.error("node.start_failed", { reason: reasonOf(cause) });
    await Promise.race([stop(), cutOff]);
    return 1;
  }
  const end = await Promise.race([uncaught, asked, gaveUp]);
  if (end.end === "asked") {
    log.info("node.stopping", { reason: end.reason });
    const isInOrder = await Promise.race([stop(), cutOff]);
    if (!isInOrder || !health.isSound) return 1;
    log.info("node.stopped");
    return 0;
  }
  if (end.end === "gave_up") log.error("node.gave_up", { reason: end.reason });
  await Promise.race([stop(), clock.sleep(giveUpMaxMs)]);
  return 1;
}

async function stopsInOrder(node: Pick<Runnable<object>, "stop">, log: Logger): Promise<boolean> {
  try {
    await node.stop();
    return true;
  } catch (cause) {
    log.error("node.stop_failed", { reason: reasonOf(cause) });
    return false;
  }
}

/**
 * RN6: resolves with the first exception or rejection of this process that nobody caught. It is logged;
 * what follows from it, maybe with each tick, is not.
 */
export function firstUncaught(log: Logger): Promise<void> {
  const uncaught = Promise.withResolvers<void>();
  let isFirst = true;
  const onBug = (cause: unknown): void => {
    log[isFirst ? "error" : "debug"]("node.uncaught", { reason: reasonOf(cause) });
    isFirst = false;
    uncaught.resolve();
  };
  process.on("uncaughtException", onBug).on("unhandledRejection", onBug);
  return uncaught.promise;
}

const EXIT_AT_ONCE = 130;

/** Resolves at the first signal with its name; the second ends the process (RN5). */
export function askedToStop(): Promise<string> {
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
