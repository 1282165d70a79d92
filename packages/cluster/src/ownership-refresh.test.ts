// packages/cluster/src/ownership-refresh.test.ts
// Goal: C17, CL7, CL20. Method: members on one fake clock over a lease table that is slow where the test
// says so. The limit of the real statement: packages/store, ST24.
import { Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import { createOwnership } from "./ownership.ts";
import { OPTIONS, region } from "./test-ownership.ts";

test.each(["release", "list", "flush"])(
  "CL20 — a %s that takes 9 s delays no refresh: nothing is lost unrefreshed",
  async (what) => {
    const { clock, leases, flush, events, join, owners } = region();
    join("a");
    await clock.advance(1_000);
    const { release, list, refresh } = leases;
    const refreshedAtMs: number[] = [];
    leases.refresh = (options) => {
      if (options.memberId === "a") refreshedAtMs.push(clock.monotonicMs());
      return refresh.call(leases, options);
    };
    if (what === "flush") flush.tookMs = 9_000;
    if (what === "release")
      leases.release = (options) => clock.sleep(9_000).then(() => release.call(leases, options));
    if (what === "list") leases.list = () => clock.sleep(9_000).then(() => list.call(leases));
    join("b");
    await clock.advance(120_000);
    expect(events.filter((event) => event.includes("unrefreshed"))).toEqual([]);
    expect(events.filter((event) => event.includes("fault"))).toEqual([]);
    const gapsMs = refreshedAtMs.slice(1).map((atMs, n) => atMs - refreshedAtMs[n]!);
    expect(Math.max(...gapsMs)).toBeLessThanOrEqual(4_000);
    expect(Object.keys(owners())).not.toContain("nobody");
  },
);

test("C17, CL20 — all that is held is refreshed in one call, every 3 s", async () => {
  const { clock, leases, join } = region();
  const refreshed: [atMs: number, count: number][] = [];
  const { refresh } = leases;
  leases.refresh = async (options) => {
    const held = await refresh.call(leases, options);
    refreshed.push([clock.monotonicMs(), held.length]);
    return held;
  };
  join("a");
  await clock.advance(30_500);
  expect(refreshed).toEqual(
    Array.from({ length: 10 }, (_, n) => [(n + 1) * 3_000, OPTIONS.partitionCount]),
  );
});

test("CL20 — a refresh that ends at its limit is tried again before the member has to stop", async () => {
  const { clock, leases, events, join, owners } = region();
  join("a");
  await clock.advance(1_000);
  const { refresh } = leases;
  let triesCount = 0;
  const limitsMs: number[] = [];
  leases.refresh = async (options) => {
    limitsMs.push(options.limitMs);
    if (++triesCount > 1) return refresh.call(leases, options);
    await clock.sleep(2 * options.limitMs); // at its worst
    throw new Fault("planted", { code: "store_unavailable", isRetryable: true });
  };
  await clock.advance(30_000);
  expect(events).toEqual(["a +32 first", "a fault"]);
  expect(owners()).toEqual({ a: 32 });
  expect(new Set(limitsMs)).toEqual(new Set([2_000]));
});

test("CL20 — limits that leave no time for a refresh are refused at the start", () => {
  const { clock, leases } = region();
  const begin = (refreshLimitMs: number) =>
    createOwnership(
      { ...OPTIONS, memberId: "a", refreshLimitMs },
      {
        leases,
        clock,
        placeable: () => [],
        isIsolated: () => false,
        onAcquired: () => undefined,
        onLost: () => undefined,
        onRelease: async () => undefined,
        onFault: () => undefined,
      },
    );
  expect(() => begin(2_001)).toThrow("CL20");
  expect(begin(2_000).owned()).toEqual([]);
});

test("CL7, CL20 — taken while a refresh is under way: the lease counts from when it was asked for", async () => {
  const { clock, leases, events, join, owners } = region();
  const { acquire } = leases;
  await leases.acquire({ home: "fra", memberId: "dead", partitions: [5], leaseMs: 2_100 });
  leases.acquire = async (options) => {
    const taken = await acquire.call(leases, options);
    if (taken[0]?.partition === 5) await clock.sleep(3_000); // leased, and heard of 3 s later
    return taken;
  };
  const a = join("a");
  await clock.advance(2_300); // seen free at 2.25 s, and taken
  expect(owners()).toEqual({ a: 32 });
  await clock.advance(2_700); // refreshed at 3 s
  expect([a.owned().length, a.leaseAgeMs()]).toEqual([31, 2_000]);
  await clock.advance(500); // heard of at 5.25 s
  expect([a.owned().length, a.leaseAgeMs()]).toEqual([32, 3_250]);
  await clock.advance(30_000);
  expect(events).toEqual(["a +31 first", "a +1"]); // and never given back as a stray
  expect(owners()).toEqual({ a: 32 });
});

test("CL20 — an acquire that is heard of too late is given back, and costs nothing that is held", async () => {
  const { clock, leases, events, join, owners } = region();
  const { acquire } = leases;
  await leases.acquire({ home: "fra", memberId: "dead", partitions: [5], leaseMs: 2_100 });
  let isSlow = true;
  leases.acquire = async (options) => {
    const taken = await acquire.call(leases, options);
    if (taken[0]?.partition === 5 && isSlow) await clock.sleep(9_000);
    return taken;
  };
  const a = join("a");
  await clock.advance(11_000);
  isSlow = false;
  expect(a.owned()).toHaveLength(31);
  await clock.advance(2_000);
  expect(owners()).toEqual({ a: 32 });
  expect(a.epochOf(5)).toBe(3); // 1 was the dead one's, 2 given back
  expect(events).toEqual(["a +31 first", "a +1"]);
});
