// apps/cli/src/region-node.ts
// One process of one region with the roles it is given: the unit of production and of `carillon dev`.
//   RN2  Start: store (where a role needs it) → bus → membership → worker → gateway → ingest; nobody
//        is let in before what serves him runs. Stop in reverse, each step bounded: no new
//        partitions, no new writes, sockets told to go elsewhere, partitions handed over, then NATS
//        and the database.
//   RN3  `stop` is safe at any moment and twice; what was not started is not stopped.
import { type Bus, connectBus } from "@carillon/bus";
import { createMembership, type Membership } from "@carillon/cluster";
import { createGateway, type Gateway } from "@carillon/gateway";
import { createEvents, createIngest, type Ingest } from "@carillon/ingest";
import { assert, type Clock, type Random, type Scheduler } from "@carillon/kernel";
import { createStore, type Store } from "@carillon/store";
import type { Logger, Metrics } from "@carillon/telemetry";
import { createWorker, type Worker } from "@carillon/worker";
import type { NodeReady } from "./node-messages.ts";
import { busEventObserver, publishGatewayStats, publishOutboxAge } from "./node-telemetry.ts";
import { type RegionNodeConfig, rolesOf } from "./region-node-config.ts";

export interface RegionNodeDeps {
  readonly config: RegionNodeConfig;
  readonly memberId: string;
  readonly build: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface RegionNode {
  /** Throws Fault or Error for what does not start; then call `stop`. */
  start(): Promise<NodeReady>;
  /** RN2, RN3. Never rejects. */
  stop(): Promise<void>;
}

const MEMBER_ID_RANDOM_CHARACTERS = 8;
const CONNECT_TIMEOUT_MS = 5_000;
const BEAT_EVERY_MS = 1_000;

/** New at every start: it is the member's incarnation. Only [a-z0-9-]: part of NATS subjects. */
export function newMemberId(config: RegionNodeConfig, random: Random): string {
  const roles = rolesOf(config);
  const [only] = roles;
  const what = roles.length === 1 && only !== undefined ? only : "node";
  const digits = Array.from({ length: MEMBER_ID_RANDOM_CHARACTERS }, () =>
    Math.floor(random.next() * 36).toString(36),
  );
  return `${config.CARILLON_NODE_REGION}-${what}-${digits.join("")}`;
}

export function createRegionNode(deps: RegionNodeDeps): RegionNode {
  return new ComposedNode(deps);
}

class ComposedNode implements RegionNode {
  readonly #deps: RegionNodeDeps;
  readonly #undo: { readonly name: string; readonly run: () => Promise<void> | void }[] = [];
  #starting: Promise<NodeReady> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(deps: RegionNodeDeps) {
    this.#deps = deps;
  }

  start(): Promise<NodeReady> {
    this.#starting ??= this.#startAll();
    return this.#starting;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #startAll(): Promise<NodeReady> {
    const { config, memberId } = this.#deps;
    const roles = rolesOf(config);
    const isStoreNeeded = roles.includes("ingest") || roles.includes("worker");
    const store = isStoreNeeded ? await this.#startStore() : null;
    const bus = await this.#startBus();
    const membership = this.#startMembership(bus);
    if (store && roles.includes("worker")) this.#startWorker({ store, bus, membership });
    const gatewayPort = roles.includes("gateway")
      ? await this.#startGateway({ bus, membership })
      : null;
    const ingestPort =
      store && roles.includes("ingest")
        ? await this.#startIngest({ store, bus, membership })
        : null;
    // First of all at the end: others give this member nothing new while it goes (CL6).
    this.#onStop("membership.drain", () => membership.drain());
    return { kind: "ready", memberId, ingestPort, gatewayPort };
  }

