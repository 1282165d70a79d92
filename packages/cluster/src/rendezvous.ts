// packages/cluster/src/rendezvous.ts
// Which member should own which partition: rendezvous hashing with bounded load. Pure.
//   CL1  The same members give the same table everywhere, whatever their order (golden vectors).
//   CL2  No member gets more than ⌈(1 + ε) × partitions / members⌉, ε = 0.15 (C16).
//   CL3  A join or a leave moves few partitions: those it wins, and overflow of the bound.
import { fnv1a32, mix32 } from "@carillon/contracts";
import { assert } from "@carillon/kernel";

const LOAD_SLACK = 0.15; // ε of bounded-load rendezvous; more moves less, less balances better

/** Owner of each partition 0 … partitionCount−1. Members must be non-empty (assert). */
export function assignPartitions(memberIds: readonly string[], partitionCount: number): string[] {
  assert(memberIds.length > 0, "CL1 members must be non-empty");
  const members = [...memberIds].toSorted();
  const loadMax = Math.ceil((partitionCount / members.length) * (1 + LOAD_SLACK));
  const loads = new Map<string, number>();
  return Array.from({ length: partitionCount }, (_, partition) => {
    const ranked = members
      .map((memberId) => ({ memberId, score: mix32(fnv1a32(`${memberId}#${partition}`)) }))
      .toSorted((a, b) => b.score - a.score || (a.memberId < b.memberId ? -1 : 1));
    const chosen = ranked.find(({ memberId }) => (loads.get(memberId) ?? 0) < loadMax);
    assert(chosen, "CL2 the bound leaves room for every partition");
    loads.set(chosen.memberId, (loads.get(chosen.memberId) ?? 0) + 1);
    return chosen.memberId;
  });
}
