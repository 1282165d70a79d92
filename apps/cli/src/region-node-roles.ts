// apps/cli/src/region-node-roles.ts
// The roles of a node, one for one: a worker that crashes leaves the sockets alone. Above 300 lines, since
// what each role is given, and what stays over its restarts, is seen in one place.
//   RN8  A gateway that crashes takes its member id with it: owners still send to its sessions under
//        that id, and the numbers of the next one's sessions begin anew.
import { ownBus } from "@carillon/bus";
import { createGateway, type Gateway, type MemberEvents } from "@carillon/gateway";
import { createEvents, createIngestSupervisor, type IngestSupervisor } from "@carillon/ingest";
import { assert } from "@carillon/kernel";
import {
  type ChildSpec,
  type Exit,
  ownChild,
  ownClock,
  ownScheduler,
  type OwnRun,
  type ProcessRuntime,
  Supervisor,
  supervisorChild,
  type SupervisorOptions,
  type TreeNode,
} from "@carillon/process";
import { createWorker, type Worker } from "@carillon/worker";
import type { NodeReady } from "./node-messages.ts";
import { nodeMetricsChild, type NodePhase } from "./node-metrics.ts";
import { NodeWebhooks } from "./node-webhooks.ts";
import {
  publishGatewayStats,
  publishMembers,
  publishOutboxAge,
  reasonOf,
} from "./node-telemetry.ts";
import { serveProcessAdmin } from "./process-admin.ts";
import { publishProcessStats, type RoleRuntimes } from "./process-metrics.ts";
import { processHandlers } from "./process-routes.ts";
import { retentionOf } from "./node-retention.ts";
import { homeOf, rolesOf } from "./region-node-config.ts";
import type { BuriedTimers } from "./timer-admin.ts";
import { type Foundation, type RegionNodeDeps, stopLimits } from "./region-node-parts.ts";

export type Supervision = Pick<SupervisorOptions, "onReport" | "restartDelayMs">;

/** One more restart of a role than this in a minute, and the roles begin anew together. */
const RESTARTS = { intensity: 1, periodMs: 60_000 };
const PROMPT_MAX_MS = 1_000;

export class Roles {
  readonly #deps: RegionNodeDeps;
  readonly #foundation: Foundation;
  readonly #supervision: Supervision;
  readonly #tree: () => TreeNode;
  #worker: Worker | undefined;
  #workerMemberId = "";
  #supervisor: Supervisor | undefined;
  #gateway: Gateway | undefined;
  #gatewayPort: number | undefined;
  #ingest: IngestSupervisor | undefined;
  #ingestPort: number | undefined;
  readonly #phase: () => NodePhase;
  readonly #webhooks: NodeWebhooks | undefined;
  #metricsPort: number | undefined;

  /** `tree` and `phase`: of the whole node, for operators. */
  constructor(
    deps: RegionNodeDeps,
    parts: {
      readonly foundation: Foundation;
      readonly supervision: Supervision;
      readonly tree: () => TreeNode;
      readonly phase: () => NodePhase;
    },
  ) {
    this.#deps = deps;
    this.#foundation = parts.foundation;
    this.#supervision = parts.supervision;
    this.#tree = parts.tree;
    this.#phase = parts.phase;
    this.#webhooks = NodeWebhooks.of(deps.config);
  }

  /** Null for a role that this node has not. They stay the same over all restarts. */
  get ports(): Pick<NodeReady, "ingestPort" | "gatewayPort" | "metricsPort"> {
    return {
      ingestPort: this.#ingest?.port ?? null,
      gatewayPort: this.#gatewayPort ?? null,
      metricsPort: this.#metricsPort ?? null,
    };
  }

