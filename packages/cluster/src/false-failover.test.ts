// Goal: C23, C12, CL5, CL16. Method: members over a network in memory that loses, delays and cuts one
// way, on one fake clock, with leases in one table. Whole regions under such faults: test/sim.
import { type Bus, createMemoryNetwork } from "@carillon/bus";
import type { Random } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { FakeLeaseStore } from "./fake-lease-store.ts";
import { createMembership } from "./membership.ts";
import { createOwnership } from "./ownership.ts";

const TEN_MINUTES_MS = 600_000;
const PARTITIONS = 64;

/** Repeatable: Lehmer's generator. */
function seeded(seed: number): Random {
  let state = seed;
  const next = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  return { next, bytes: (count) => Uint8Array.from({ length: count }, () => next() * 256) };
}

/** What this member hears is lost and late, and some not heard at all. */
function faultyBus(
  wire: Bus,
  options: { clock: FakeClock; random: Random; lossShare: number; delayMs: number },
  isDeafTo: (subject: string) => boolean,
): Bus {
  const { clock, random, lossShare, delayMs } = options;
  return {
    get isConnected() {
      return wire.isConnected;
    },
    payloadMaxBytes: wire.payloadMaxBytes,
    publish: (subject, data) => wire.publish(subject, data),
    request: (subject, data, timeoutMs) => wire.request(subject, data, timeoutMs),
    onConnection: (listener) => wire.onConnection(listener),
    drain: () => wire.drain(),
    subscribe: (pattern, onMessage) =>
      wire.subscribe(pattern, (message) => {
        if (isDeafTo(message.subject)) return;
        if (random.next() < lossShare) return;
        clock.setTimer(delayMs * (0.5 + random.next()), () => onMessage(message));
      }),
  };
}

/** `deafness`: member → whom it does not hear, once everybody has its share. */
async function tenMinutes(seed: number, deafness: Record<string, string>) {
  let isCut = false;
  const clock = new FakeClock();
  const nats = createMemoryNetwork({ clock, scheduler: clock });
  const leases = new FakeLeaseStore(PARTITIONS, clock.monotonicMs);
  const random = seeded(seed);
  const suspicions: string[] = [];
  const moves: string[] = [];
  for (const memberId of ["fra-1", "fra-2", "fra-3", "lon-1", "lon-2"]) {
    const region = memberId.slice(0, 3);
    const bus = faultyBus(
      nats.connect(memberId),
      { clock, random, lossShare: 0.1, delayMs: 100 },
      (subject) => isCut && subject.endsWith(`.${deafness[memberId] ?? "nobody"}`),
    );
    const membership = createMembership(
      { self: { memberId, region, roles: ["worker"], build: "test" } },
      {
        bus,
        clock,
        scheduler: clock,
        onMalformed: () => undefined,
        onChange: (what, other) => {
          if (what !== "joined") suspicions.push(`${memberId}: ${other.memberId} ${what}`);
        },
      },
    );
    membership.start();
    if (region !== "fra") continue;
    createOwnership(
      {
        home: "fra",
        memberId,
        partitionCount: PARTITIONS,
        leaseMs: 10_000,
        refreshEveryMs: 3_000,
        selfStopMs: 8_000,
        checkEveryMs: 1_000,
      },
      {
        leases,
        placeable: () => membership.placeable(),
        isIsolated: () => membership.isIsolated(),
        clock,
        onAcquired: (taken) => void moves.push(`${memberId} +${taken.length}`),
        onLost: (lost, reason) => void moves.push(`${memberId} -${lost.length} ${reason}`),
        onRelease: async (given) => void moves.push(`${memberId} gives ${given.length}`),
        onFault: (cause) => {
          throw cause;
        },
      },
    ).start();
  }
  await clock.advance(40_000); // until everybody has its share
  suspicions.length = moves.length = 0;
  isCut = true;
  await clock.advance(TEN_MINUTES_MS);
  const unowned = Array.from({ length: PARTITIONS }, (_, n) => leases.ownerOf(n)).filter(
    (owner) => owner === null,
  );
  return { suspicions, moves, unownedCount: unowned.length };
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  "C23 — a tenth lost and 100 ms of delay for 10 minutes: nobody suspect, nothing moves (seed %i)",
  async (seed) => {
    expect(await tenMinutes(seed, {})).toEqual({ suspicions: [], moves: [], unownedCount: 0 });
  },
);

test("C23, CL16 — an asymmetric cut: who is not heard is suspect there, and nothing moves for it", async () => {
  // fra-1 does not hear fra-2, which hears it; and London hears one of Frankfurt's no more.
  const deafness = { "fra-1": "fra-2", "lon-1": "fra-3" };
  expect(await tenMinutes(11, deafness)).toEqual({
    suspicions: ["fra-1: fra-2 suspect", "lon-1: fra-3 suspect"],
    moves: [],
    unownedCount: 0,
  });
});
