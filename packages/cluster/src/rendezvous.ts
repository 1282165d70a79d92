// packages/cluster/src/rendezvous.ts
// Which member should own which partition: weighted rendezvous hashing with bounded load. Pure.
//   CL1  The same members give the same table everywhere, whatever their order (golden vectors).
//   CL2  No member gets more than ⌈(1 + ε) × its share by weight⌉, ε = 0.15 (C16).
//   CL3  A join or a leave moves few partitions: those it wins, and overflow of the bound.
import { fnv1a32, mix32 } from "@carillon/contracts";
import { assert } from "@carillon/kernel";

export interface WeightedMember {
  readonly memberId: string;
  /** Above 0; twice the weight, twice the partitions. One node is one thread on one core: 1. */
  readonly weight: number;
}

interface Ranked {
  readonly memberId: string;
  readonly weight: number;
  readonly loadMax: number;
  load: number;
}

const LOAD_SLACK = 0.15; // ε of bounded-load rendezvous; more moves less, less balances better
const HASHES = 2 ** 32;

/** Owner of each partition 0 … partitionCount−1. Members must be non-empty (assert). */
export function assignPartitions(
  placeable: readonly WeightedMember[],
  partitionCount: number,
): string[] {
  assert(placeable.length > 0, "CL1 members must be non-empty");
  assert(
    placeable.every(({ weight }) => weight > 0 && Number.isFinite(weight)),
    "CL2 weights are above 0",
  );
  const weightSum = placeable.reduce((sum, { weight }) => sum + weight, 0);
  const members = placeable
    .toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1))
    .map(({ memberId, weight }): Ranked => {
      const share = (partitionCount * weight) / weightSum;
      return { memberId, weight, loadMax: Math.ceil(share * (1 + LOAD_SLACK)), load: 0 };
    });
  return Array.from({ length: partitionCount }, (_, partition) => {
    let best: Ranked | undefined;
    let bestScore = -1;
    for (const member of members) {
      if (member.load >= member.loadMax) continue;
      const score = scoreOf(member, partition);
      if (score > bestScore) [best, bestScore] = [member, score]; // a tie is the first one's
    }
    assert(best, "CL2 the bound leaves room for every partition");
    best.load++;
    return best.memberId;
  });
}

/**
 * −weight ÷ ln u, u the hash as a number between 0 and 1: the share of partitions that a member wins
 * is its share of the weights. Source: Wang and Ravishankar, "Hash-based virtual hierarchies"; the
 * logarithm method as in Schindelhauer and Schomaker 2005.
 */
function scoreOf({ memberId, weight }: Ranked, partition: number): number {
  const u = (mix32(fnv1a32(`${memberId}#${partition}`)) + 0.5) / HASHES;
  return -weight / Math.log(u);
}
