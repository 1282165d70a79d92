// packages/cluster/src/ownership.test.ts
// Goal: CL7–CL11, C14, C17, C18, C20, C21 of one region. Method: members on one fake clock over one
// lease table, and a list of who is alive that the test keeps.
import type { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { region } from "./test-ownership.ts";

test("C20 — a second member gets its share by handover, flushed before it is given back", async () => {
  const { clock, events, handoversMs, join, owners } = region();
  join("a");
  await clock.advance(0);
  expect(owners()).toEqual({ a: 32 });
  join("b");
  await clock.advance(9_900);
  expect(owners()).toEqual({ a: 32 }); // CL14: b has to stay for a while first
  await clock.advance(3_000);
  const { a = 0, b = 0 } = owners();
  expect(a + b).toBe(32);
  expect(Math.max(a, b)).toBeLessThanOrEqual(19);
  expect(b).toBe(13); // of this table
  expect(events).toEqual(["a +32 first", "a gives 8", "b +8", "a gives 5", "b +5"]);
  expect(handoversMs).toHaveLength(b);
  expect(Math.max(...handoversMs)).toBeLessThanOrEqual(500);
});

test("CL19 — the workers of a cold region listen first: each loads its share, and nothing moves", async () => {
  const { clock, events, join, owners } = region({ listenMs: 2_500 });
  join("a");
  await clock.advance(700);
  join("b");
  await clock.advance(700);
  join("c");
  await clock.advance(1_050);
  expect(owners()).toEqual({ nobody: 32 });
  await clock.advance(3_000);
  const shares = owners();
  expect(shares["nobody"]).toBeUndefined();
  expect(Math.max(...Object.values(shares))).toBeLessThanOrEqual(13); // ⌈1.15 × 32/3⌉
  await clock.advance(60_000);
  expect(owners()).toEqual(shares);
  expect(events.filter((event) => event.includes("gives"))).toEqual([]);
});

test("CL19 — where somebody holds leases, what is free is taken at once", async () => {
  const { clock, leases, join, owners } = region({ listenMs: 2_500 });
  await leases.acquire({ home: "fra", memberId: "b", partitions: [5], leaseMs: 60_000 });
  join("a");
  await clock.advance(0);
  expect(owners()).toEqual({ a: 31, b: 1 });
});

test("C18 — a member that dies: its partitions are owned again within 12 s", async () => {
  const { clock, live, join, owners } = region();
  const a = join("a");
  join("b");
  await clock.advance(14_000);
  expect(owners()).not.toEqual({ a: 32 });
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
  await clock.advance(16_000);
  expect(owners()).toEqual({ a: a.owned().length, b: b.owned().length });
  expect(a.owned().length + b.owned().length).toBe(32);
});

test("CL10 — an acquire whose answer is lost: the partitions are served in the end", async () => {
  const { clock, leases, live, join, owners } = region();
  const a = join("a");
  join("b");
  await clock.advance(14_000);
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

test("CL14 — C21 a member that comes and goes every 3 s moves no partition twice in 10 s", async () => {
  const { clock, live, moves, join, owners } = region();
  join("a");
  join("b");
  await clock.advance(30_000);
  const settled = owners();
  moves.length = 0;
  const flaps = 20;
  for (let n = 0; n < flaps; n++) {
    const flapper = join(`flapper-${n}`);
    await clock.advance(3_000);
    if (n % 2 === 0) flapper.stop(); // killed …
    else await flapper.drain(); // … or stopped in order
    live.delete(`flapper-${n}`);
    await clock.advance(3_000);
  }
  expect(movedTwiceWithin(moves, 10_000)).toEqual([]);
  expect(moves).toEqual([]); // it never stayed for long enough to be given anything
  expect(owners()).toEqual(settled);
});

test("CL14 — C21 the same member, heard every other 3 s, and owners that die meanwhile", async () => {
  const { clock, live, moves, join, owners } = region();
  const a = join("a");
  join("b");
  join("flapper");
  await clock.advance(40_000);
  moves.length = 0;
  for (let n = 0; n < 20; n++) {
    live.delete("flapper"); // suspect: it keeps what it owns
    await clock.advance(3_000);
    live.set("flapper", clock.monotonicMs());
    await clock.advance(3_000);
    if (n !== 10) continue;
    a.stop(); // failover is not damped
    live.delete("a");
  }
  expect(movedTwiceWithin(moves, 10_000)).toEqual([]);
  expect(moves.length).toBeGreaterThan(0); // those of a
  const counts = owners();
  expect(Object.keys(counts).toSorted()).toEqual(["b", "flapper"]);
});

function movedTwiceWithin(
  moves: readonly { atMs: number; partition: number; memberId: string }[],
  windowMs: number,
): string[] {
  const lastAtMs = new Map<number, number>();
  return moves.flatMap(({ atMs, partition, memberId }) => {
    const beforeMs = lastAtMs.get(partition) ?? Number.NEGATIVE_INFINITY;
    lastAtMs.set(partition, atMs);
    return atMs - beforeMs < windowMs ? [`${partition} to ${memberId} at ${atMs}`] : [];
  });
}

test("CL15 — C20 a drain gives in groups, each when the one before was taken", async () => {
  const { clock, live, events, handoversMs, leases, join, owners } = region();
  const a = join("a");
  await clock.advance(0);
  join("b");
  live.delete("a"); // drains: not placeable any more
  const drained = a.drain();
  await clock.advance(10_000);
  await drained;
  expect(owners()).toEqual({ b: 32 });
  expect(events).toEqual([
    "a +32 first",
    ...[1, 2, 3, 4].flatMap(() => ["a gives 8", "b +8"]), // OPTIONS: 8 in a group
  ]);
  expect(handoversMs).toHaveLength(32);
  expect(Math.max(...handoversMs)).toBeLessThanOrEqual(500);
  expect((await leases.list()).every(({ epoch }) => epoch === 2)).toBe(true);
});

test("CL15 — a drain nobody takes anything of ends all the same", async () => {
  const { clock, live, join, owners } = region();
  const a = join("a");
  await clock.advance(0);
  live.delete("a");
  live.set("deaf", 0);
  const drained = a.drain();
  await clock.advance(12_000);
  await drained;
  expect(owners()).toEqual({ nobody: 32 });
});

test("CL15 — what nobody takes is taken back within 3 s, and not given again for 5 minutes", async () => {
  const { clock, live, events, join, owners } = region();
  join("a");
  await clock.advance(0);
  live.set("deaf", -60_000); // it is alive, and takes nothing
  const unowned: number[] = [];
  for (let n = 0; n < 120; n++) {
    await clock.advance(500);
    unowned.push(owners()["nobody"] ?? 0);
  }
  expect(owners()).toEqual({ a: 32 });
  expect(Math.max(...unowned)).toBe(8);
  const given = events.filter((event) => event.startsWith("a gives")).map((event) => event.at(-1));
  const sum = given.reduce((total, count) => total + Number(count), 0);
  expect(sum).toBeGreaterThan(8);
  expect(sum).toBeLessThan(32); // each once
  events.length = 0;
  await clock.advance(200_000);
  expect(events).toEqual([]);
});

test("CL16 — while members see each other differently for long, the leases are looked at once a second", async () => {
  const { clock, leases, deaf, handoversMs, join, owners } = region();
  join("a");
  await clock.advance(0);
  deaf.set("a", "b"); // it gives nothing to whom it does not hear
  join("b");
  await clock.advance(60_000);
  expect(owners()).toEqual({ a: 32 });
  leases.listsCount = 0;
  await clock.advance(200_000);
  expect(leases.listsCount).toBe(2 * 200);
  deaf.delete("a");
  await clock.advance(3_000);
  expect(owners()).toEqual({ a: 19, b: 13 });
  expect(Math.max(...handoversMs)).toBeLessThanOrEqual(1_000);
});

test("CL14, CL15 — C20 mixed weights: a heavy member joins and drains; nothing moves but to it and from it", async () => {
  const { clock, weights, moves, handoversMs, live, join, owners } = region();
  join("a");
  join("b");
  await clock.advance(30_000);
  const before = owners();
  moves.length = 0;
  weights.set("heavy", 2);
  const heavy = join("heavy");
  await clock.advance(30_000);
  expect(owners()["heavy"]).toBeGreaterThanOrEqual(12);
  expect(owners()["heavy"]).toBeLessThanOrEqual(19); // ⌈1.15 × 16⌉
  const toHeavy = moves.length;
  live.delete("heavy");
  const drained = heavy.drain();
  await clock.advance(30_000);
  await drained;
  expect(owners()).toEqual(before);
  expect(movedTwiceWithin(moves.slice(0, toHeavy), 10_000)).toEqual([]);
  expect(movedTwiceWithin(moves.slice(toHeavy), 10_000)).toEqual([]);
  expect(moves.length).toBe(2 * toHeavy);
  expect(Math.max(...handoversMs)).toBeLessThanOrEqual(1_000); // nobody's beat tells of the drain here
});

test("CL16 — members that see each other differently leave nothing unowned", async () => {
  const { clock, live, join, owners } = region();
  const a = join("a");
  live.set("ghost", 0); // everybody's table has it, and it takes nothing
  await clock.advance(4_000);
  expect(owners()["nobody"]).toBeGreaterThan(5);
  await clock.advance(2_500);
  expect(owners()).toEqual({ a: 32 });
  expect(a.owned()).toHaveLength(32);
});

test("CL17 — C14 isolated: takes nothing that others may take, and offers one partition at a time", async () => {
  const { clock, live, isolate, events, join, owners } = region();
  const a = join("a");
  const b = join("b");
  join("c");
  await clock.advance(40_000);
  const shareOfA = a.owned().length;
  isolate("a", "c");
  live.delete("b");
  b.stop(); // its leases run out; nobody with NATS is there to take them
  events.length = 0;
  await clock.advance(14_000);
  expect(owners()["b"]).toBeUndefined();
  expect(owners()["nobody"]).toBeGreaterThan(5);
  expect(a.owned()).toHaveLength(shareOfA);
  expect(events.filter((event) => event.startsWith("a"))).toEqual(["a gives 1", "a +1"]);
  await clock.advance(5_000); // 10 s until the leases run out, free for 8 s, a look: nobody else is there
  expect(owners()["nobody"]).toBeUndefined();
});

test("CL17 — C14 isolated while others have NATS: it offers one partition, and then gives all", async () => {
  const { clock, live, isolated, isolate, events, handoversMs, join, owners } = region();
  const a = join("a");
  join("b");
  await clock.advance(20_000);
  const shareOfA = a.owned().length;
  expect(shareOfA).toBeGreaterThan(8);
  events.length = handoversMs.length = 0;
  isolate("a");
  await clock.advance(6_000);
  expect(owners()).toEqual({ b: 32 });
  expect(events[0]).toBe("a gives 1");
  expect(events.filter((event) => event.startsWith("a gives 8")).length).toBeGreaterThan(0);
  expect(Math.max(...handoversMs)).toBeLessThanOrEqual(1_000); // b looks again within a second
  await clock.advance(60_000);
  expect(a.owned()).toEqual([]);
  isolated.delete("a");
  live.set("a", clock.monotonicMs());
  await clock.advance(15_000);
  expect(a.owned()).toHaveLength(shareOfA); // as before: the same table
});

test("CL14, CL17 — C21 a link that comes back and breaks again: what was taken is kept for 10 s, then given", async () => {
  const { clock, live, isolated, isolate, moves, join, owners } = region();
  const a = join("a");
  join("b");
  await clock.advance(20_000);
  const shareOfA = a.owned().length;
  for (let round = 0; round < 3; round++) {
    isolate("a");
    await clock.advance(20_000);
    expect([owners(), a.isRelieved()]).toEqual([{ b: 32 }, true]);
    isolated.delete("a");
    live.set("a", clock.monotonicMs());
    await firstAtMs(clock, 15_000, () => a.owned().length === shareOfA);
    await clock.advance(8_000); // its link broke with the last group: isolated after 8 s
  }
  expect(movedTwiceWithin(moves, 10_000)).toEqual([]);
});

test("CL17 — C14, D5 all of a region isolated: each serves on what it has; one is offered every 30 s", async () => {
  const { clock, isolate, events, join, owners } = region();
  join("a");
  join("b");
  await clock.advance(20_000);
  const shares = owners();
  isolate("a", "b");
  events.length = 0;
  const unownedSamples: number[] = [];
  for (let second = 0; second < 90; second++) {
    await clock.advance(1_000);
    unownedSamples.push(owners()["nobody"] ?? 0);
  }
  expect(owners()).toEqual(shares);
  expect(Math.max(...unownedSamples)).toBeLessThanOrEqual(2); // one of each, for 3 s of 30
  expect(unownedSamples.filter((count) => count > 0).length).toBeLessThanOrEqual(3 * 4 + 3);
  expect(events.filter((event) => event === "a gives 1")).toHaveLength(3);
});

test("CL17 — C14, D5 relieved: from the first partition that was taken until the link is back, and never by an offer alone", async () => {
  const { clock, isolated, isolate, live, join, owners } = region();
  const a = join("a");
  const b = join("b");
  await clock.advance(20_000);
  isolate("a", "b"); // all of NATS is away
  for (let second = 0; second < 70; second++) {
    await clock.advance(1_000);
    expect([a.isRelieved(), b.isRelieved()]).toEqual([false, false]);
  }
  isolated.delete("b");
  const takenAtMs = await firstAtMs(clock, 40_000, () => a.isRelieved());
  expect(takenAtMs).toBeLessThan(32_000); // with the next offer
  await clock.advance(10_000);
  expect([owners(), a.isRelieved(), b.isRelieved()]).toEqual([{ b: 32 }, true, false]);
  isolated.delete("a");
  live.set("a", clock.monotonicMs());
  expect(a.isRelieved()).toBe(false); // before it looks at anything
  await clock.advance(20_000);
  isolate("a");
  await clock.advance(10_000);
  expect(a.isRelieved()).toBe(true);
  a.stop();
  expect(a.isRelieved()).toBe(false);
});

/** After how long it is true for the first time, in steps of the shortest look. */
async function firstAtMs(clock: FakeClock, maxMs: number, isTrue: () => boolean): Promise<number> {
  const startedAtMs = clock.monotonicMs();
  while (!isTrue()) {
    expect(clock.monotonicMs() - startedAtMs).toBeLessThan(maxMs);
    await clock.advance(250);
  }
  return clock.monotonicMs() - startedAtMs;
}

test("CL17 — C14 relieved, and who took its partitions dies: it serves all again, also what it gave and nobody took", async () => {
  const { clock, live, isolate, join, owners } = region();
  const a = join("a");
  const b = join("b");
  await clock.advance(20_000);
  isolate("a");
  await firstAtMs(clock, 6_000, () => a.isRelieved());
  b.stop(); // killed; the first group is on its way to nobody
  live.delete("b");
  await clock.advance(19_000); // its leases end after 10 s, are free for 8 s, and a look
  expect([owners(), a.isRelieved()]).toEqual([{ a: 32 }, false]);
});

test("CL17 — D5 the only worker of a region without NATS never offers, and starts without it", async () => {
  const { clock, live, isolate, events, join, owners } = region();
  const a = join("a");
  isolate("a");
  await clock.advance(60_000);
  expect(events).toEqual(["a +32 first"]);
  a.stop(); // killed; its successor starts without NATS, too
  live.clear();
  join("a-2");
  isolate("a-2");
  await clock.advance(11_500);
  expect(owners()).toEqual({ "a-2": 32 });
});

test("C15 — wall clocks that jump move no lease and no partition", async () => {
  const { clock, moves, events, join, owners } = region();
  join("a");
  join("b");
  await clock.advance(30_000);
  const before = owners();
  moves.length = events.length = 0;
  for (const jumpMs of [3_600_000, -7_200_000]) {
    clock.jumpWallClock(jumpMs);
    await clock.advance(30_000);
  }
  expect([owners(), moves, events]).toEqual([before, [], []]);
});
