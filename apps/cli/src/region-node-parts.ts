// apps/cli/src/region-node-parts.ts
// What the roles of a node stand on: the database, the bus, and who this node is to the others. Each
// is a child of the node's supervisor; what was started behind one is started again with it.
//   RN7  A membership is one incarnation: its member id is used once, since workers and gateways
//        number what they send each other under it. Only the first has the id that the node was given.
import { type Bus, connectBus, ownBus } from "@carillon/bus";
import { createMembership, type Membership } from "@carillon/cluster";
import { assert, type Clock, Fault, type Random, type Scheduler } from "@carillon/kernel";
import {
  type ChildSpec,
  ownChild,
  ownClock,
  ownScheduler,
  type TurnPulse,
} from "@carillon/process";
import { createStore, type Store } from "@carillon/store";
import type { Logger, Metrics } from "@carillon/telemetry";
import { HomeKeeper } from "./home/home-keeper.ts";
import { prepareUnlessKept } from "./home/home-database.ts";
import { serveHomeSteps } from "./home/home-steps.ts";
import { natsOptionsOf } from "./node-nats.ts";
import { busEventObserver, memberObserver } from "./node-telemetry.ts";
import { homeOf, type RegionNodeConfig, rolesOf } from "./region-node-config.ts";

export interface RegionNodeDeps {
  readonly config: RegionNodeConfig;
  readonly memberId: string;
  readonly build: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Of the watchdog of this thread. */
  readonly pulse?: TurnPulse | undefined;
  /** Share of time that the thread was busy since it was asked last, 0 to 1. */
  readonly load?: (() => number) | undefined;
}

/** Who the others know, from its start until it ends. */
export interface Incarnation {
  readonly memberId: string;
  readonly membership: Membership;
  /** It cannot go on under this id: everything that is known by it begins anew with another one. */
  readonly end: (cause: unknown) => void;
}

/** What runs now. Children take it when they start: what stands before them runs by then. */
export class Foundation {
  #store: Store | undefined;
  #bus: Bus | undefined;
  #incarnation: Incarnation | undefined;
  /** Undefined: this node serves no home, it has no role that needs the database. */
  home: HomeKeeper | undefined;

