// The table before ADR 0017, for tests of builds that differ: partition by partition, the member with
// the highest score that is not full. About a half of what it says is otherwise by ranks.
import { fnv1a32, mix32 } from "@carillon/contracts";
import type { Tables } from "./rendezvous.ts";

const LOAD_SLACK = 0.15;
const HASHES = 2 ** 32;

export function createHashTables(partitionCount: number): Tables {
  return {
    ownersOf(placeable) {
      const weightSum = placeable.reduce((sum, { weight }) => sum + weight, 0);
      const members = placeable
        .toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1))
        .map(({ memberId, weight }) => {
          const share = (partitionCount * weight) / weightSum;
          return { memberId, weight, loadMax: Math.ceil(share * (1 + LOAD_SLACK)), load: 0 };
        });
      return Array.from({ length: partitionCount }, (_, partition) => {
        const scoreOf = ({ memberId, weight }: { memberId: string; weight: number }): number =>
          -weight / Math.log((mix32(fnv1a32(`${memberId}#${partition}`)) + 0.5) / HASHES);
        const best = members
          .filter(({ load, loadMax }) => load < loadMax)
          .reduce((one, other) => (scoreOf(other) > scoreOf(one) ? other : one));
        best.load++;
        return best.memberId;
      });
    },
  };
}