  async #startStore(): Promise<Store> {
    const { config, memberId } = this.#deps;
    const url = config.CARILLON_NODE_STORE_URL;
    assert(url, "RN1 the roles ingest and worker have their database");
    const store = createStore({
      url: url.reveal(),
      poolMax: config.CARILLON_NODE_STORE_POOL_MAX,
      applicationName: memberId,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      statementTimeoutMs: config.CARILLON_NODE_STORE_STATEMENT_MS,
    });
    this.#onStop("store", () => store.close());
    await store.migrate();
    await store.ensureHome(config.CARILLON_NODE_REGION);
    return store;
  }

  async #startBus(): Promise<Bus> {
    const { config, memberId, clock, random, scheduler, log, metrics } = this.#deps;
    const bus = await connectBus({
      urls: config.CARILLON_NODE_NATS_URLS,
      name: memberId,
      clock,
      random,
      scheduler,
      onEvent: busEventObserver({ log: log.child("bus"), metrics }),
    });
    metrics.busConnected.set(bus.isConnected ? 1 : 0);
    bus.onConnection((isConnected) => metrics.busConnected.set(isConnected ? 1 : 0));
    this.#onStop("bus", () => bus.drain());
    return bus;
  }

  #startMembership(bus: Bus): Membership {
    const { config, memberId, build, clock, scheduler, metrics } = this.#deps;
    const membership = createMembership(
      {
        self: { memberId, region: config.CARILLON_NODE_REGION, roles: rolesOf(config), build },
        beatEveryMs: BEAT_EVERY_MS,
        lostAfterMs: config.CARILLON_NODE_MEMBER_LOST_MS,
        lostAfterRemoteMs: config.CARILLON_NODE_MEMBER_LOST_REMOTE_MS,
      },
      {
        bus,
        clock,
        scheduler,
        onMalformed: () => metrics.messagesMalformed.inc({ subject: "beat" }),
      },
    );
    membership.start();
    this.#onStop("membership", () => membership.stop());
    return membership;
  }

  #startWorker(parts: { store: Store; bus: Bus; membership: Membership }): void {
    const { config, memberId, clock, random, scheduler, log, metrics } = this.#deps;
    const worker: Worker = createWorker(
      {
        home: config.CARILLON_NODE_REGION,
        memberId,
        limits: {
          graceMs: config.CARILLON_NODE_SESSION_GRACE_MS,
          ackMaxMs: config.CARILLON_NODE_ACK_MAX_MS,
          resendMax: config.CARILLON_NODE_RESEND_MAX,
        },
      },
      { ...parts, clock, random, scheduler, metrics, log: log.child("worker") },
    );
    worker.start();
    this.#onStop("worker", async () => {
      await worker.drain();
      worker.stop();
    });
  }

  async #startGateway(parts: { bus: Bus; membership: Membership }): Promise<number> {
    const { config, memberId, clock, random, scheduler, log, metrics } = this.#deps;
    const {
      CARILLON_NODE_TOKEN_PUBLIC_KEYS: jwks,
      CARILLON_NODE_TOKEN_ISSUER: issuer,
      CARILLON_NODE_TOKEN_AUDIENCE: audience,
    } = config;
    assert(jwks, "RN1 the role gateway has its keys");
    const gateway: Gateway = createGateway({
      config: {
        region: config.CARILLON_NODE_REGION,
        host: config.CARILLON_NODE_HOST,
        port: config.CARILLON_NODE_GATEWAY_PORT,
        auth: {
          jwks,
          regions: config.CARILLON_NODE_REGIONS,
          ...(issuer !== "" && { issuer }),
          ...(audience !== "" && { audience }),
        },
        origins: config.CARILLON_NODE_GATEWAY_ORIGINS,
        limits: {
          socketsMax: config.CARILLON_NODE_GATEWAY_SOCKETS_MAX,
          drainMs: config.CARILLON_NODE_GATEWAY_DRAIN_MS,
        },
      },
      memberId,
      bus: parts.bus,
      members: parts.membership,
      clock,
      random,
      scheduler,
      log: log.child("gateway"),
    });
    this.#onStop("gateway", async () => {
      await gateway.drain();
      await gateway.stop();
    });
    const { port } = await gateway.start();
    const stopStats = publishGatewayStats({ gateway, metrics, clock });
    this.#onStop("gateway.stats", stopStats);
    return port;
  }

  async #startIngest(parts: { store: Store; bus: Bus; membership: Membership }): Promise<number> {
    const { config, clock, random, log, metrics } = this.#deps;
    const {
      CARILLON_NODE_KEY_PEPPER: pepper,
      CARILLON_NODE_TOKEN_PRIVATE_KEY: privateJwk,
      CARILLON_NODE_TOKEN_PUBLIC_KEYS: publicJwks,
    } = config;
    assert(pepper && privateJwk && publicJwks, "RN1 the role ingest has its secrets");
    const ingest: Ingest = await createIngest({
      config: {
        region: config.CARILLON_NODE_REGION,
        regions: config.CARILLON_NODE_REGIONS,
        host: config.CARILLON_NODE_HOST,
        port: config.CARILLON_NODE_INGEST_PORT,
        apiKeyPepper: pepper.reveal(),
        tokenKeys: {
          privateJwk,
          // Its own public half is known to it; twice the same kid would be ambiguous.
          publicJwks: publicJwks.keys.filter(({ kid }) => kid !== privateJwk.kid),
        },
      },
      store: parts.store,
      bus: parts.bus,
      owners: { ownerOf: (home, partition) => parts.membership.ownerOf(home, partition) },
      clock,
      random,
      events: createEvents(log.child("ingest"), metrics, clock),
      metricsText: () => metrics.render(),
    });
    this.#onStop("ingest", () => ingest.stop());
    const { port } = await ingest.start();
    const stopOutboxAge = publishOutboxAge({ outbox: parts.store.outbox, metrics, clock });
    this.#onStop("outbox.age", stopOutboxAge);
    return port;
  }

  #onStop(name: string, run: () => Promise<void> | void): void {
    this.#undo.push({ name, run });
  }

  /** Each step has the limit of CARILLON_NODE_STOP_MAX_MS, the gateway's its drain besides. */
  async #stopAll(): Promise<void> {
    const { config, log } = this.#deps;
    // RN3: what is starting would otherwise be left behind.
    const settled = this.#starting?.then(ignore, ignore) ?? Promise.resolve();
    await this.#within(config.CARILLON_NODE_STOP_MAX_MS, "start", () => settled);
    for (const { name, run } of this.#undo.splice(0).toReversed()) {
      const extraMs = name === "gateway" ? config.CARILLON_NODE_GATEWAY_DRAIN_MS : 0;
      try {
        // oxlint-disable-next-line no-await-in-loop -- RN2: one after the other
        await this.#within(config.CARILLON_NODE_STOP_MAX_MS + extraMs, name, run);
      } catch (cause) {
        log.warn("node.stop_failed", { step: name, reason: String(cause) });
      }
    }
  }

  async #within(maxMs: number, name: string, run: () => Promise<void> | void): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = this.#deps.clock.setTimer(maxMs, () => {
      this.#deps.log.warn("node.stop_late", { step: name, maxMs });
      late.resolve();
    });
    try {
      await Promise.race([run(), late.promise]);
    } finally {
      timer.cancel();
    }
  }
}

/** A start that fails is told to whoever asked for it. */
function ignore(): void {}
