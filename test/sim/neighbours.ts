// test/sim/neighbours.ts
// Bad neighbours (D7): a recipient whose handler throws, and one that is flooded. In one seed of chaos
// in ten, by dice of their own, so that all other seeds are what they were.
import type { Cluster } from "./cluster.ts";
import type { Device } from "./people.ts";
import { Poison } from "./poison.ts";
import { TENANT } from "./senders.ts";
import type { Span } from "./weather.ts";
import type { Dice } from "./world.ts";

/** While it is one, and what of it is still open is there. */
export interface Neighbour extends Span {
  readonly device: Device;
}

export interface Neighbours {
  readonly all: readonly Neighbour[];
  /** With the last fault. */
  end(): void;
}

const SEEDS_WITHOUT: Neighbours = { all: [], end: () => undefined };
/**
 * More than a mailbox holds (256). With what others post meanwhile fewer than are recovered (1,000, else
 * the app begins anew), and than a partition may have open (4,096, where it does hold others up).
 */
const FLOOD_COUNTS = [300, 500, 700] as const;
/** Where everybody's room is less (scenarios.ts, LITTLE_ROOM): it is not for a flood's rows. */
const LARGE_FLOOD_COUNTS = [700, 900, 1_200] as const;
const FLOOD_EVERY_MS = 10;
/** What was sent is acked by then, or the app is open again. */
const FLOOD_AFTER_MS = 8_000;

/** No other seed that something is known of ends in 9 (README.md, mutants.ts). */
export function hasNeighbours(seed: number): boolean {
  return seed % 10 === 9;
}

/** Draws who and when between the two, before the nodes are started. */
export function plantNeighbours(
  cluster: Cluster,
  { fromMs, endMs }: { readonly fromMs: number; readonly endMs: number },
): Neighbours {
  const { world } = cluster;
  if (!hasNeighbours(world.seed) && cluster.layout.neighbours !== "always") return SEEDS_WITHOUT;
  const dice = world.dice("neighbours");
  const kind =
    cluster.layout.neighbours === "always" ? "both" : dice.pick(["poison", "flood", "both"]);
  const between = (): number => dice.between(fromMs, (fromMs + endMs) / 2);
  const all: Neighbour[] = [];
  let [poison, poisoned]: [Poison | undefined, Neighbour | undefined] = [undefined, undefined];
  if (kind !== "flood") {
    const device = dice.pick(cluster.devices);
    poison = plantPoison(cluster, device, dice);
    poisoned = { device, fromMs: between(), toMs: Infinity };
    all.push(poisoned);
    world.at(poisoned.fromMs, () => {
      world.trace("FAULT", `the handler of ${device.name} throws`);
      poison?.begin();
    });
  }
  if (kind !== "poison") all.push(plantFlood(cluster, dice, between()));
  return {
    all,
    end() {
      if (poison === undefined || poisoned === undefined) return;
      const alive = cluster.slots.flatMap(({ node }) => (node?.isAlive === true ? [node] : []));
      world.trace("FAULT", `the handler of ${poisoned.device.name} is mended`);
      poison.end(world.nowMs, alive);
      poisoned.toMs = world.nowMs;
    },
  };
}

function plantPoison(cluster: Cluster, device: Device, dice: Dice): Poison | undefined {
  const { recipientId, home } = device.identity;
  const index = cluster.databases.get(home)?.recipients.get(`${TENANT}/${recipientId}`)?.index;
  if (index === undefined) return undefined;
  const poison = new Poison(
    { device, index },
    { dice: cluster.world.dice("poison"), share: dice.pick([1, 0.7]) },
  );
  cluster.poison = poison;
  cluster.oracle.poison = poison;
  return poison;
}

function plantFlood(cluster: Cluster, dice: Dice, fromMs: number): Neighbour {
  const { world, senders } = cluster;
  const device = dice.pick(cluster.devices);
  const { recipientId, home } = device.identity;
  const region = dice.pick([home, dice.pick(cluster.layout.regions)]);
  const app = dice.pick(["open", "closed", "in a tunnel"] as const);
  const perGo = dice.pick([1, 5, 50]);
  const isLarge = cluster.layout.neighbours === "always";
  let leftCount = dice.pick(isLarge ? LARGE_FLOOD_COUNTS : FLOOD_COUNTS);
  const lengthMs = (leftCount / perGo) * FLOOD_EVERY_MS;
  world.at(fromMs, () => {
    world.trace("FAULT", `${leftCount} posts to ${device.name}, whose app is ${app}`);
    if (app === "closed") device.close();
    if (app === "in a tunnel") device.silence();
    world.every(FLOOD_EVERY_MS, () => {
      for (let go = 0; go < perGo && leftCount > 0; go++, leftCount--)
        senders.postTo(region, recipientId);
      return leftCount > 0;
    });
  });
  const toMs = fromMs + lengthMs + FLOOD_AFTER_MS;
  if (app === "closed") world.at(toMs, () => device.open());
  return { device, fromMs, toMs };
}
