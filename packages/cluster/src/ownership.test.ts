// packages/cluster/src/ownership.test.ts
// Goal: CL7–CL9, C14, C17, C18, C20 of one region. Method: members on one fake clock over one lease
// table; a member is frozen by giving it a clock of its own that stands still.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { FakeLeaseStore } from "./fake-lease-store.ts";
import { createOwnership } from "./ownership.ts";

const OPTIONS = {
  home: "fra",
  partitionCount: 32,
  leaseMs: 10_000,
  refreshEveryMs: 3_000,
  selfStopMs: 8_000,
  checkEveryMs: 1_000,
};

function region() {
  const clock = new FakeClock();
  const leases = new FakeLeaseStore(OPTIONS.partitionCount, clock.monotonicMs);
  const live = new Set<string>();
  const events: string[] = [];
  const join = (memberId: string) => {
    live.add(memberId);
    const ownership = createOwnership(
      { ...OPTIONS, memberId },
      {
        leases,
        workers: () => [...live],
        clock,
        onAcquired: (taken) =>
          void events.push(`${memberId} +${taken.length}${taken[0]?.isFirst ? " first" : ""}`),
        onLost: (lost, reason) => void events.push(`${memberId} -${lost.length} ${reason}`),
        onRelease: async (given) => void events.push(`${memberId} gives ${given.length}`),
        onFault: () => void events.push(`${memberId} fault`),
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
  return { clock, leases, live, events, join, owners };
}

test("C20 — a second member gets its share by handover, flushed before it is given back", async () => {
  const { clock, events, join, owners } = region();
  join("a");
  await clock.advance(0);
  expect(owners()).toEqual({ a: 32 });
  join("b");
  await clock.advance(2_000);
  const { a = 0, b = 0 } = owners();
  expect(a + b).toBe(32);
  expect(Math.max(a, b)).toBeLessThanOrEqual(19);
  expect(events).toEqual(["a +32 first", `a gives ${b}`, `b +${b}`]);
});

test("C18 — a member that dies: its partitions are owned again within 12 s", async () => {
  const { clock, live, join, owners } = region();
  const a = join("a");
  join("b");
  await clock.advance(4_000);
  a.stop(); // as kill -9: leases are not given back
  live.delete("a");
  await clock.advance(12_000);
  expect(owners()).toEqual({ b: 32 });
});

test("CL7 — a member that cannot refresh stops by itself before its leases run out", async () => {
  const { clock, leases, events, join } = region();
  const a = join("a");
  await clock.advance(100);
  leases.isDown = true;
  expect(a.leaseAgeMs()).toBeLessThan(200);
  await clock.advance(7_500);
  expect(a.owned()).toHaveLength(32);
  expect(a.leaseAgeMs()).toBeGreaterThanOrEqual(7_500);
  await clock.advance(1_500);
  expect([a.owned(), a.leaseAgeMs()]).toEqual([[], 0]);
  expect(events.filter((event) => !event.endsWith("fault"))).toEqual([
    "a +32 first",
    "a -32 unrefreshed",
  ]);
  leases.isDown = false;
  await clock.advance(3_000);
  expect(a.owned()).toHaveLength(32);
});

test("CL9 — a member that slept gives everything up when it is asked, before any timer", async () => {
  const { clock, events, join } = region();
  const sleeper = join("a");
  await clock.advance(100);
  clock.block(9_000); // SIGSTOP: no timer ran
  expect(sleeper.mayServe()).toBe(false);
  expect(events.at(-1)).toBe("a -32 unrefreshed");
});

test("CL8 — drain gives everything back at once", async () => {
  const { clock, events, join, owners } = region();
  const a = join("a");
  await clock.advance(0);
  await a.drain();
  expect(owners()).toEqual({ nobody: 32 });
  expect(events).toEqual(["a +32 first", "a gives 32"]);
});

test("CL10 — a release that fails once: the partitions are given back, and owned again", async () => {
  const { clock, leases, join, owners } = region();
  const a = join("a");
  await clock.advance(0);
  leases.failNext = "release";
  const b = join("b");
  await clock.advance(6_000);
  expect(owners()).toEqual({ a: a.owned().length, b: b.owned().length });
  expect(a.owned().length + b.owned().length).toBe(32);
});

test("CL10 — an acquire whose answer is lost: the partitions are served in the end", async () => {
  const { clock, leases, live, join, owners } = region();
  const a = join("a");
  join("b");
  await clock.advance(4_000);
  a.stop();
  live.delete("a");
  leases.failNext = "acquire_answer"; // b takes them, and does not hear of it
  const c = join("c");
  await clock.advance(25_000);
  const counts = owners();
  expect(Object.keys(counts).toSorted()).toEqual(["b", "c"]);
  expect(counts["c"]).toBe(c.owned().length);
});

test("CL11 — abandoned leases are free at once, unflushed; the next one of that id keeps its own", async () => {
  const { clock, events, join, owners } = region();
  const crashed = join("a");
  await clock.advance(2_500);
  const gone = crashed.abandon();
  crashed.check(); // too late
  await gone;
  expect(owners()).toEqual({ nobody: 32 });
  const next = join("a");
  await clock.advance(9_000);
  expect(next.owned()).toHaveLength(32);
  expect(new Set(next.owned().map(([, epoch]) => epoch))).toEqual(new Set([2]));
  expect(events).toEqual(["a +32 first", "a -32 stopped", "a +32"]);
});

test("CL11 — what it was just acquiring is given back, too", async () => {
  const { leases, events, join, owners } = region();
  const taking = Promise.withResolvers<void>();
  const acquire = leases.acquire.bind(leases);
  leases.acquire = async (options) => {
    const taken = await acquire(options);
    await taking.promise;
    return taken;
  };
  const crashed = join("a");
  await Promise.resolve().then(() => undefined);
  const gone = crashed.abandon();
  taking.resolve();
  await gone;
  expect(owners()).toEqual({ nobody: 32 });
  expect(events).toEqual([]);
});
