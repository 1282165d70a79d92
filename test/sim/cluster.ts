// test/sim/cluster.ts
// Regions with their databases, nodes and people, and what can be done to them.
import type { Role } from "@carillon/contracts";
import { LIMITS } from "@carillon/contracts";
import type { DeliveryLimits } from "@carillon/delivery";
import { GATEWAY_LIMITS, type GatewayLimits } from "@carillon/gateway";
import { INGEST_LIMITS, type IngestLimits } from "@carillon/ingest";
import { Caps } from "./caps.ts";
import { Database } from "./database.ts";
import { databaseNowMs, type Machine } from "./machine.ts";
import { Network } from "./network.ts";
import { SimNode } from "./node.ts";
import { CapWatch } from "./oracle-caps.ts";
import { Controls } from "./oracle-control.ts";
import { Oracle } from "./oracle.ts";
import { Device } from "./people.ts";
import type { Poison } from "./poison.ts";
import { Quiet } from "./quiet.ts";
import { type Employee, Senders, TENANT } from "./senders.ts";
import { createSimStore, NO_STORE_FAULTS, type StoreFaults, type StoreObserver } from "./store.ts";
import type { World } from "./world.ts";

export interface Layout {
  readonly regions: readonly string[];
  readonly partitionCount: number;
  /** Of each region: the roles of its nodes. */
  readonly nodes: readonly (readonly Role[])[];
  readonly employeesPerRegion: number;
  /** Of the ingest nodes; default: as in production, which nothing here comes near. */
  readonly ingestLimits?: IngestLimits;
  /** Of the gateways; likewise. */
  readonly gatewayLimits?: GatewayLimits;
  /** Of the workers, beside what all of them have (node.ts); likewise. */
  readonly deliveryLimits?: Partial<DeliveryLimits>;
  /** Of the posts, how many are sent later; default: none. */
  readonly sendAtShare?: number;
  /** Some people are put off, and do not want some of it (quiet.ts); default: nobody. */
  readonly isQuiet?: boolean;
  /** Senders pause, resume and cancel (controllers.ts); default: they do not, and nobody asks. */
  readonly isControlled?: boolean;
  /** There is a cap, and posts take each other's place (caps.ts); default: neither. */
  readonly isCapped?: boolean;
  /** Of index numbers: above it a row has a set of them. Default: as in production. */
  readonly smallAudienceMax?: number;
  /** Default: some seeds have them (neighbours.ts). */
  readonly neighbours?: "always";
}

/** A place where nodes run one after another, each as another member. */
export interface Slot {
  readonly name: string;
  readonly region: string;
  readonly roles: readonly Role[];
  node: SimNode | undefined;
  startsCount: number;
}

/** As it is outside of runs: these are made one after another in a thread. */
const SMALL_AUDIENCE_MAX = LIMITS.smallAudienceMax;

export class Cluster {
  readonly world: World;
  readonly network: Network;
  readonly layout: Layout;
  readonly databases = new Map<string, Database>();
  readonly storeFaults = new Map<string, StoreFaults>();
  readonly slots: readonly Slot[];
  readonly devices: readonly Device[];
  readonly senders: Senders;
  readonly oracle: Oracle;
  /** Of one recipient, before the nodes are started; undefined: everybody's handlers are sound. */
  poison: Poison | undefined;
  readonly quiet: Quiet | undefined;
  readonly caps: Caps | undefined;
  readonly #machines = new Map<string, Machine>();

