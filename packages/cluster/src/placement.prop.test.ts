// Goal: CL14–CL16, C21. Method: members that see each other at random, each differently, over one
// lease table and one fake clock; what they see changes every few seconds, and then stays.
import fc from "fast-check";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { FakeLeaseStore } from "./fake-lease-store.ts";
import { createOwnership } from "./ownership.ts";

const PARTITIONS = 32;
const IDS = ["a", "b", "c", "d"];

/** One member's view of another: alive or suspect, since when. */
interface View {
  isSuspect: boolean;
  sinceMs: number;
}

const flips = fc.array(
  fc.record({
    afterMs: fc.integer({ min: 500, max: 6_000 }),
    viewer: fc.constantFrom(...IDS),
    other: fc.constantFrom(...IDS),
  }),
  { maxLength: 30 },
);

test("CL14, CL16 — C21 whoever is suspect to whom, and however it changes: all owned, none moves twice in 10 s", async () => {
  await fc.assert(
    fc.asyncProperty(flips, async (changes) => {
      const clock = new FakeClock();
      const leases = new FakeLeaseStore(PARTITIONS, clock.monotonicMs);
      const views = new Map<string, View>();
      const lastMove = new Map<number, { atMs: number; memberId: string }>();
      const tooSoon: string[] = [];
      for (const memberId of IDS) {
        for (const other of IDS) views.set(memberId + other, { isSuspect: false, sinceMs: 0 });
        createOwnership(
          {
            home: "fra",
            memberId,
            partitionCount: PARTITIONS,
            leaseMs: 10_000,
            refreshEveryMs: 3_000,
            selfStopMs: 8_000,
            checkEveryMs: 1_000,
            placement: { groupMax: 8 },
          },
          {
            leases,
            clock,
            isIsolated: () => false,
            placeable: () =>
              IDS.map((other) => {
                const { isSuspect, sinceMs } = views.get(memberId + other)!;
                const aliveForMs = isSuspect ? 0 : clock.monotonicMs() - sinceMs;
                return { memberId: other, weight: 1, isSuspect, aliveForMs };
              }),
            onAcquired: (taken) => {
              const atMs = clock.monotonicMs();
              for (const { partition } of taken) {
                const last = lastMove.get(partition);
                if (last !== undefined && last.memberId !== memberId && atMs - last.atMs < 10_000)
                  tooSoon.push(`${partition}: ${last.memberId} → ${memberId} at ${atMs}`);
                if (last?.memberId !== memberId) lastMove.set(partition, { atMs, memberId });
              }
            },
            onLost: (lost, reason) =>
              void tooSoon.push(`${memberId} lost ${lost.length} ${reason}`),
            onRelease: async () => undefined,
            onFault: (cause) => {
              throw cause;
            },
          },
        ).start();
      }
      await clock.advance(20_000);
      for (const { afterMs, viewer, other } of changes) {
        await clock.advance(afterMs);
        const view = views.get(viewer + other)!;
        if (viewer === other) continue;
        view.isSuspect = !view.isSuspect;
        view.sinceMs = clock.monotonicMs();
      }
      expect(tooSoon).toEqual([]);
      await clock.advance(60_000); // what they see stays, however odd it is
      const before = [...lastMove];
      await clock.advance(60_000);
      expect([...lastMove]).toEqual(before); // it has come to rest
      const unowned = Array.from({ length: PARTITIONS }, (_, n) => leases.ownerOf(n)).filter(
        (owner) => owner === null,
      );
      expect(unowned).toEqual([]);
      expect(tooSoon).toEqual([]);
    }),
    { numRuns: 40 },
  );
});