  /** Of the processes that run now. */
  runtimes(): ProcessRuntime[] {
    return Object.values(this.#runtimesByRole()).filter((runtime) => runtime !== undefined);
  }

  #runtimesByRole(): RoleRuntimes {
    return { worker: this.#worker?.runtime, gateway: this.#gateway?.processes };
  }

  child(): ChildSpec {
    const roles = supervisorChild({ id: "roles", create: (onExit) => this.#create(onExit) });
    return {
      ...roles,
      start: (context) => {
        const { membership } = this.#foundation.incarnation;
        // First of all at the end: others give this member nothing new while it goes (CL6).
        context.signal.addEventListener("abort", () => membership.drain(), { once: true });
        const unfollow = this.#foundation.home?.onChange(() => this.#followHome());
        if (unfollow !== undefined)
          context.signal.addEventListener("abort", unfollow, { once: true });
        return roles.start(context);
      },
    };
  }

  #create(onExit: (exit: Exit) => void): Supervisor {
    const roles = rolesOf(this.#deps.config);
    this.#supervisor = new Supervisor({
      id: "roles",
      clock: this.#deps.clock,
      ...RESTARTS,
      ...this.#supervision,
      onExit,
      children: [
        // What shows the others stops after them: a drain of minutes is seen, and asked about.
        this.#metricsChild(),
        this.#statsChild(),
        this.#operatorsChild(),
        // S43: no intake, then partitions go, then sockets; its sessions follow to the new owners.
        ...(roles.includes("gateway") ? [this.#gatewayChild()] : []),
        ...(roles.includes("worker") && this.#webhooks ? [this.#webhooks.child(this.#deps)] : []),
        ...(roles.includes("worker") ? [this.#workerChild()] : []),
        ...(roles.includes("ingest") ? [this.#ingestChild()] : []),
      ],
    });
    return this.#supervisor;
  }

  /** The worker runs while the home is served here, and anew when other tenants are withheld. */
  #followHome(): void {
    const supervisor = this.#supervisor;
    if (supervisor === undefined || !rolesOf(this.#deps.config).includes("worker")) return;
    void supervisor.terminateChild("worker");
    void supervisor.restartChild("worker");
  }

  #workerChild(): ChildSpec {
    const { config, log } = this.#deps;
    const stopMaxMs = config.CARILLON_NODE_STOP_MAX_MS;
    const worker = supervisorChild({
      id: "worker",
      shutdown: stopMaxMs,
      create: (onExit) => {
        const { store, bus, incarnation, home } = this.#foundation;
        const { memberId, membership } = incarnation;
        const firstSeqs = this.#workerMemberId === memberId ? this.#worker?.lastSeqs : undefined;
        this.#workerMemberId = memberId;
        this.#worker = createWorker(
          {
            home: homeOf(config),
            memberId,
            ...(firstSeqs && { firstSeqs }),
            withholds: (tenantId) => home?.withholds(tenantId) ?? false,
            limits: {
              graceMs: config.CARILLON_NODE_SESSION_GRACE_MS,
              ackMaxMs: config.CARILLON_NODE_ACK_MAX_MS,
              resendMax: config.CARILLON_NODE_RESEND_MAX,
            },
            journalOneIn: config.CARILLON_NODE_JOURNAL_ONE_IN,
            stopMaxMs,
            placement: {
              settleMs: config.CARILLON_NODE_SETTLE_MS,
              listenMs: config.CARILLON_NODE_LISTEN_MS,
            },
          },
          {
            ...this.#deps,
            store,
            bus,
            membership,
            handlers: processHandlers({
              forgetQuarantine: (table, slot) => this.#forgetQuarantine(table, slot),
              onFault: (cause) => log.warn("operators.fault", { reason: reasonOf(cause) }),
            }),
            ...(this.#webhooks && { webhooks: this.#webhooks }),
            log: log.child("worker"),
            supervision: { ...this.#supervision, onExit },
          },
        );
        return this.#worker;
      },
    });
    return {
      ...worker,
      start: (context) =>
        this.#foundation.home?.standing === "serving" ? worker.start(context) : "ignore",
    };
  }

  #gatewayChild(): ChildSpec {
    const { config } = this.#deps;
    const { shutdown, ...limits } = stopLimits(this.#deps);
    return ownChild({
      id: "gateway",
      ...limits,
      shutdown: shutdown + config.CARILLON_NODE_GATEWAY_DRAIN_MS,
      restart: "temporary",
      onCrash: (cause) => this.#foundation.incarnation.end(cause), // RN8
      start: async (run) => {
        const gateway = this.#createGateway(run);
        try {
          this.#gatewayPort = (await gateway.start()).port;
        } catch (cause) {
          await gateway.stop();
          throw cause;
        }
        this.#gateway = gateway;
        return {
          stop: async () => {
            await gateway.drain();
            await gateway.stop();
          },
          abandon: () => gateway.stop(),
          tree: () => ({ children: [], childrenCount: gateway.stats().sessionsCount }),
        };
      },
    });
  }

  #createGateway(run: OwnRun): Gateway {
    const { config, clock, random, scheduler, log, pulse } = this.#deps;
    const {
      CARILLON_NODE_TOKEN_PUBLIC_KEYS: jwks,
      CARILLON_NODE_TOKEN_ISSUER: issuer,
      CARILLON_NODE_TOKEN_AUDIENCE: audience,
    } = config;
    assert(jwks, "RN1 the role gateway has its keys");
    const { memberId, membership } = this.#foundation.incarnation;
    return createGateway({
      pulse,
      config: {
        region: config.CARILLON_NODE_REGION,
        host: config.CARILLON_NODE_HOST,
        port: this.#gatewayPort ?? config.CARILLON_NODE_GATEWAY_PORT,
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
      bus: ownBus(run, this.#foundation.bus),
      members: ownMembers(run, membership),
      // Without the role worker nobody here knows whether others have NATS (ADR 0014).
      isRelieved: () => this.#worker?.isRelieved ?? false,
      clock: ownClock(run, clock),
      random,
      scheduler: ownScheduler(run, scheduler),
      log: log.child("gateway"),
    });
  }

  #ingestChild(): ChildSpec {
    const { config, clock, random, log, metrics } = this.#deps;
    const {
      CARILLON_NODE_KEY_PEPPER: pepper,
      CARILLON_NODE_TOKEN_PRIVATE_KEY: privateJwk,
      CARILLON_NODE_TOKEN_PUBLIC_KEYS: publicJwks,
    } = config;
    return supervisorChild({
      id: "ingest",
      shutdown: config.CARILLON_NODE_STOP_MAX_MS,
      create: (onExit) => {
        assert(pepper && privateJwk && publicJwks, "RN1 the role ingest has its secrets");
        const { store, bus, incarnation, home: keeper } = this.#foundation;
        const { membership } = incarnation;
        this.#ingestPort = this.#ingest?.port ?? this.#ingestPort;
        this.#ingest = createIngestSupervisor({
          config: {
            region: homeOf(config),
            regions: config.CARILLON_NODE_REGIONS,
            host: config.CARILLON_NODE_HOST,
            port: this.#ingestPort ?? config.CARILLON_NODE_INGEST_PORT,
            apiKeyPepper: pepper.reveal(),
            journalOneIn: config.CARILLON_NODE_JOURNAL_ONE_IN,
            operatorKey: config.CARILLON_NODE_OPERATOR_KEY?.reveal(),
            retention: retentionOf(config),
            tokenKeys: {
              privateJwk,
              // Its own public half is known to it; twice the same kid would be ambiguous.
              publicJwks: publicJwks.keys.filter(({ kid }) => kid !== privateJwk.kid),
            },
          },
          store,
          bus,
          owners: membership,
          members: () => membership.members(),
          clock,
          random,
          events: createEvents(log.child("ingest"), metrics, clock),
          metricsText: () => metrics.render(),
          ...(keeper && { home: keeper }),
          webhooks: this.#webhooks,
          supervision: { ...this.#supervision, onExit },
        });
        return this.#ingest;
      },
    });
  }

  #metricsChild(): ChildSpec {
    return nodeMetricsChild(this.#deps, {
      foundation: this.#foundation,
      phase: this.#phase,
      portBefore: () => this.#metricsPort,
      onPort: (port) => (this.#metricsPort = port),
    });
  }

  #operatorsChild(): ChildSpec {
    const { clock, log } = this.#deps;
    return ownChild({
      id: "operators",
      clock,
      shutdown: PROMPT_MAX_MS,
      abandonMaxMs: PROMPT_MAX_MS,
      start: (run) => ({
        stop: serveProcessAdmin({
          memberId: this.#foundation.incarnation.memberId,
          bus: ownBus(run, this.#foundation.bus),
          tree: this.#tree,
          runtimes: () => this.runtimes(),
          forgetQuarantine: (table, slot) => this.#forgetQuarantine(table, slot),
          timers: this.#buriedTimers(),
          onFault: (cause) => log.warn("operators.fault", { reason: reasonOf(cause) }),
        }),
      }),
    });
  }

  /** A gateway by itself has no database, and is never asked: workers are (IN60). */
  #buriedTimers(): BuriedTimers {
    const foundation = this.#foundation;
    return {
      home: homeOf(this.#deps.config),
      list: (home, limitCount) => foundation.store.timersBuried.list(home, limitCount),
      revive: (home, id) => foundation.store.timersBuried.revive(home, id),
      remove: (home, id) => foundation.store.timersBuried.remove(home, id),
    };
  }

  async #forgetQuarantine(table: string, slot: number): Promise<void> {
    const home = homeOf(this.#deps.config);
    const [of, partition] = table.split("/");
    if (of !== home || partition === undefined) return; // the gateway's tables
    await this.#foundation.store.quarantine.remove(home, Number(partition), slot);
  }

  /** Gauges of what has no timer of its own for them. */
  #statsChild(): ChildSpec {
    const { config, metrics } = this.#deps;
    return ownChild({
      id: "stats",
      clock: this.#deps.clock,
      shutdown: PROMPT_MAX_MS,
      abandonMaxMs: PROMPT_MAX_MS,
      start: (run) => {
        const clock = ownClock(run, this.#deps.clock);
        const { membership } = this.#foundation.incarnation;
        run.onOver(publishMembers({ membership, metrics, clock }));
        run.onOver(publishProcessStats({ runtimes: () => this.#runtimesByRole(), metrics, clock }));
        if (rolesOf(config).includes("gateway"))
          run.onOver(publishGatewayStats({ gateway: () => this.#gateway, metrics, clock }));
        if (rolesOf(config).includes("ingest")) {
          const { store, home } = this.#foundation;
          const isEmpty = (): boolean => home?.isEmpty ?? false;
          run.onOver(publishOutboxAge({ outbox: store.outbox, isEmpty, metrics, clock }));
        }
        return { stop: () => undefined };
      },
    });
  }
}

function ownMembers(run: OwnRun, membership: MembershipEvents): MemberEvents {
  return {
    onBeat: (listener) => run.onOver(membership.onBeat(run.guarded(listener))),
    onMemberLost: (listener) => run.onOver(membership.onMemberLost(run.guarded(listener))),
  };
}

type MembershipEvents = Pick<Foundation["incarnation"]["membership"], "onBeat" | "onMemberLost">;