  constructor(world: World, layout: Layout) {
    this.world = world;
    this.layout = layout;
    // As a small installation would have it; everything asks when it needs it.
    const { partitionCount, smallAudienceMax = SMALL_AUDIENCE_MAX } = layout;
    Object.assign(LIMITS, { partitionCount, smallAudienceMax });
    this.network = new Network(world);
    for (const region of layout.regions) {
      this.databases.set(region, new Database(region, () => databaseNowMs(world), "e1"));
      this.storeFaults.set(region, { ...NO_STORE_FAULTS });
    }
    const employees = employeesOf(layout);
    for (const [region, database] of this.databases) fill(database, region, employees);
    if (layout.isQuiet === true) this.quiet = new Quiet(world, employees);
    if (layout.isCapped === true) this.caps = new Caps(world, this.databases.values());
    this.oracle = new Oracle(world, this.databases, {
      machineOf: (id) => this.#machines.get(id),
      lostCount: () => this.network.lostCount,
      hasDroppedReceipts: () =>
        this.slots.some(({ node }) => (node?.edge?.stats().receiptsDroppedTotal ?? 0) > 0),
      quiet: this.quiet,
      isOnTime: (home) =>
        [...this.#machines].every(([name, { hasJumped }]) => !hasJumped || !name.startsWith(home)),
    });
    if (layout.isControlled === true) this.oracle.controls = new Controls();
    if (this.caps !== undefined) this.oracle.capped = new CapWatch(this.caps, this.oracle);
    this.network.tap((from, subject, data) => this.oracle.onMessage(from, subject, data));
    this.slots = layout.regions.flatMap((region) =>
      layout.nodes.map((roles, number) => ({
        name: `${region}${number + 1}`,
        region,
        roles,
        node: undefined,
        startsCount: 0,
      })),
    );
    this.senders = new Senders(world, employees, {
      ingests: (region) => this.#of("ingest", region),
      ...(this.caps !== undefined && { more: this.caps.draw.bind(this.caps) }),
    });
    this.devices = employees.map(
      ({ recipientId, home }) =>
        new Device(
          { name: recipientId, identity: { tenantId: TENANT, recipientId, home } },
          {
            world,
            // As a load balancer that asks /readyz, but for nodes that are about to stop.
            gateways: () => this.#of("gateway", home).filter(({ isRelieved }) => !isRelieved),
            observer: this.oracle,
          },
        ),
    );
  }

  start(slot: Slot): void {
    if (slot.node?.isAlive === true) return;
    const { network, world } = this;
    const database = this.databases.get(slot.region);
    const faults = this.storeFaults.get(slot.region);
    if (database === undefined || faults === undefined) return;
    const name = `${slot.name}-${++slot.startsCount}`;
    const { region, roles } = slot;
    const node = new SimNode(
      {
        name,
        region,
        roles,
        regions: this.layout.regions,
        ingestLimits: this.layout.ingestLimits ?? INGEST_LIMITS,
        gatewayLimits: this.layout.gatewayLimits ?? GATEWAY_LIMITS,
        deliveryLimits: this.layout.deliveryLimits ?? {},
      },
      {
        world,
        network,
        poison: this.poison,
        hasControls: this.layout.isControlled === true,
        hasPolicies: this.caps !== undefined,
        verdictsFor: this.quiet && ((machine) => this.quiet?.verdictsOf(machine, database)),
        storeFor: (machine) => {
          const observer: StoreObserver = {
            onWriter: (memberId) => void (this.oracle.writer = memberId),
            onRefused: (memberId, partitions) =>
              this.oracle.onRefused(region, memberId, partitions),
          };
          return createSimStore(machine, database, {
            faults,
            dice: world.dice(`store/${name}`),
            observer,
          });
        },
      },
    );
    slot.node = node;
    this.#machines.set(name, node.machine);
    world.after(0, () => void node.start(), node.machine);
  }

  crash(slot: Slot): void {
    if (slot.node?.isAlive !== true) return;
    this.world.trace("FAULT", `kill ${slot.node.machine.name}`);
    slot.node.crash();
  }

  /** As SIGTERM. */
  stop(slot: Slot): void {
    const { node } = slot;
    if (node?.isAlive !== true || node.isStopping) return;
    this.world.trace("FAULT", `stop ${node.machine.name}`);
    this.world.after(0, () => void node.stop(), node.machine);
  }

  #of(role: Role, region: string): SimNode[] {
    return this.slots.flatMap(({ node, roles, region: at }) =>
      node?.isAlive === true && at === region && roles.includes(role) ? [node] : [],
    );
  }
}

function employeesOf({ regions, employeesPerRegion }: Layout): Employee[] {
  return regions.flatMap((home) =>
    Array.from({ length: employeesPerRegion }, (_, number) => ({
      recipientId: `${home}-${number + 1}`,
      home,
      team: number % 2 === 0 ? "red" : "blue",
    })),
  );
}

/** Everybody is known everywhere from the start: the directory stands still. */
function fill(database: Database, region: string, employees: readonly Employee[]): void {
  const own = employees.filter(({ home }) => home === region);
  database.upsert(
    TENANT,
    own.map(({ recipientId, team }) => ({
      recipientId,
      locale: "en",
      timeZone: null,
      attributes: { team },
    })),
  );
  for (const { recipientId, home } of employees)
    database.homes.set(`${TENANT}/${recipientId}`, home);
}
