// test/sim/node.ts
// A node of the product in the simulation: its real worker, ingest and gateway on a simulated
// machine. As `carillon node` composes them, but for the HTTP port and the sockets' port.
import type { Bus } from "@carillon/bus";
import { createMembership, type Membership } from "@carillon/cluster";
import { LIMITS, type NotificationRequest, type Role } from "@carillon/contracts";
import type { DeliveryLimits } from "@carillon/delivery";
import { Edge, type GatewayLimits } from "@carillon/gateway";
import {
  type Acceptor,
  type Answer,
  createAcceptor,
  createIngestSupervisor,
  createServices,
  type HttpParts,
  type IngestEvents,
  type IngestHttp,
  type IngestLimits,
  type IngestSupervisor,
} from "@carillon/ingest";
import { ownBus } from "@carillon/bus";
import type { Scheduler } from "@carillon/kernel";
import { ownClock, type OwnRun } from "@carillon/process";
import type { Store } from "@carillon/store";
import type { LogFields, Logger, Metrics } from "@carillon/telemetry";
import { createWorker, type Worker, type WorkerDeps } from "@carillon/worker";
import { Machine } from "./machine.ts";
import type { Network } from "./network.ts";
import type { Poison } from "./poison.ts";
import { Wire } from "./sockets.ts";
import type { Dice, World } from "./world.ts";

export interface NodeOptions {
  readonly name: string; // the member's id: new at every start
  readonly region: string;
  readonly regions: readonly string[];
  readonly roles: readonly Role[];
  readonly ingestLimits: IngestLimits;
  readonly gatewayLimits: GatewayLimits;
  readonly deliveryLimits: Partial<DeliveryLimits>;
}

/** What waits somewhere, and the most that may (D6). */
export interface Queue {
  readonly name: "accept" | "relay" | "intake" | "reports" | "receipts";
  readonly count: number;
  readonly countMax: number;
}

export interface NodeDeps {
  readonly world: World;
  readonly network: Network;
  readonly storeFor: (machine: Machine) => Store;
  /** Then crashes of processes are no bugs. */
  readonly poison: Poison | undefined;
  /** Its workers ask the register what senders have done (controllers.ts). */
  readonly hasControls: boolean;
  /** And the register of policies (caps.ts). */
  readonly hasPolicies: boolean;
  /** Default: everybody may be handed everything. */
  readonly verdictsFor: ((machine: Machine) => WorkerDeps["verdictOf"]) | undefined;
}

export interface Posted {
  readonly tenantId: string;
  readonly request: NotificationRequest;
  readonly key: string;
  readonly fingerprint: Uint8Array;
}

export interface Identity {
  readonly tenantId: string;
  readonly recipientId: string;
  readonly home: string;
}

const TOKEN_MS = 1e12;
/** So few that rows are held back and overtake each other, with a handful of people (PC1–PC4). */
const HAND_OUT = { turnsMax: 2, quantumCount: 1 };

export class SimNode {
  readonly machine: Machine;
  readonly region: string;
  readonly roles: readonly Role[];
  readonly membership: Membership;
  readonly worker: Worker | undefined;
  readonly edge: Edge | undefined;
  readonly ingest: IngestSupervisor | undefined;
  readonly #network: Network;
  readonly #limits: IngestLimits;
  readonly #gatewayLimits: GatewayLimits;
  readonly #linksCount: number;
  readonly #bus: Bus;
  readonly #wires = new Set<Wire>();
  #acceptor: Acceptor | undefined;
  isStopping = false;

