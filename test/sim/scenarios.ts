// test/sim/scenarios.ts
// Runs with one thing wrong, for what the spec gives numbers for: C14 (a node without NATS), C15
// (clocks), C22 and D5 (a region cut off), C23 (loss, delay and an asymmetric cut for ten minutes); and
// D3 where messages overtake each other while people come and go; D4 where a lease is lost while a
// write is slow, and where the database takes it away; D1 where nobody hears that it has taken a lease;
// D6 where there is more to do than room.
// More than 300 lines: each scenario stands by itself, and shares `begin`.
import type { Role } from "@carillon/contracts";
import { GATEWAY_LIMITS } from "@carillon/gateway";
import { INGEST_LIMITS } from "@carillon/ingest";
import { Cluster, type Layout } from "./cluster.ts";
import { checkOrderPerSender, checkShownWithin } from "./oracle-arrival.ts";
import { plantNeighbours } from "./neighbours.ts";
import { checkNeighbours } from "./oracle-neighbours.ts";
import { rest, resultOf, runSeed, type SeedResult, sendUntil, watch } from "./run-seed.ts";
import type { ScenarioName } from "./scenario-names.ts";
import { NO_STORE_FAULTS, type StoreFaults } from "./store.ts";
import { Weather } from "./weather.ts";
import { type Dice, World } from "./world.ts";

const ALL: readonly Role[] = ["ingest", "worker", "gateway"];
const HOUR_MS = 3_600_000;
/** By then everybody has found everybody, and partitions stay where they are (C21 takes its time). */
const CALM_MS = 30_000;
/** A queue is full for some milliseconds only. */
const CROWDED_LOOK_EVERY_MS = 20;
/**
 * Fewer than a flood has, which would take it all; more than everybody's rows that are open since one is
 * away, or in quarantine: 300 in the 30 s of posts.
 */
const LITTLE_ROOM = { openMax: 512, ownRowsMax: 16 };
/** Whoever is away, or slow, has rows on the shelf (SH1); chaos with it is the scenario `shelved`. */
const SMALL_SHARE = { ownRowsMax: 2 };
/** A third is sent later, and people are put off, also in groups of which a row has a set. */
const DEFERRED: Partial<Layout> = { sendAtShare: 0.3, isQuiet: true, smallAudienceMax: 2 };

/** Half of all posts are paused or cancelled, some while they wait for a time of their own. */
const CONTROLLED: Partial<Layout> = { sendAtShare: 0.3, isControlled: true, smallAudienceMax: 2 };

/** A cap, and posts that take each other's place; half of the seeds with senders who pause and cancel, too. */
const CAPPED: Partial<Layout> = { sendAtShare: 0.2, isCapped: true, smallAudienceMax: 2 };

const SCENARIOS: Readonly<Record<ScenarioName, (world: World, dice: Dice) => Promise<SeedResult>>> =
  {
    cut: runCut,
    lossy: runLossy,
    clocks: runClocks,
    reordered: runReordered,
    fenced: runFenced,
    revoked: runRevoked,
    unheard: runUnheard,
    crowded: runCrowded,
    isolated: runIsolated,
    neighbours: runNeighbours,
    shelved: (world) => runSeed(world.seed, { deliveryLimits: SMALL_SHARE }),
    controlled: (world) => runSeed(world.seed, CONTROLLED),
    capped: (world) => runSeed(world.seed, { ...CAPPED, isControlled: world.seed % 2 === 0 }),
    deferred: (world) => runSeed(world.seed, DEFERRED),
  };

export async function runScenario(name: ScenarioName, seed: number): Promise<SeedResult> {
  const world = new World(seed);
  const dice = world.dice(`scenario/${name}`);
  return await SCENARIOS[name](world, dice);
}

/** D5, C22: 60 s without the others; it serves its own, and what waited comes within 10 s. */
async function runCut(world: World, dice: Dice): Promise<SeedResult> {
  const cluster = begin(world, {
    regions: ["fra", "lon", "par"],
    partitionCount: dice.pick([2, 4]),
    nodes: dice.pick([
      [ALL, ALL],
      [["ingest"], ["worker"], ["worker"], ["gateway"]],
    ]),
    employeesPerRegion: 3,
  });
  const cutOff = dice.pick(cluster.layout.regions);
  const others = cluster.layout.regions.filter((region) => region !== cutOff);
  const [cutMs, healMs] = [10_000, 70_000];
  const directions = dice.pick(["both", "to", "from"]);
  world.at(cutMs, () => {
    world.trace("FAULT", `${cutOff} is cut off (${directions})`);
    for (const other of others) {
      if (directions !== "from") cluster.network.block(cutOff, other);
      if (directions !== "to") cluster.network.block(other, cutOff);
    }
  });
  world.at(healMs, () => {
    world.trace("FAULT", "healed");
    cluster.network.healAll();
  });
  sendUntil(cluster, dice, { endMs: healMs - 500, hasClockJumps: true, meanMs: 800 });
  await world.run(healMs + 12_000);
  checkShownWithin(cluster, { ownMaxMs: 2_000, cutMs, healMs, healedMaxMs: 10_000 });
  checkOrderPerSender(cluster);
  await rest(cluster);
  return resultOf(cluster);
}

