// Goal: CL14–CL16, C21. Method: members that see each other at random, each differently, over one
// lease table and one fake clock; what they see changes every few seconds, and then stays.
import fc from "fast-check";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { FakeLeaseStore } from "./fake-lease-store.ts";
import { createOwnership } from "./ownership.ts";

const PARTITIONS = 32;
const IDS = ["a", "b", "c", "d"];

/** One member's view of another, since when; unheard: it drains, or was forgotten. */
interface View {
  state: "alive" | "suspect" | "unheard";
  sinceMs: number;
}

const flips = fc.array(
  fc.record({
    afterMs: fc.integer({ min: 500, max: 6_000 }),
    viewer: fc.constantFrom(...IDS),
    other: fc.constantFrom(...IDS),
    state: fc.constantFrom<View["state"]>("alive", "suspect", "unheard"),
  }),
  { maxLength: 30 },
);
const weights = fc.oneof(
  fc.constant(IDS.map(() => 1)),
  fc.tuple(...IDS.map(() => fc.constantFrom(0.5, 1, 2, 4))),
);

test("CL14, CL16 — C21 whoever is suspect to whom, of whatever weight, and however it changes: all owned, none moves twice in 10 s", async () => {
  await fc.assert(
    fc.asyncProperty(flips, weights, async (changes, weightOf) => {
      const clock = new FakeClock();
      const leases = new FakeLeaseStore(PARTITIONS, clock.monotonicMs);
      const views = new Map<string, View>();
      const lastMove = new Map<number, { atMs: number; memberId: string }>();
      const tooSoon: string[] = [];
      for (const memberId of IDS) {
        for (const other of IDS) views.set(memberId + other, { state: "alive", sinceMs: 0 });
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
              IDS.flatMap((other, n) => {
                const { state, sinceMs } = views.get(memberId + other)!;
                if (state === "unheard") return [];
                const isSuspect = state === "suspect";
                const aliveForMs = isSuspect ? 0 : clock.monotonicMs() - sinceMs;
                return [{ memberId: other, weight: weightOf[n]!, isSuspect, aliveForMs }];
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
      for (const { afterMs, viewer, other, state } of changes) {
        await clock.advance(afterMs);
        const view = views.get(viewer + other)!;
        if (viewer === other || view.state === state) continue;
        view.state = state;
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