  constructor(options: NodeOptions, deps: NodeDeps) {
    const { name, region, regions, roles } = options;
    const { world, network } = deps;
    this.#network = network;
    this.#limits = options.ingestLimits;
    this.#gatewayLimits = options.gatewayLimits;
    this.#linksCount = regions.length - 1;
    this.region = region;
    this.roles = roles;
    const machine = new Machine(world, name);
    this.machine = machine;
    const random = world.dice(`node/${name}`);
    const log = logOf(machine, deps.poison === undefined ? [] : POISONED_EVENTS);
    const scheduler: Scheduler = machine;
    const clock = machine;
    this.#bus = network.connect(machine, region);
    const bus = this.#bus;
    const membership = createSimMembership(options, { bus, machine });
    this.membership = membership;
    const supervision = {
      onReport: (report: { kind: string }) => {
        machine.trace(`supervisor ${report.kind}`);
        if (report.kind === "child_exited" || report.kind === "gave_up")
          world.violate("BUG", `${name}: a part crashed: ${textOf(report)}`);
      },
    };
    const store =
      roles.includes("gateway") && roles.length === 1 ? undefined : deps.storeFor(machine);
    const verdictOf = deps.verdictsFor?.(machine);
    if (roles.includes("worker") && store !== undefined)
      this.worker = createWorker(
        { home: region, memberId: name, limits: { ...HAND_OUT, ...options.deliveryLimits } },
        {
          bus,
          store: {
            ...{ ledger: store.ledger, leases: store.leases, timers: store.timers },
            ...(deps.hasControls && { controls: store.controls }),
            ...(deps.hasPolicies && { policies: store.policies }),
          },
          membership,
          clock,
          scheduler,
          random,
          log,
          metrics: NO_METRICS,
          supervision,
          ...(verdictOf && { verdictOf }),
          ...deps.poison?.partsOf(machine),
        },
      );
    if (roles.includes("gateway"))
      this.edge = new Edge({
        region,
        memberId: name,
        bus,
        members: membership,
        isRelieved: () => this.isRelieved,
        clock,
        scheduler,
        random,
        log,
        limits: { ...this.#gatewayLimits, drainMs: 2_000 },
        authenticator: { authenticate: () => Promise.reject(new Error("no tokens here")) },
      });
    if (roles.includes("ingest") && store !== undefined)
      this.ingest = createIngestSupervisor({
        config: {
          region,
          regions,
          host: "",
          port: 0,
          apiKeyPepper: "",
          tokenKeys: undefined as never, // of the HTTP API, which is not here
          limits: this.#limits,
        },
        store,
        bus,
        owners: membership,
        members: () => membership.members(),
        clock,
        random,
        events: eventsOf(machine),
        metricsText: () => Promise.reject(new Error("no metrics here")),
        startApi: (parts, at) => Promise.resolve(this.#startApi(parts, at.run)),
        supervision,
      });
  }

  get isAlive(): boolean {
    return this.machine.isAlive;
  }

  get isRelieved(): boolean {
    return this.worker?.isRelieved ?? false;
  }

  async start(): Promise<void> {
    this.machine.trace(`start ${this.roles.join("+")}`);
    this.membership.start();
    this.edge?.start();
    await this.worker?.start();
    await this.ingest?.start();
  }

  /** As SIGTERM has it: says that it drains, finishes, hands over, goes. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.machine.trace("stops");
    this.membership.drain();
    await Promise.all([this.edge?.drain(), this.ingest?.drain()]);
    await this.ingest?.stop();
    this.edge?.terminate();
    this.edge?.stop();
    await this.worker?.stop();
    this.membership.stop();
    await this.#bus.drain();
    this.machine.trace("stopped");
    this.crash();
  }

  crash(): void {
    if (!this.machine.isAlive) return;
    this.machine.die();
    this.#network.forget(this.machine);
    for (const wire of this.#wires) wire.break();
  }

  /** POST /v1/notifications behind the HTTP layer. Resolves never when the node dies. */
  async post(posted: Posted): Promise<Answer | "away"> {
    const acceptor = this.#acceptor;
    if (acceptor === undefined || this.isStopping) return "away";
    return await acceptor.accept({
      tenantId: posted.tenantId,
      request: posted.request,
      idempotency: { key: posted.key, fingerprint: posted.fingerprint },
    });
  }

  /** A socket of an employee's app, after its handshake. */
  connect(app: Machine, identity: Identity, dice: Dice): Wire {
    const wire = new Wire(app, this.machine, dice);
    this.#wires.add(wire);
    wire.up(() => {
      if (this.isStopping || this.isRelieved || this.edge === undefined) return wire.break();
      const expiresAtMs = this.machine.wallClockMs() + TOKEN_MS;
      wire.server.on("close", () => this.#wires.delete(wire));
      this.edge.accept(wire.server.asWebSocket, wire.server.asStream, { ...identity, expiresAtMs });
      wire.down(() => wire.client.opened());
    });
    return wire;
  }

  /** Everything that waits here. */
  queues(): Queue[] {
    const { accept, relay, intakeQueueMax } = this.#limits;
    const relayMax = relay.queueItemsMax * this.#linksCount;
    const load = this.ingest?.load;
    return [
      { name: "accept", count: load?.acceptWaitingCount ?? 0, countMax: accept.queueMax },
      { name: "relay", count: load?.relayQueuedCount ?? 0, countMax: relayMax },
      { name: "intake", count: load?.intakeWaitingCount ?? 0, countMax: intakeQueueMax },
      this.#reports(),
      this.#asked(),
    ];
  }

  /** Of all partitions of its home: receipts of two kinds, closed sessions, an ack of each session. */
  #reports(): Queue {
    const stats = this.edge?.stats();
    const { reportReceiptsMax, reportClosedMax } = this.#gatewayLimits;
    const perPartitionMax = 2 * reportReceiptsMax + 2 * reportClosedMax;
    return {
      name: "reports",
      count: stats?.reportsWaitingCount ?? 0,
      countMax: LIMITS.partitionCount * perPartitionMax + (stats?.sessionsCount ?? 0),
    };
  }

  /** Receipts of two kinds that owners were told, and have not confirmed (GW34). */
  #asked(): Queue {
    const { reportReceiptsMax } = this.#gatewayLimits;
    return {
      name: "receipts",
      count: this.edge?.stats().receiptsAskedCount ?? 0,
      countMax: LIMITS.partitionCount * 2 * reportReceiptsMax,
    };
  }

  #startApi(parts: HttpParts, run: OwnRun): IngestHttp {
    const bus = ownBus(run, parts.bus);
    const clock = ownClock(run, parts.clock);
    const { region, regions } = parts.config;
    const { committed: onCommit, accepted: onAccepted } = parts.events;
    const deps = { ...parts, bus, clock };
    const options = { region, regions, limits: this.#limits.accept, onCommit, onAccepted };
    const acceptor = createAcceptor(options, { ...deps, ...createServices(deps) });
    this.#acceptor = acceptor;
    const end = async (): Promise<void> => {
      if (this.#acceptor === acceptor) this.#acceptor = undefined;
      await acceptor.drain();
    };
    return {
      port: 1,
      get acceptWaitingCount() {
        return acceptor.waitingCount;
      },
      drain: end,
      stop: end,
      abandon: end,
    };
  }
}

/** The one place that knows how a membership is made. */
function createSimMembership(
  { name, region, roles }: NodeOptions,
  { bus, machine }: { bus: Bus; machine: Machine },
): Membership {
  return createMembership(
    { self: { memberId: name, region, roles, build: "sim" } },
    {
      bus,
      clock: machine,
      scheduler: machine,
      onMalformed: () => machine.world.violate("BUG", "a malformed beat"),
      onChange: (change, { memberId }) => machine.trace(`member ${memberId} ${change}`),
      onOverslept: () => machine.world.violate("BUG", `${name} overslept`), // no pause is so long
    },
  );
}

/** A process crashes again and again: said to a person, and no bug where that is what is tried. */
const POISONED_EVENTS = ["process.crashed", "process.quarantined"];

function logOf(machine: Machine, expected: readonly string[]): Logger {
  const write =
    (level: string) =>
    (event: string, fields: LogFields = {}) => {
      machine.trace(`${level} ${event} ${textOf(fields)}`);
      const isBug = level === "error" || event === "process.crashed";
      if (isBug && !expected.includes(event))
        machine.world.violate("BUG", `${machine.name}: ${event} ${textOf(fields)}`);
    };
  const log: Logger = {
    debug: () => undefined,
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: () => log,
  };
  return log;
}

function eventsOf(machine: Machine): IngestEvents {
  const nothing = (): void => undefined;
  return {
    answered: nothing,
    committed: nothing,
    accepted: nothing,
    called: nothing,
    callsOpen: nothing,
    poked: (outcome, count) => machine.trace(`poke ${outcome} ${count}`),
    relayed: (outcome, count) => machine.trace(`relay ${outcome} ${count}`),
    linkChanged: (target, state) => machine.trace(`link ${target} ${state}`),
    refused: (subject, reason) => machine.trace(`refused ${subject} ${reason}`),
    swept: nothing, // its database forgets nothing
    odd: (event) => machine.world.violate("BUG", `${machine.name}: ${event}`),
    failed: (event, cause) => {
      machine.trace(`failed ${event} ${String(cause)}`);
      if (!(cause instanceof Error) || cause.name !== "Fault")
        machine.world.violate("BUG", `${machine.name}: ${event} ${String(cause)}`);
    },
  };
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner instanceof Error ? (inner.stack ?? inner.message).slice(0, 600) : inner,
  );
}

const NOTHING = { inc: () => undefined, set: () => undefined, observe: () => undefined };
/** Counters that nobody reads. */
const NO_METRICS = new Proxy({}, { get: () => NOTHING }) as Metrics;
