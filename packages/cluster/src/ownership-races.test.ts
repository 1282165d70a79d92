// Goal: CL7, CL8, CL10, CL11, CL15: what comes while a statement, a flush or a look is under way. Method: members
// on one fake clock over a lease table whose answers, or whose work, come late.
import { Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import { region } from "./test-ownership.ts";

test("CL7 — leases count from when they were asked for, not from the answer", async () => {
  const { clock, leases, join } = region();
  const { acquire, refresh } = leases;
  leases.acquire = async (options) => {
    const taken = await acquire.call(leases, options);
    await clock.sleep(1_000);
    return taken;
  };
  leases.refresh = async (options) => {
    const refreshed = await refresh.call(leases, options);
    await clock.sleep(1_500);
    return refreshed;
  };
  const a = join("a");
  await clock.advance(1_100);
  expect([a.owned().length, a.leaseAgeMs()]).toEqual([32, 1_100]);
  await clock.advance(3_500); // refreshed at 3 s, heard of at 4.5 s
  expect([a.owned().length, a.leaseAgeMs()]).toEqual([32, 1_600]);
});

test("CL7 — a refresh that has not seen all that is held makes nothing younger", async () => {
  const { clock, leases, join } = region();
  const { refresh } = leases;
  await leases.acquire({ home: "fra", memberId: "dead", partitions: [5], leaseMs: 3_100 });
  leases.refresh = async (options) => {
    const refreshed = await refresh.call(leases, options);
    await clock.sleep(1_500);
    return refreshed;
  };
  const a = join("a");
  await clock.advance(4_600); // refreshed at 3 s, the last one taken at 3.25 s, heard of at 4.5 s
  expect([a.owned().length, a.leaseAgeMs()]).toEqual([32, 4_600]);
  await clock.advance(2_000); // and again at 5 s
  expect([a.owned().length, a.leaseAgeMs()]).toEqual([32, 1_600]);
});

test("CL8 — what was given back while a refresh was under way is not taken for fenced", async () => {
  const { clock, leases, events, join } = region();
  const { refresh } = leases;
  leases.refresh = async (options) => {
    await clock.sleep(1_500);
    return refresh.call(leases, options);
  };
  join("a");
  await clock.advance(0);
  join("b");
  await clock.advance(30_000);
  expect(events).toEqual(["a +32 first", "a gives 8", "b +8", "a gives 5", "b +5"]);
});

test("CL10 — what is just being acquired is no stray, though a refresh of before has seen it", async () => {
  const { clock, leases, events, join, owners } = region();
  const { acquire, refresh } = leases;
  await leases.acquire({ home: "fra", memberId: "dead", partitions: [5], leaseMs: 3_100 });
  leases.refresh = async (options) => {
    await clock.sleep(500); // asked at 3 s, done at 3.5 s
    return refresh.call(leases, options);
  };
  leases.acquire = async (options) => {
    const taken = await acquire.call(leases, options);
    if (taken[0]?.partition === 5) await clock.sleep(1_000); // done at 3.25 s, heard of at 4.25 s
    return taken;
  };
  const a = join("a");
  await clock.advance(10_000);
  expect([owners(), a.epochOf(5), events]).toEqual([{ a: 32 }, 2, ["a +31 first", "a +1"]]);
});

test("CL8 — what was lost during its flush is not given back: others would take it for flushed", async () => {
  const { clock, leases, flush, events, join } = region();
  const { release } = leases;
  const released: number[] = [];
  leases.release = (options) => {
    released.push(...options.partitions);
    return release.call(leases, options);
  };
  const a = join("a");
  await clock.advance(0);
  flush.tookMs = 9_000;
  leases.refresh = async () => {
    throw new Fault("planted", { code: "store_unavailable", isRetryable: true });
  };
  const drained = a.drain();
  await clock.advance(10_000);
  await drained;
  expect(events.filter((event) => event !== "a fault")).toEqual([
    "a +32 first",
    "a gives 32",
    "a -32 unrefreshed",
  ]);
  expect(released).toEqual([]);
});

test("CL8 — a drain gives back what it was just acquiring, too", async () => {
  const { clock, leases, events, join, owners } = region();
  const { acquire } = leases;
  leases.acquire = async (options) => {
    const taken = await acquire.call(leases, options);
    await clock.sleep(500);
    return taken;
  };
  const a = join("a");
  await clock.advance(100);
  const drained = a.drain();
  await clock.advance(1_000);
  await drained;
  expect([a.owned(), owners(), events]).toEqual([
    [],
    { nobody: 32 },
    ["a +32 first", "a gives 32"],
  ]);
});

test.each(["list", "refresh"] as const)(
  "CL11 — abandoned while a %s is under way: over when that has been answered, and not before",
  async (what) => {
    const { clock, leases, join } = region();
    const a = join("a");
    await clock.advance(100);
    const answer = Promise.withResolvers<void>();
    const { list, refresh } = leases;
    if (what === "list") leases.list = () => answer.promise.then(() => list.call(leases));
    else leases.refresh = (options) => answer.promise.then(() => refresh.call(leases, options));
    await clock.advance(4_000);
    let isOver = false;
    const gone = a.abandon().then(() => (isOver = true));
    await clock.advance(1_000);
    expect(isOver).toBe(false);
    answer.resolve();
    await gone;
  },
);

test("CL8 — a drain is over when the refresh under way has been answered, and not before", async () => {
  const { clock, leases, join } = region();
  const a = join("a");
  await clock.advance(100);
  const { refresh } = leases;
  const answer = Promise.withResolvers<void>();
  leases.refresh = (options) => answer.promise.then(() => refresh.call(leases, options));
  await clock.advance(4_000);
  let isOver = false;
  const drained = a.drain().then(() => (isOver = true));
  await clock.advance(1_000);
  expect([a.owned(), isOver]).toEqual([[], false]);
  answer.resolve();
  await drained;
});

test("CL15 — a drain beside suspects only gives all at once: no group would be taken", async () => {
  const { clock, isolated, events, join } = region();
  const a = join("a");
  await clock.advance(0);
  isolated.set("a", [{ memberId: "b", weight: 1, aliveForMs: 0, isSuspect: true }]);
  await a.drain();
  expect(events).toEqual(["a +32 first", "a gives 32"]);
});

test("CL15 — a drain of which nobody takes anything gives in groups for 6 s, then the rest at once", async () => {
  const { clock, live, events, join, owners } = region({ groupMax: 4 });
  const a = join("a");
  await clock.advance(0);
  live.delete("a");
  live.set("deaf", 0);
  const drained = a.drain();
  await clock.advance(9_000);
  await drained;
  expect(events.slice(1)).toEqual(["a gives 4", "a gives 4", "a gives 4", "a gives 20"]);
  expect(owners()).toEqual({ nobody: 32 });
});
