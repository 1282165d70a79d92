// test/sim/faults.ts
// What goes wrong, when and for how long: drawn from the seed before the run, and all over by its end.
import type { Cluster, Slot } from "./cluster.ts";
import type { SimNode } from "./node.ts";
import type { Dice } from "./world.ts";

export interface Episode {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly lengthMs: number;
}

const HOUR_MS = 3_600_000;

/** Begins a fault; what it gives back ends it. */
type Begin = (cluster: Cluster, dice: Dice, episode: Episode) => (() => void) | undefined;

const KINDS = {
  loss: (cluster, dice) => set(cluster, "lossShare", dice.between(0.01, 0.3)),
  duplication: (cluster, dice) => set(cluster, "duplicateShare", dice.between(0.01, 0.3)),
  reordering: (cluster, dice) => set(cluster, "reorderShare", dice.between(0.01, 0.3)),
  delay(cluster, dice) {
    const undoDelay = set(cluster, "delayMs", dice.between(10, 300));
    const undoJitter = set(cluster, "jitterMs", dice.between(0, 200));
    return () => {
      undoDelay();
      undoJitter();
    };
  },
  "region cut"(cluster, dice) {
    const { regions } = cluster.layout;
    const a = dice.pick(regions);
    const others = regions.filter((region) => region !== a);
    const isOneWay = dice.isHit(0.4);
    cluster.world.trace(
      "FAULT",
      `${a} ${isOneWay ? "is not heard by" : "cut from"} ${others.join()}`,
    );
    for (const b of others) {
      cluster.network.block(a, b);
      if (!isOneWay) cluster.network.block(b, a);
    }
    return () => {
      for (const b of others) {
        cluster.network.unblock(a, b);
        cluster.network.unblock(b, a);
      }
    };
  },
  "node cut"(cluster, dice) {
    const node = anyNode(cluster, dice);
    if (node === undefined) return undefined;
    const { region } = node;
    const { name } = node.machine;
    const direction = dice.pick(["both", "to", "from"] as const);
    cluster.world.trace("FAULT", `${name} cut from its NATS (${direction})`);
    cluster.network.cutNode(name, region, direction);
    return () => {
      cluster.network.unblock(name, region);
      cluster.network.unblock(region, name);
    };
  },
  "pair cut"(cluster, dice) {
    const a = anyNode(cluster, dice)?.machine.name;
    const b = anyNode(cluster, dice)?.machine.name;
    if (a === undefined || b === undefined || a === b) return undefined;
    cluster.world.trace("FAULT", `${b} does not hear ${a}`);
    cluster.network.block(a, b);
    return () => cluster.network.unblock(a, b);
  },
  crash(cluster, dice) {
    const slot = anySlot(cluster, dice);
    if (slot === undefined) return undefined;
    cluster.crash(slot);
    return () => cluster.start(slot);
  },
  "crash, then at once again"(cluster, dice) {
    const slot = anySlot(cluster, dice);
    if (slot === undefined) return undefined;
    cluster.crash(slot);
    cluster.world.after(dice.between(1, 500), () => cluster.start(slot));
    return () => undefined;
  },
  stop(cluster, dice) {
    const slot = anySlot(cluster, dice);
    if (slot === undefined) return undefined;
    cluster.stop(slot);
    return () => {
      cluster.crash(slot); // if it has not come to its end by then
      cluster.start(slot);
    };
  },
  pause(cluster, dice) {
    const machine = anyNode(cluster, dice)?.machine;
    if (machine === undefined || machine.isPaused) return undefined;
    cluster.world.trace("FAULT", `pause ${machine.name}`);
    machine.pause();
    return () => {
      cluster.world.trace("FAULT", `resume ${machine.name}`);
      machine.resume();
    };
  },
  "store fails": (cluster, dice) => setStore(cluster, dice, { failShare: dice.between(0.05, 0.5) }),
  "store answers are lost": (cluster, dice) =>
    setStore(cluster, dice, { lostAnswerShare: dice.between(0.05, 0.5) }),
  "store slow": (cluster, dice) =>
    setStore(cluster, dice, {
      slowShare: dice.between(0.05, 0.6),
      slowMaxMs: dice.pick([100, 1_000, 4_000, 9_000, 12_000]),
    }),
  "store away": (cluster, dice) => setStore(cluster, dice, { isAway: true }),
  "clock jump"(cluster, dice) {
    const machine = anyNode(cluster, dice)?.machine;
    if (machine === undefined) return undefined;
    const jumpMs = dice.pick([-HOUR_MS, HOUR_MS, -5_000, 5_000]);
    cluster.world.trace("FAULT", `${machine.name}'s clock jumps ${jumpMs} ms`);
    machine.wallOffsetMs += jumpMs;
    return () => void (machine.wallOffsetMs -= jumpMs);
  },
  "socket breaks"(cluster, dice) {
    dice.pick(cluster.devices).breakSocket();
    return () => undefined;
  },
  "socket storm"(cluster, dice) {
    let isOver = false;
    cluster.world.every(dice.between(20, 200), () => {
      if (!isOver) dice.pick(cluster.devices).breakSocket();
      return !isOver;
    });
    return () => void (isOver = true);
  },
  tunnel(cluster, dice) {
    dice.pick(cluster.devices).silence();
    return () => undefined;
  },
  "app closed"(cluster, dice) {
    const device = dice.pick(cluster.devices);
    cluster.world.trace("FAULT", `${device.name} closes its app`);
    device.close();
    return () => device.open();
  },
} satisfies Record<string, Begin>;