/** C23: no lease changes hands though a tenth is lost, all is late, and one does not hear another. */
async function runLossy(world: World, dice: Dice): Promise<SeedResult> {
  const cluster = begin(world, {
    regions: ["fra", "lon"],
    partitionCount: 6,
    nodes: [ALL, ALL, ["worker"]],
    employeesPerRegion: 3,
  });
  const endMs = CALM_MS + 600_000;
  let ownersAtCalm = 0;
  world.at(CALM_MS, () => {
    ownersAtCalm = cluster.oracle.ownerChangesCount;
    Object.assign(cluster.network.faults, { lossShare: 0.1, delayMs: 100, jitterMs: 50 });
    const [deaf, mute] = dice.pick([
      ["fra1-1", "fra2-1"],
      ["fra3-1", "fra1-1"],
      ["lon2-1", "lon3-1"],
    ] as const);
    world.trace("FAULT", `a tenth is lost, all is late; ${deaf} does not hear ${mute}`);
    cluster.network.block(mute, deaf);
  });
  sendUntil(cluster, dice, { endMs, hasClockJumps: true, meanMs: 10_000 });
  await world.run(endMs);
  const changes = cluster.oracle.ownerChangesCount - ownersAtCalm;
  if (changes > 0) world.violate("C23", `${changes} false changes of owner in ten minutes`);
  cluster.network.healAll();
  await rest(cluster);
  return resultOf(cluster);
}

/** C14: a node is without NATS for 70 s; its partitions and its people go to who has it. */
async function runIsolated(world: World, dice: Dice): Promise<SeedResult> {
  const cluster = begin(world, {
    regions: ["fra", "lon"],
    partitionCount: dice.pick([4, 6]),
    nodes: dice.pick([
      [ALL, ALL],
      [["worker", "gateway"], ["worker", "gateway"], ["ingest"]],
    ]),
    employeesPerRegion: 6,
  });
  const [cutMs, healMs] = [CALM_MS, CALM_MS + 70_000];
  const slot = dice.pick(cluster.slots.filter(({ roles }) => roles.includes("gateway")));
  world.at(cutMs, () => {
    world.trace("FAULT", `${slot.name} is cut from its NATS`);
    const name = slot.node?.machine.name ?? "";
    cluster.network.cutNode(name, slot.region, dice.pick(["both", "to", "from"]));
  });
  world.at(healMs, () => {
    const { edge, worker } = slot.node ?? {};
    const socketsCount = edge?.stats().socketsCount;
    if (worker?.isRelieved !== true || worker.servedCount > 0 || socketsCount !== 0)
      world.violate("C14", `${slot.name} has ${worker?.servedCount}, ${socketsCount} sockets`);
    const away = cluster.devices.filter(({ isLive }) => !isLive).map(({ name }) => name);
    if (away.length > 0) world.violate("C14", `not live with the others: ${away.join()}`);
    world.trace("FAULT", "healed");
    cluster.network.healAll();
  });
  sendUntil(cluster, dice, { endMs: healMs, hasClockJumps: true, meanMs: 800 });
  await world.run(healMs + 15_000);
  if (slot.node?.edge?.stats().isRelieved !== false || slot.node.worker?.servedCount === 0)
    world.violate("C14", `${slot.name} has not come back`);
  await rest(cluster);
  return resultOf(cluster);
}

