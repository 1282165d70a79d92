// packages/cluster/src/rendezvous.ts
// Which member should own which partition: weighted rendezvous hashing with bounded load, by ranks
// (ADR 0017). Pure.
//   CL1  The same members give the same table everywhere, whatever their order (golden vectors).
//   CL2  No member gets more than ⌈(1 + ε) × its share by weight⌉, ε = 0.15 (C16).
//   CL3  A join or a leave moves few partitions: those it wins, and overflow of the bound.
// Each member orders all partitions by hash, and a place in that order is a time: the earliest taker
// wins. So each has one first choice, one second and so on, where hashes compared as they are give
// one member twice as many good ones as another.
import { fnv1a32, mix32 } from "@carillon/contracts";
import { assert } from "@carillon/kernel";

export interface WeightedMember {
  readonly memberId: string;
  /** Above 0; twice the weight, twice the partitions. One node is one thread on one core: 1. */
  readonly weight: number;
}

/** One member's order of all partitions: a function of its id. */
interface Order {
  readonly hashes: Uint32Array; // by partition
  readonly ranks: Uint16Array; // by partition; 0: its first choice
  readonly partitions: Uint16Array; // by rank
}

interface Taker {
  readonly memberId: string;
  readonly order: Order;
  readonly times: Float64Array; // by rank
  readonly loadMax: number;
  load: number;
  /** Of what it has, the last in its order: the first that it gives up. */
  lastRank: number;
}

const LOAD_SLACK = 0.15; // ε of bounded-load rendezvous; more moves less, less balances better
const KEY_STEP = 2 ** 16; // above any partition
const ORDERS_MAX = 512; // members seen of late; 2 KB each

/** The table of one set of members. Keep `PartitionTables` where more than one is asked for. */
export function assignPartitions(
  placeable: readonly WeightedMember[],
  partitionCount: number,
): string[] {
  return new PartitionTables(partitionCount).ownersOf(placeable);
}

/** Tables, with the orders of the members kept: they cost more than the rest. */
export class PartitionTables {
  readonly #partitionCount: number;
  readonly #quantiles: Float64Array;
  readonly #orders = new Map<string, Order>();

  constructor(partitionCount: number) {
    assert(partitionCount < KEY_STEP, "CL1 a partition's number fits into a key");
    this.#partitionCount = partitionCount;
    this.#quantiles = quantilesOf(partitionCount);
  }

  /** Members whose orders are kept: 512 at most, then the oldest is made anew when it is needed. */
  get ordersCount(): number {
    return this.#orders.size;
  }

  /**
   * Owner of each partition 0 … partitionCount−1. Members must be non-empty (assert). It is the one
   * assignment in which no partition has a later taker than one that would rather have it: which
   * partition is placed first changes nothing. Source: Gale and Shapley 1962.
   */
  ownersOf(placeable: readonly WeightedMember[]): string[] {
    const takers = this.#takersOf(placeable);
    const owners: (Taker | undefined)[] = Array.from({ length: this.#partitionCount });
    for (let first = 0; first < this.#partitionCount; first++) {
      let partition: number | undefined = first;
      while (partition !== undefined) {
        const taker = earliestOf(takers, partition);
        owners[partition] = taker;
        partition = load(taker, partition, owners);
        if (partition !== undefined) owners[partition] = undefined;
      }
    }
    return owners.map((taker) => {
      assert(taker, "CL2 every partition is placed");
      return taker.memberId;
    });
  }

  #takersOf(placeable: readonly WeightedMember[]): Taker[] {
    assert(placeable.length > 0, "CL1 members must be non-empty");
    assert(
      placeable.every(({ weight }) => weight > 0 && Number.isFinite(weight)),
      "CL2 weights are above 0",
    );
    const sorted = placeable.toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));
    const weightSum = sorted.reduce((sum, { weight }) => sum + weight, 0); // rounded alike: CL1
    return sorted.map(({ memberId, weight }) => ({
      memberId,
      order: this.#orderOf(memberId),
      times: this.#quantiles.map((time) => time / weight),
      loadMax: Math.ceil(((this.#partitionCount * weight) / weightSum) * (1 + LOAD_SLACK)),
      load: 0,
      lastRank: -1,
    }));
  }

  #orderOf(memberId: string): Order {
    const known = this.#orders.get(memberId);
    if (known !== undefined) return known;
    const order = createOrder(memberId, this.#partitionCount);
    this.#orders.set(memberId, order);
    const [oldest] = this.#orders.keys();
    if (this.#orders.size > ORDERS_MAX && oldest !== undefined) this.#orders.delete(oldest);
    return order;
  }
}

function createOrder(memberId: string, partitionCount: number): Order {
  const keys = Float64Array.from({ length: partitionCount }, (_, partition) => {
    const hash = mix32(fnv1a32(`${memberId}#${partition}`));
    return hash * KEY_STEP + partition; // exact below 2^53, and sorted without a comparator
  }).toSorted();
  const partitions = Uint16Array.from(keys, (key) => key % KEY_STEP);
  const ranks = new Uint16Array(partitionCount);
  const hashes = new Uint32Array(partitionCount);
  partitions.forEach((partition, rank) => {
    ranks[partition] = rank;
    hashes[partition] = Math.floor((keys[rank] ?? 0) / KEY_STEP);
  });
  return { hashes, ranks, partitions };
}

/**
 * When the first, second … of n events comes that come at rate 1, half-way between the means of this
 * one and the one before; divided by a weight, when they come at that rate, so that the earliest of
 * several is one's in the proportion of its weight. Sums and quotients only: logarithms may differ
 * in the last bit from build to build (CL1). Source: Rényi 1953.
 */
function quantilesOf(count: number): Float64Array {
  let sum = 0;
  return Float64Array.from({ length: count }, (_, rank) => {
    const step = 1 / (count - rank);
    sum += step;
    return sum - step / 2;
  });
}

function earliestOf(takers: readonly Taker[], partition: number): Taker {
  let best: Taker | undefined;
  let bestTime = Number.POSITIVE_INFINITY;
  for (const taker of takers) {
    const rank = taker.order.ranks[partition] ?? 0;
    if (taker.load >= taker.loadMax && rank > taker.lastRank) continue;
    const time = taker.times[rank] ?? 0;
    if (time > bestTime) continue;
    if (time === bestTime && best !== undefined && !isLower(taker, best, partition)) continue;
    [best, bestTime] = [taker, time];
  }
  assert(best, "CL2 the bound leaves room for every partition");
  return best;
}

/** Of two that come at the same time; where that is equal, too, the first one wins, by id. */
function isLower({ order }: Taker, other: Taker, partition: number): boolean {
  return (order.hashes[partition] ?? 0) < (other.order.hashes[partition] ?? 0);
}

/** Returns what the taker gives up for it. */
function load(
  taker: Taker,
  partition: number,
  owners: readonly (Taker | undefined)[],
): number | undefined {
  const { ranks, partitions } = taker.order;
  taker.lastRank = Math.max(taker.lastRank, ranks[partition] ?? 0);
  if (taker.load < taker.loadMax) {
    taker.load++;
    return undefined;
  }
  const given = partitions[taker.lastRank];
  do taker.lastRank--;
  while (owners[partitions[taker.lastRank] ?? 0] !== taker);
  return given;
}
