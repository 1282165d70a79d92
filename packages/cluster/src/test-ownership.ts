// packages/cluster/src/test-ownership.ts
// Members on one fake clock over one lease table, and a list of who is alive that the test keeps.
import { FakeClock } from "@carillon/testkit";
import { FakeLeaseStore } from "./fake-lease-store.ts";
import type { PlaceableWorker } from "./membership.ts";
import { createOwnership } from "./ownership.ts";
import type { PlacementLimits } from "./placement-limits.ts";
import { TABLE_VERSIONS, type TableVersions } from "./rendezvous.ts";

export const OPTIONS = {
  home: "fra",
  partitionCount: 32,
  leaseMs: 10_000,
  refreshEveryMs: 3_000,
  selfStopMs: 8_000,
  checkEveryMs: 1_000,
  placement: { groupMax: 8 },
};

export function region(placement: Partial<PlacementLimits> = {}) {
  const clock = new FakeClock();
  const leases = new FakeLeaseStore(OPTIONS.partitionCount, clock.monotonicMs);
  const live = new Map<string, number>(); // member → since when it is alive to others
  const weights = new Map<string, number>(); // default 1
  const versions = new Map<string, number>(); // default: this build's
  const deaf = new Map<string, string>(); // member → whom it does not hear
  const isolated = new Map<string, PlaceableWorker[]>();
  const moves: { atMs: number; partition: number; memberId: string }[] = [];
  const events: string[] = [];
  const handoversMs: number[] = [];
  const flush = { tookMs: 0 };
  const seen = () =>
    [...live].map(([memberId, sinceMs]) => ({
      memberId,
      weight: weights.get(memberId) ?? 1,
      aliveForMs: clock.monotonicMs() - sinceMs,
      isSuspect: false,
      tables: versions.get(memberId) ?? TABLE_VERSIONS.length,
    }));
  /** It hears nobody, and nobody hears it; what it knew of others stays. */
  const isolate = (...memberIds: string[]): void => {
    const frozen = seen();
    for (const memberId of memberIds) isolated.set(memberId, frozen);
  };
  /** `tables`: of another build than this one. */
  const join = (memberId: string, tables?: TableVersions) => {
    live.set(memberId, clock.monotonicMs());
    if (tables !== undefined) versions.set(memberId, tables.length);
    const ownership = createOwnership(
      {
        ...OPTIONS,
        memberId,
        placement: { ...OPTIONS.placement, ...placement },
        ...(tables && { tables }),
      },
      {
        leases,
        placeable: () =>
          isolated.get(memberId) ??
          seen().filter(({ memberId: id }) => !isolated.has(id) && deaf.get(memberId) !== id),
        isIsolated: () => isolated.has(memberId),
        clock,
        onAcquired: (taken) => {
          events.push(`${memberId} +${taken.length}${taken[0]?.isFirst ? " first" : ""}`);
          const atMs = clock.monotonicMs();
          for (const { partition } of taken) moves.push({ atMs, partition, memberId });
        },
        onLost: (lost, reason) => void events.push(`${memberId} -${lost.length} ${reason}`),
        onRelease: async (given) => {
          events.push(`${memberId} gives ${given.length}`);
          if (flush.tookMs > 0) await clock.sleep(flush.tookMs);
        },
        onFault: () => void events.push(`${memberId} fault`),
        onHandedOver: (_, afterMs) => void handoversMs.push(afterMs),
      },
    );
    ownership.start();
    return ownership;
  };
  const owners = (): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (let partition = 0; partition < OPTIONS.partitionCount; partition++) {
      const owner = leases.ownerOf(partition) ?? "nobody";
      counts[owner] = (counts[owner] ?? 0) + 1;
    }
    return counts;
  };
  return {
    clock,
    leases,
    flush,
    live,
    weights,
    deaf,
    isolated,
    isolate,
    events,
    moves,
    handoversMs,
    join,
    owners,
  };
}