export type FaultKind = keyof typeof KINDS;
export const FAULT_KINDS = Object.keys(KINDS) as FaultKind[];

/** Between `fromMs` and `endMs`, each over by then. */
export function planFaults(
  dice: Dice,
  options: { fromMs: number; endMs: number; count: number; kinds?: readonly FaultKind[] },
): Episode[] {
  const { fromMs, endMs, count, kinds = FAULT_KINDS } = options;
  return Array.from({ length: count }, () => {
    const atMs = dice.between(fromMs, endMs - 500);
    const lengthMs = Math.min(dice.pick([500, 2_000, 6_000, 12_000, 25_000]), endMs - atMs);
    return { kind: dice.pick(kinds), atMs, lengthMs: dice.between(0.3, 1) * lengthMs };
  }).toSorted((a, b) => a.atMs - b.atMs);
}

export function arm(cluster: Cluster, episodes: readonly Episode[]): void {
  const { world } = cluster;
  const dice = world.dice("faults");
  for (const episode of episodes)
    world.at(episode.atMs, () => {
      world.trace("FAULT", `${episode.kind} for ${(episode.lengthMs / 1_000).toFixed(1)} s`);
      const begin: Begin = KINDS[episode.kind];
      const end = begin(cluster, dice, episode);
      if (end === undefined) return;
      world.after(episode.lengthMs, () => {
        world.trace("FAULT", `${episode.kind} over`);
        end();
      });
    });
}

/** Whatever is still wrong is put right; who is down comes back. */
export function healAll(cluster: Cluster): void {
  cluster.world.trace("FAULT", "all over");
  cluster.network.healAll();
  for (const faults of cluster.storeFaults.values())
    Object.assign(faults, { failShare: 0, lostAnswerShare: 0, slowShare: 0, isAway: false });
  for (const slot of cluster.slots) {
    slot.node?.machine.resume();
    if (slot.node?.isStopping === true) cluster.crash(slot);
    cluster.start(slot);
  }
}

type NetworkFault = "lossShare" | "duplicateShare" | "reorderShare" | "delayMs" | "jitterMs";

/** Several at a time do not add up: the last one counts, and the first to end ends it. */
function set(cluster: Cluster, name: NetworkFault, value: number): () => void {
  cluster.network.faults[name] = value;
  return () => void (cluster.network.faults[name] = 0);
}

type StoreFault = Partial<ReturnType<Cluster["storeFaults"]["get"]>>;

function setStore(cluster: Cluster, dice: Dice, fault: StoreFault): () => void {
  const region = dice.pick(cluster.layout.regions);
  const faults = cluster.storeFaults.get(region);
  if (faults === undefined) return () => undefined;
  cluster.world.trace("FAULT", `store of ${region}: ${JSON.stringify(fault)}`);
  const before = { ...faults };
  Object.assign(faults, fault);
  return () => void Object.assign(faults, before);
}

function anySlot(cluster: Cluster, dice: Dice): Slot | undefined {
  const alive = cluster.slots.filter(({ node }) => node?.isAlive === true && !node.isStopping);
  return alive.length === 0 ? undefined : dice.pick(alive);
}

function anyNode(cluster: Cluster, dice: Dice): SimNode | undefined {
  return anySlot(cluster, dice)?.node;
}