/** C15: every wall clock jumps by an hour, to and fro; nothing changes. */
async function runClocks(world: World, dice: Dice): Promise<SeedResult> {
  const cluster = begin(world, {
    regions: ["fra", "lon"],
    partitionCount: 4,
    nodes: dice.pick([
      [ALL, ALL],
      [["ingest"], ["worker"], ["worker"], ["gateway"]],
    ]),
    employeesPerRegion: 3,
  });
  const endMs = CALM_MS + 60_000;
  let [ownersAtCalm, livesAtCalm] = [0, 0];
  world.at(CALM_MS, () => {
    ownersAtCalm = cluster.oracle.ownerChangesCount;
    livesAtCalm = cluster.oracle.livesCount;
    world.every(dice.between(300, 1_500), () => {
      const machine = dice.pick(cluster.slots).node?.machine;
      if (machine === undefined || world.nowMs > endMs) return false;
      machine.wallOffsetMs = dice.pick([-HOUR_MS, 0, HOUR_MS]);
      world.trace(
        "FAULT",
        `${machine.name}'s clock is off by ${machine.wallOffsetMs / 60_000} min`,
      );
      return true;
    });
  });
  sendUntil(cluster, dice, { endMs, hasClockJumps: true, meanMs: 500 });
  await world.run(endMs);
  checkShownWithin(cluster, { ownMaxMs: 2_000, cutMs: 0, healMs: 0, healedMaxMs: 2_000 });
  const { ownerChangesCount, livesCount } = cluster.oracle;
  if (ownerChangesCount > ownersAtCalm) world.violate("C15", "a partition changed its owner");
  if (livesCount > livesAtCalm) world.violate("C15", "a session began anew");
  await rest(cluster);
  return resultOf(cluster);
}

/** D3: a third is overtaken, some come twice or never, sockets break all the time, much is posted. */
async function runReordered(world: World, dice: Dice): Promise<SeedResult> {
  const cluster = begin(world, {
    regions: ["fra", "lon"],
    partitionCount: dice.pick([1, 2]),
    nodes: [["worker"], ["worker"], ["ingest"], ["gateway"]],
    employeesPerRegion: 5,
  });
  const endMs = 20_000;
  world.at(3_000, () => {
    const [duplicateShare, lossShare] = [dice.pick([0, 0.05]), dice.pick([0, 0.05])];
    Object.assign(cluster.network.faults, { reorderShare: 0.3, duplicateShare, lossShare });
    world.every(dice.between(20, 100), () => {
      dice.pick(cluster.devices).breakSocket();
      return world.nowMs < endMs;
    });
  });
  sendUntil(cluster, dice, { endMs, hasClockJumps: true, meanMs: 60 });
  await world.run(endMs);
  cluster.network.healAll();
  await rest(cluster);
  return resultOf(cluster);
}

/** D4: writes are slow, their owner sleeps until another has its lease; then they are done: refused. */
async function runFenced(world: World, dice: Dice): Promise<SeedResult> {
  const cluster = begin(world, {
    regions: ["fra"],
    partitionCount: 4,
    nodes: [["worker"], ["worker"], ["ingest"], ["gateway"]],
    employeesPerRegion: 6,
  });
  const endMs = 120_000;
  const faults = cluster.storeFaults.get("fra");
  const workers = cluster.slots.filter(({ roles }) => roles.includes("worker"));
  for (let atMs = 30_000; atMs < endMs; atMs += 30_000)
    world.at(atMs, () => {
      const machine = dice.pick(workers).node?.machine;
      if (faults === undefined || machine === undefined) return;
      Object.assign(faults, { slowShare: 1, slowMaxMs: 9_900 });
      world.trace("FAULT", `slow statements, then ${machine.name} sleeps`);
      world.after(1_500, () => {
        Object.assign(faults, { slowShare: 0, slowMaxMs: 0 });
        machine.pause();
      });
      world.after(16_000, () => machine.resume());
    });
  sendUntil(cluster, dice, { endMs, hasClockJumps: true, meanMs: 100 });
  await world.run(endMs + 20_000);
  await rest(cluster);
  return resultOf(cluster);
}

/**
 * D4: leases are gone from the database while their owners believe in them, as after a failover to a
 * replica that never saw them granted. An owner hears of it by its next write or refresh, no earlier.
 */
async function runRevoked(world: World, dice: Dice): Promise<SeedResult> {
  return await runRevocations(world, dice, NO_STORE_FAULTS);
}

/** D1: so leases move, and answers of the store are lost: also that of who took a free partition. */
async function runUnheard(world: World, dice: Dice): Promise<SeedResult> {
  return await runRevocations(world, dice, {
    ...NO_STORE_FAULTS,
    lostAnswerShare: dice.between(0.1, 0.4),
  });
}

