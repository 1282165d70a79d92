// packages/bus/src/nats-bus.ts
// The bus over core NATS: dials for ever, with jitter, one server after the other.
import { Fault, systemScheduler } from "@carillon/kernel";
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import type { Bus } from "./bus.ts";
import { BusCore } from "./bus-core.ts";
import type { BusEvent } from "./events.ts";
import type { Link } from "./link.ts";
import { dialNats, hostOf, type NatsCredentials } from "./nats-link.ts";

export interface ConnectBusOptions {
  /** nats:// addresses of this region's servers; tried in turn from a random one. */
  readonly urls: readonly string[];
  /** Shown by the server's monitoring, e.g. "fra/worker/0193…". */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler?: Scheduler; // default: the system's
  readonly credentials?: NatsCredentials; // default: none
  /** First token(s) of reply subjects, so that a role's permissions can name them. */
  readonly inboxPrefix?: string; // default "_INBOX"
  readonly onEvent?: (event: BusEvent) => void;
  /** The loop that keeps it connected has ended by a bug. Default: an unhandled rejection. */
  readonly onCrash?: (cause: unknown) => void;
  readonly limits?: Partial<BusLimits>;
}

export interface BusLimits {
  readonly payloadMaxBytes: number;
  /** Sent and not yet confirmed by the server; beyond it messages are refused (BU4). */
  readonly outputMaxBytes: number;
  /** Waiting for subscribers in this process; beyond it messages are refused (BU4). */
  readonly localMaxBytes: number;
  readonly dialMaxMs: number;
  readonly pingIntervalMs: number;
  readonly pingsOutMax: number;
  readonly reconnectMinMs: number;
  readonly reconnectMaxMs: number;
  /** `connectBus` returns a bus that is not connected after this, and the bus goes on trying. */
  readonly firstConnectMaxMs: number;
  readonly drainMaxMs: number;
}

export const BUS_LIMITS: BusLimits = {
  payloadMaxBytes: 4 * 2 ** 20, // as nats.conf says (cluster/nats-conf.ts); the smaller one counts
  outputMaxBytes: 32 * 2 ** 20, // about 0.1 s of one busy connection
  localMaxBytes: 64 * 2 ** 20,
  dialMaxMs: 3_000,
  pingIntervalMs: 2_000,
  pingsOutMax: 2, // a stopped server is left after 4 to 6 s
  reconnectMinMs: 500,
  reconnectMaxMs: 2_000,
  firstConnectMaxMs: 10_000,
  drainMaxMs: 5_000,
};

/**
 * Connects and keeps connected until `drain`. Resolves with the first connection, or without one
 * after `firstConnectMaxMs`: `isConnected` tells. Never rejects. Invariants BU1–BU7.
 */
export async function connectBus(options: ConnectBusOptions): Promise<Bus> {
  const limits = { ...BUS_LIMITS, ...options.limits };
  const { clock, random, name } = options;
  const onEvent = options.onEvent ?? ((): void => undefined);
  const core = new BusCore({
    name,
    inboxPrefix: options.inboxPrefix ?? "_INBOX",
    payloadMaxBytes: limits.payloadMaxBytes,
    localMaxBytes: limits.localMaxBytes,
    drainMaxMs: limits.drainMaxMs,
    scheduler: options.scheduler ?? systemScheduler,
    clock,
    random,
    onEvent,
  });
  const credentials = options.credentials ?? { kind: "none" };
  const dial = (url: string): Promise<Link> =>
    dialNats({ url, name, credentials, clock, onEvent, ...limits });
  const firstConnection = Promise.withResolvers<void>();
  core.onConnection(() => firstConnection.resolve());
  const keeping = keepConnected(core, dial, { ...options, limits, onEvent });
  if (options.onCrash !== undefined) keeping.catch(options.onCrash);
  const timer = clock.setTimer(limits.firstConnectMaxMs, firstConnection.resolve);
  await firstConnection.promise;
  timer.cancel();
  return core;
}

async function keepConnected(
  core: BusCore,
  dial: (url: string) => Promise<Link>,
  options: ConnectBusOptions & {
    readonly limits: BusLimits;
    readonly onEvent: (event: BusEvent) => void;
  },
): Promise<void> {
  const { urls, random, limits, onEvent } = options;
  const between = (minMs: number, maxMs: number): number => minMs + random.next() * (maxMs - minMs);
  let next = Math.floor(random.next() * urls.length);
  while (!core.isClosing) {
    const url = urls[next++ % urls.length] ?? "";
    let delayMs = between(limits.reconnectMinMs, limits.reconnectMaxMs);
    try {
      const link = await dial(url);
      await useUntilLost(core, link);
      delayMs = between(0, limits.reconnectMinMs); // the first try after a loss comes soon
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      const code =
        cause.code === "unauthorized" || cause.code === "protocol" ? cause.code : "unreachable";
      onEvent({ kind: "connect_failed", server: hostOf(url), code });
    }
    if (!core.isClosing) await pause(core, options.clock, delayMs);
  }
}

async function useUntilLost(core: BusCore, link: Link): Promise<void> {
  if (core.isClosing) return link.close(); // drained while it was dialled
  await core.attach(link);
  core.detach(link, await link.lost);
}

/** Ends early when the bus is drained. A sleep, not a timer: it keeps a starting node alive. */
async function pause(core: BusCore, clock: Clock, delayMs: number): Promise<void> {
  await Promise.race([clock.sleep(delayMs), core.closing]);
}