  get store(): Store {
    assert(this.#store, "RN2 the store runs before what needs it");
    return this.#store;
  }
  set store(store: Store) {
    this.#store = store;
  }
  get bus(): Bus {
    assert(this.#bus, "RN2 the bus runs before what needs it");
    return this.#bus;
  }
  set bus(bus: Bus) {
    this.#bus = bus;
  }
  get incarnation(): Incarnation {
    assert(this.#incarnation, "RN2 the membership runs before what needs it");
    return this.#incarnation;
  }
  set incarnation(incarnation: Incarnation) {
    this.#incarnation = incarnation;
  }
}

const MEMBER_ID_RANDOM_CHARACTERS = 8;
const CONNECT_TIMEOUT_MS = 5_000;
const OVERSLEPT = { code: "member_overslept", isRetryable: true };
/** Migrations of a large database; other nodes that start meanwhile wait for them. */
const MIGRATE_MAX_MS = 600_000;

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

/** In the order of their start (RN2). */
export function foundationChildren(deps: RegionNodeDeps, foundation: Foundation): ChildSpec[] {
  const roles = rolesOf(deps.config);
  const isStoreNeeded = roles.includes("ingest") || roles.includes("worker");
  return [
    ...(isStoreNeeded ? [storeChild(deps, foundation)] : []),
    busChild(deps, foundation),
    ...(isStoreNeeded ? [homeChild(deps, foundation)] : []),
    membershipChild(deps, foundation),
  ];
}

/** Each step of a stop has this limit; so long is waited at most for what crashed, too. */
export function stopLimits({ config, clock }: Pick<RegionNodeDeps, "config" | "clock">) {
  const stopMaxMs = config.CARILLON_NODE_STOP_MAX_MS;
  return { clock, shutdown: stopMaxMs, abandonMaxMs: stopMaxMs };
}

function storeChild(deps: RegionNodeDeps, foundation: Foundation): ChildSpec {
  const { config, memberId } = deps;
  return ownChild({
    id: "store",
    ...stopLimits(deps),
    startMaxMs: MIGRATE_MAX_MS,
    start: async () => {
      const url = config.CARILLON_NODE_STORE_URL;
      assert(url, "RN1 the roles ingest and worker have their database");
      const store = createStore({
        url: url.reveal(),
        poolMax: config.CARILLON_NODE_STORE_POOL_MAX,
        applicationName: memberId,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        statementTimeoutMs: config.CARILLON_NODE_STORE_STATEMENT_MS,
      });
      try {
        await prepareUnlessKept(store, homeOf(config));
      } catch (cause) {
        await store.close();
        throw cause;
      }
      foundation.store = store;
      return { stop: () => store.close() };
    },
  });
}

/** Before the membership: what a node says of itself in its first beat is so. */
function homeChild(deps: RegionNodeDeps, foundation: Foundation): ChildSpec {
  const { config, memberId, clock, metrics } = deps;
  const options = {
    home: homeOf(config),
    place: config.CARILLON_NODE_REGION,
    regions: config.CARILLON_NODE_REGIONS,
    askMaxMs: config.CARILLON_NODE_HOME_ASK_MS,
  };
  return ownChild({
    id: "home",
    ...stopLimits(deps),
    startMaxMs: MIGRATE_MAX_MS,
    start: async (run) => {
      const { store, bus } = foundation;
      const log = deps.log.child("home");
      const keeper = new HomeKeeper(options, { store, bus, clock, log, metrics }, run);
      await keeper.start();
      serveHomeSteps({ ...options, memberId, keeper, store, bus, log }, run);
      foundation.home = keeper;
      return { stop: () => undefined };
    },
  });
}

function busChild(deps: RegionNodeDeps, foundation: Foundation): ChildSpec {
  const { config, memberId, random, log, metrics } = deps;
  return ownChild({
    id: "bus",
    ...stopLimits(deps),
    start: async (run) => {
      const bus = await connectBus({
        ...natsOptionsOf(config, rolesOf(config)),
        name: memberId,
        clock: ownClock(run, deps.clock),
        random,
        scheduler: ownScheduler(run, deps.scheduler),
        onEvent: busEventObserver({ log: log.child("bus"), metrics }),
        onCrash: run.crashed,
      });
      const show = (isConnected: boolean): void => metrics.busConnected.set(isConnected ? 1 : 0);
      show(bus.isConnected);
      bus.onConnection(run.guarded(show));
      foundation.bus = bus;
      return { stop: () => bus.drain() };
    },
  });
}

function membershipChild(deps: RegionNodeDeps, foundation: Foundation): ChildSpec {
  const { config, build, random, log, metrics } = deps;
  let isFirst = true;
  return ownChild({
    id: "membership",
    ...stopLimits(deps),
    start: (run) => {
      const memberId = isFirst ? deps.memberId : newMemberId(config, random); // RN7
      if (!isFirst) log.warn("node.member_renewed", { memberId });
      isFirst = false;
      const membership = createMembership(
        {
          self: {
            memberId,
            region: config.CARILLON_NODE_REGION,
            home: homeOf(config),
            roles: rolesOf(config),
            build,
            weight: config.CARILLON_NODE_WEIGHT,
          },
          limits: {
            pauseMs: config.CARILLON_NODE_BEAT_PAUSE_MS,
            pauseRemoteMs: config.CARILLON_NODE_BEAT_PAUSE_REMOTE_MS,
          },
        },
        {
          bus: ownBus(run, foundation.bus),
          clock: ownClock(run, deps.clock),
          scheduler: ownScheduler(run, deps.scheduler),
          onMalformed: () => metrics.messagesMalformed.inc({ subject: "beat" }),
          ...(foundation.home !== undefined && { homes: () => foundation.home?.told() ?? {} }),
          onChange: memberObserver({ log: log.child("membership"), metrics }),
          onOverslept: () => run.crashed(new Fault("slept for too long", OVERSLEPT)), // RN7
          ...(deps.load && { load: deps.load }),
        },
      );
      const { home } = foundation;
      if (home !== undefined) {
        run.onOver(
          membership.onBeat(run.guarded(({ homes, memberId: from }) => home.hear(homes, from))),
        );
        run.onOver(home.onChange(() => membership.beatNow()));
      }
      membership.start();
      foundation.incarnation = { memberId, membership, end: run.crashed };
      return { stop: () => membership.stop() };
    },
  });
}