async function runRevocations(
  world: World,
  dice: Dice,
  meanwhile: StoreFaults,
): Promise<SeedResult> {
  const cluster = begin(world, {
    regions: ["fra"],
    partitionCount: 4,
    nodes: [["worker"], ["worker"], ["ingest"], ["gateway"]],
    employeesPerRegion: 6,
  });
  const endMs = CALM_MS + 30_000;
  const database = cluster.databases.get("fra");
  const faults = cluster.storeFaults.get("fra");
  world.at(CALM_MS, () => {
    Object.assign(faults ?? {}, meanwhile);
    world.every(dice.between(2_000, 5_000), () => {
      const partition = dice.below(cluster.layout.partitionCount);
      world.trace("FAULT", `the lease of ${partition} is gone`);
      database?.revoke(partition);
      return world.nowMs < endMs;
    });
  });
  sendUntil(cluster, dice, { endMs, hasClockJumps: true, meanMs: 60 });
  world.at(endMs, () => void Object.assign(faults ?? {}, NO_STORE_FAULTS));
  await world.run(endMs + 10_000);
  await rest(cluster);
  return resultOf(cluster);
}

/**
 * D6: little room everywhere, slow databases, and more posts than go through; all arrive in the end.
 * A region's only worker is away for a while, and its people go on confirming what they have.
 */
async function runCrowded(world: World, dice: Dice): Promise<SeedResult> {
  const { accept, relay } = INGEST_LIMITS;
  const cluster = begin(world, {
    regions: ["fra", "lon", "par"],
    partitionCount: 2,
    nodes: [["worker"], ["ingest"], ["ingest"], ["gateway"]],
    employeesPerRegion: 4,
    gatewayLimits: { ...GATEWAY_LIMITS, reportReceiptsMax: 8, reportClosedMax: 1 },
    ingestLimits: {
      ...INGEST_LIMITS,
      accept: { ...accept, batchItemsMax: 2, batchesAtOnceMax: 1, queueMax: 3 },
      relay: { ...relay, batchItemsMax: 2, queueItemsMax: 3 },
      intakeRunningMax: 1,
      intakeQueueMax: 2,
    },
  });
  const endMs = 20_000;
  world.at(5_000, () => {
    for (const faults of cluster.storeFaults.values())
      Object.assign(faults, { slowShare: dice.between(0.3, 1), slowMaxMs: 400 });
  });
  const region = dice.pick(cluster.layout.regions);
  const worker = cluster.slots.find((slot) => slot.region === region && slot.roles[0] === "worker");
  const people = cluster.devices.filter(({ identity }) => identity.home === region);
  world.at(8_000, () => {
    if (worker === undefined) return;
    cluster.crash(worker);
    world.every(200, () => {
      for (const device of people) device.confirm();
      return world.nowMs < endMs;
    });
    world.at(14_000, () => cluster.start(worker));
  });
  sendUntil(cluster, dice, { endMs, hasClockJumps: true, meanMs: 40 });
  const peaks = watch(cluster, CROWDED_LOOK_EVERY_MS);
  await world.run(endMs);
  for (const faults of cluster.storeFaults.values()) Object.assign(faults, NO_STORE_FAULTS);
  await rest(cluster);
  // Two links of a node count as one queue, and are seldom full at the same instant.
  for (const [name, shareMin] of [
    ["accept", 1],
    ["relay", 0.5],
    ["intake", 1],
    ["reports", 0.8],
  ] as const)
    if ((peaks.get(name) ?? 0) < shareMin)
      world.violate("D6", `${name} came to ${peaks.get(name)} of its limit: nothing was seen`);
  return resultOf(cluster);
}

/** D7: one throws, one is flooded; nobody else in their partitions waits for them. */
async function runNeighbours(world: World, dice: Dice): Promise<SeedResult> {
  const layout: Layout = {
    regions: ["fra", "lon"],
    partitionCount: dice.pick([1, 2]),
    nodes: dice.pick([
      [ALL, ALL],
      [["ingest"], ["worker"], ["worker"], ["gateway"]],
    ]),
    employeesPerRegion: 6,
    neighbours: "always",
    deliveryLimits: LITTLE_ROOM,
  };
  const endMs = CALM_MS + 30_000;
  const cluster = new Cluster(world, layout);
  const neighbours = plantNeighbours(cluster, { fromMs: CALM_MS, endMs });
  open(cluster);
  const weather = new Weather(cluster);
  sendUntil(cluster, dice, { endMs, hasClockJumps: true, meanMs: 100 });
  await world.run(endMs);
  neighbours.end();
  await rest(cluster);
  if (world.violations.length > 0) return resultOf(cluster);
  return resultOf(cluster, checkNeighbours({ cluster, weather }, neighbours.all));
}

function begin(world: World, layout: Layout): Cluster {
  const cluster = new Cluster(world, layout);
  open(cluster);
  return cluster;
}

function open(cluster: Cluster): void {
  const { world, layout } = cluster;
  world.trace("plan", JSON.stringify(layout));
  for (const slot of cluster.slots) cluster.start(slot);
  for (const device of cluster.devices) world.at(3_000, () => device.open());
  watch(cluster);
}
