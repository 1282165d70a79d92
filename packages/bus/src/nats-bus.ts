// packages/bus/src/nats-bus.ts
// The bus over core NATS: dials for ever, with jitter, one server after the other.
import { Fault, systemScheduler } from "@carillon/kernel";
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import type { Bus } from "./bus.ts";
import { BusCore } from "./bus-core.ts";
import type { BusEvent } from "./events.ts";
import type { BusTls } from "./greeting.ts";
import { dialNats, hostOf } from "./nats-link.ts";
import type { NatsCredentials, NatsServerLink } from "./nats-link.ts";
import { Pauses } from "./pauses.ts";

export interface ConnectBusOptions {
  /** nats:// addresses of this region's servers; tried in turn from a random one. */
  readonly urls: readonly string[];
  /** Shown by the server's monitoring, e.g. "fra/worker/0193…". */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler?: Scheduler; // default: the system's
  readonly credentials?: NatsCredentials; // default: none
  readonly tls?: BusTls; // default: as the server wants it, by the authorities that Node trusts
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
  /** After its server went into lame duck mode a link may still bring answers for so long. */
  readonly lameDuckLingerMs: number;
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
  lameDuckLingerMs: 5_000, // above most time-outs of requests; the server itself stays 30 s
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
  const dial = (url: string): Promise<NatsServerLink> =>
    dialNats({ url, name, credentials, tls: options.tls, clock, onEvent, ...limits });
  const firstConnection = Promise.withResolvers<void>();
  core.onConnection(() => firstConnection.resolve());
  const keeping = keepConnected(core, dial, { ...options, limits, onEvent });
  if (options.onCrash !== undefined) keeping.catch(options.onCrash);
  const timer = clock.setTimer(limits.firstConnectMaxMs, firstConnection.resolve);
  await firstConnection.promise;
  timer.cancel();
  return core;
}

interface KeepOptions extends ConnectBusOptions {
  readonly limits: BusLimits;
  readonly onEvent: (event: BusEvent) => void;
}

/** `link` is in use until a dialled one has taken over from it. */
async function keepConnected(
  core: BusCore,
  dial: (url: string) => Promise<NatsServerLink>,
  options: KeepOptions,
): Promise<void> {
  const { urls, random, limits, onEvent } = options;
  const between = (minMs: number, maxMs: number): number => minMs + random.next() * (maxMs - minMs);
  let next = Math.floor(random.next() * urls.length);
  let leaving: NatsServerLink | undefined; // its server is in lame duck mode
  let failuresCount = 0; // since the last link
  const pauses = new Pauses(options.clock, core.closing);
  while (!core.isClosing) {
    const url = urls[next++ % urls.length] ?? "";
    let delayMs = between(0, limits.reconnectMinMs); // the first try after a loss comes soon
    try {
      const link = await dial(url);
      if (leaving !== undefined) await leave(core, leaving, pauses, limits);
      leaving = (await useUntilEnd(core, link)) === "lame_duck" ? link : undefined;
      failuresCount = 0;
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      onEvent({ kind: "connect_failed", server: hostOf(url), code: dialCodeOf(cause) });
      // Each server is tried before any of them rests.
      if (++failuresCount % urls.length === 0)
        delayMs = between(limits.reconnectMinMs, limits.reconnectMaxMs);
    }
    if (!core.isClosing) await pauses.pause(delayMs);
  }
}

async function useUntilEnd(core: BusCore, link: NatsServerLink): Promise<"lost" | "lame_duck"> {
  if (core.isClosing) {
    link.close(); // drained while it was dialled
    return "lost";
  }
  const lost = link.lost.then((reason) => {
    core.detach(link, reason);
    return "lost" as const;
  });
  await core.attach(link);
  return Promise.race([lost, link.lameDuck.then(() => "lame_duck" as const)]);
}

/** What is under way is handed over before the next link brings more: nothing comes twice. */
async function leave(
  core: BusCore,
  link: NatsServerLink,
  pauses: Pauses,
  limits: BusLimits,
): Promise<void> {
  core.release(link);
  await Promise.race([link.retire(), link.lost, pauses.pause(limits.dialMaxMs)]);
  void Promise.race([link.lost, pauses.pause(limits.lameDuckLingerMs)]).then(() => link.close());
}

function dialCodeOf({ code }: Fault): "unreachable" | "unauthorized" | "tls" | "protocol" {
  return code === "unauthorized" || code === "tls" || code === "protocol" ? code : "unreachable";
}
