// test/sim/run-seed.ts
// One seed: a cluster, people and a sender, faults for a while, then rest until everything has come
// to its end; checked all the way and in the end.
import type { Role } from "@carillon/contracts";
import { Cluster, type Layout } from "./cluster.ts";
import { arm, FAULT_KINDS, type FaultKind, healAll, planFaults } from "./faults.ts";
import { databaseNowMs } from "./machine.ts";
import type { Queue } from "./node.ts";
import { plantNeighbours } from "./neighbours.ts";
import { plantControllers } from "./controllers.ts";
import { checkCaps, type CapCounts } from "./oracle-caps.ts";
import { checkControls, type ControlCounts } from "./oracle-control.ts";
import { type ArrivalCounts, checkArrival } from "./oracle-cut.ts";
import { checkNeighbours, type NeighbourCounts } from "./oracle-neighbours.ts";
import { checkAccepted, leftOver } from "./oracle-end.ts";
import { checkLater, type LaterCounts } from "./oracle-later.ts";
import { Weather } from "./weather.ts";
import { type Dice, World } from "./world.ts";

export interface SeedResult {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly traceHash: string;
  readonly lines: readonly string[];
  readonly simulatedMs: number;
  readonly eventsCount: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** After the last fault everything must have come to its end by then: four sends of 30 s, and a grace. */
const REST_MAX_MS = 240_000;
const LOOK_EVERY_MS = 500;
/** Of the seeds with verdicts one in so many goes on until everything unacked has been sent again (W3). */
const RESENT_SEEDS = 5;
const RESENT_MS = 32_000;

/** `more`: of the layout, in place of what is drawn. */
export async function runSeed(seed: number, more: Partial<Layout> = {}): Promise<SeedResult> {
  const world = new World(seed);
  const dice = world.dice("plan");
  const layout = { ...drawLayout(dice), ...more };
  const cluster = new Cluster(world, layout);
  const { oracle } = cluster;
  world.trace("plan", JSON.stringify(layout));
  const faultsEndMs = dice.isHit(0.6) ? dice.between(6_000, 16_000) : dice.between(16_000, 40_000);
  const episodes = planFaults(dice, {
    fromMs: dice.isHit(0.3) ? 100 : 2_000, // some of them while partitions are dealt out
    endMs: faultsEndMs,
    count: 2 + dice.below(9),
    kinds: drawKinds(dice),
  });
  if (layout.isControlled === true) plantControllers(cluster, { endMs: faultsEndMs });
  const neighbours = plantNeighbours(cluster, { fromMs: 2_000, endMs: faultsEndMs });
  const hasClockJumps = episodes.some(({ kind }) => kind === "clock jump");
  for (const slot of cluster.slots) cluster.start(slot);
  for (const device of cluster.devices)
    if (dice.isHit(0.85)) world.at(dice.between(0, 4_000), () => device.open());
  arm(cluster, episodes);
  sendUntil(cluster, dice, { endMs: faultsEndMs + 1_000, hasClockJumps });
  watch(cluster);
  const weather = new Weather(cluster);
  await world.run(faultsEndMs);
  if (world.violations.length === 0) healAll(cluster);
  neighbours.end();
  // Some come back when their grace is over: what they have missed is terminal, and shown all the same.
  const isLate = dice.isHit(0.3);
  for (const device of cluster.devices)
    if (isLate && dice.isHit(0.7)) world.after(dice.between(20_000, 26_000), () => device.open());
  if (isLate) await world.run(world.nowMs + 26_000);
  await rest(cluster);
  // What is sent again when nobody acks it comes only then.
  if (layout.isQuiet === true && seed % RESENT_SEEDS === 0)
    await world.run(world.nowMs + RESENT_MS);
  if (world.violations.length > 0) return resultOf(cluster);
  // With a share of two rows each waits for his own, acknowledgement by acknowledgement.
  if (layout.deliveryLimits !== undefined) return resultOf(cluster);
  if (layout.isCapped === true) {
    const counts = checkCaps(cluster, weather);
    return resultOf(cluster, {
      ...counts,
      ...(oracle.controls && checkControls(cluster, weather)),
    });
  }
  if (layout.isControlled === true) return resultOf(cluster, checkControls(cluster, weather));
  // Who is put off, or waits for a time, is not asked how soon he has it, but how soon after it.
  if (layout.sendAtShare !== undefined) return resultOf(cluster, checkLater(cluster, weather));
  const arrived = checkArrival(cluster, weather);
  return resultOf(cluster, {
    ...arrived,
    ...checkNeighbours({ cluster, weather }, neighbours.all),
  });
}

/** Time passes until everything has come to its end; then what must be so in the end is checked. */
export async function rest(cluster: Cluster): Promise<void> {
  const { world, oracle, senders, devices } = cluster;
  const endMs = world.nowMs + REST_MAX_MS;
  let lookAtMs = world.nowMs + 1_000;
  const isOver = (): boolean => {
    if (world.nowMs < lookAtMs) return false;
    lookAtMs = world.nowMs + LOOK_EVERY_MS;
    return leftOver(oracle, senders, devices).next().done === true;
  };
  await world.run(endMs, isOver);
  if (world.violations.length > 0) return;
  const left = [...leftOver(oracle, senders, devices)];
  if (left.length > 0) world.violate("D1", `not over in the end: ${left.slice(0, 12).join("; ")}`);
  checkAccepted(oracle, senders);
}

export function resultOf(
  { world, oracle, network, senders, databases }: Cluster,
  checked: Partial<ArrivalCounts & NeighbourCounts & LaterCounts & ControlCounts & CapCounts> = {},
): SeedResult {
  return {
    seed: world.seed,
    violations: world.violations,
    traceHash: world.traceHash(),
    lines: world.traceLines,
    simulatedMs: world.nowMs,
    eventsCount: world.eventsCount,
    counts: {
      posts: senders.posts.length,
      shown: oracle.shownAtMs.size,
      written: oracle.writtenCount,
      fenced: oracle.fencedCount,
      owners: oracle.ownerChangesCount,
      resends: oracle.resendsCount,
      messages: network.sentCount,
      lost: network.lostCount,
      ...(oracle.releasedCount > 0 && { released: oracle.releasedCount }),
      shelfReads: [...databases.values()].reduce((sum, one) => sum + one.ownReadsCount, 0),
      ...(oracle.movedCount > 0 && { moved: oracle.movedCount, again: oracle.againCount }),
      ...checked,
    },
  };
}

/** Few kinds of faults often meet what many kinds seldom do ("swarm testing"): some seeds have few. */
function drawKinds(dice: Dice): readonly FaultKind[] {
  const share = dice.pick([0.15, 0.4, 1]);
  const kinds = FAULT_KINDS.filter(() => dice.isHit(share));
  return kinds.length > 0 ? kinds : [dice.pick(FAULT_KINDS)];
}

function drawLayout(dice: Dice): Layout {
  const regions = ["fra", "lon", "par"].slice(0, dice.isHit(0.7) ? 2 : 3);
  const all: Role[] = ["ingest", "worker", "gateway"];
  const layouts: Role[][][] = [
    [["worker"], ["worker"], ["worker"], ["ingest"], ["gateway"], ["gateway"]],
    [["worker"], ["worker"], ["ingest", "gateway"], ["ingest", "gateway"]],
    [all, all],
    [all, all, ["worker"]],
  ];
  return {
    regions,
    partitionCount: dice.pick([1, 2, 4, 6]),
    nodes: dice.pick(layouts),
    employeesPerRegion: 2 + dice.below(5),
  };
}

export function sendUntil(
  cluster: Cluster,
  dice: Dice,
  options: { readonly endMs: number; readonly hasClockJumps: boolean; readonly meanMs?: number },
): void {
  const { world, senders, layout } = cluster;
  const meanMs = options.meanMs ?? dice.pick([150, 500, 1_500]);
  const send = (): void => {
    if (world.nowMs > options.endMs) return;
    // A short life goes by wall clocks, which jump: only where they stand still.
    const ttlSeconds = !options.hasClockJumps && dice.isHit(0.1) ? 2 + dice.below(30) : 0;
    const region = dice.pick(layout.regions);
    const isLater = layout.sendAtShare !== undefined && dice.isHit(layout.sendAtShare);
    const sendAtMs = isLater ? databaseNowMs(world) + dice.between(500, 20_000) : 0;
    senders.post(region, ttlSeconds, isLater ? new Date(sendAtMs).toISOString() : undefined);
    world.after(dice.between(0, 2 * meanMs), send);
  };
  world.at(dice.between(200, 2_000), send);
}

/** D6, while it runs. Gives back the largest share of its limit that each queue was found at. */
export function watch({ world, slots }: Cluster, everyMs = 1_000): Map<Queue["name"], number> {
  const peaks = new Map<Queue["name"], number>();
  world.every(everyMs, () => {
    for (const { node } of slots) {
      if (node?.isAlive !== true) continue;
      for (const { name, count, countMax } of node.queues()) {
        if (countMax > 0) peaks.set(name, Math.max(peaks.get(name) ?? 0, count / countMax));
        if (count > countMax)
          world.violate("D6", `${node.machine.name}: ${count} wait in ${name}, ${countMax} may`);
      }
    }
  });
  return peaks;
}
