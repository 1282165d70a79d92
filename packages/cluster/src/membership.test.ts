// Goal: CL4–CL6, CL12, CL13, C12–C15. Method: members on a network in memory and one fake clock; a
// cut member neither hears nor is heard, a muted one is not heard by others.
import { type Bus, createMemoryNetwork } from "@carillon/bus";
import { type Beat, encodeMessage, subjects } from "@carillon/contracts";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { createMembership, type Membership } from "./membership.ts";
import { TABLE_VERSIONS } from "./rendezvous.ts";

function network() {
  const clock = new FakeClock();
  const nats = createMemoryNetwork({ clock, scheduler: clock });
  const muted = new Set<string>();
  const join = (memberId: string, region = "fra", weight?: number) => {
    const wire = nats.connect(memberId);
    const bus: Bus = Object.create(wire, {
      isConnected: { get: () => wire.isConnected },
      publish: {
        value: (subject: string, data: Uint8Array) =>
          muted.has(memberId) ? { kind: "sent" } : wire.publish(subject, data),
      },
      subscribe: { value: wire.subscribe.bind(wire) },
      onConnection: { value: wire.onConnection.bind(wire) },
    });
    const lost: string[] = [];
    const changes: string[] = [];
    const membership = createMembership(
      {
        self: { memberId, region, roles: ["worker"], build: "test", ...(weight && { weight }) },
      },
      {
        bus,
        clock,
        scheduler: clock,
        onMalformed: () => lost.push("malformed"),
        onChange: (change, { memberId: who }) => changes.push(`${who} ${change}`),
        onOverslept: () => changes.push("overslept"),
        load: () => 0.25,
      },
    );
    membership.onMemberLost((memberLost) => lost.push(memberLost));
    membership.start();
    return { membership, wire, lost, changes };
  };
  return { clock, nats, muted, join };
}

const stateOf = (membership: Membership, id: string): string | undefined =>
  membership.members().find(({ memberId }) => memberId === id)?.state;

const HOUR_MS = 3_600_000;

test("CL5, C12 — silent for 5 s in the region, 14 s across: suspect, told once; it may come back", async () => {
  const { clock, muted, join } = network();
  const a = join("a");
  join("b");
  join("c", "lon");
  await clock.advance(60_000);
  expect(a.membership.workers()).toEqual(["a", "b"]);
  muted.add("b");
  muted.add("c");
  await clock.advance(4_000);
  expect(a.lost).toEqual([]);
  await clock.advance(2_000);
  expect(a.lost).toEqual(["b"]);
  expect([stateOf(a.membership, "b"), stateOf(a.membership, "c")]).toEqual(["suspect", "alive"]);
  expect([a.membership.isAlive("b"), a.membership.isAlive("c")]).toEqual([false, true]);
  await clock.advance(12_000);
  expect(a.lost).toEqual(["b", "c"]);
  expect(a.membership.workers()).toEqual(["a"]);
  muted.clear();
  await clock.advance(1_500);
  expect(a.membership.workers()).toEqual(["a", "b"]);
  expect(a.changes).toEqual(["b joined", "c joined", "b suspect", "c suspect", "b returned"]);
});

test("C12 — beats: every second in the region, every third across, a change at once to all", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  const heard = { near: 0, far: 0 };
  const spy = nats.connect("spy");
  spy.subscribe(subjects.beats, () => void heard.far++);
  spy.subscribe(subjects.nearBeats("fra"), () => void heard.near++);
  spy.subscribe(subjects.nearBeats("lon"), () => void (heard.near += 1_000));
  await clock.advance(30_000);
  expect(heard).toEqual({ near: 20, far: 10 });
  a.membership.beatNow();
  await clock.settle();
  expect(heard).toEqual({ near: 20, far: 11 });
  const [self] = a.membership.members();
  expect(self).toMatchObject({ memberId: "a", region: "fra", load: 0.25, isDraining: false });
});

test("C12, ADR 0006 — another region hears what a beat tells within 3 s", async () => {
  const { clock, join } = network();
  const a = join("a");
  const c = join("c", "lon");
  await clock.advance(10_000);
  const heardAtMs: number[] = [];
  let seq = 1;
  a.membership.describe({ owned: () => ({}), links: () => ({ gw: seq }) });
  c.membership.onBeat(({ memberId, links }) => {
    if (memberId === "a" && links["gw"] === 2) heardAtMs.push(clock.monotonicMs());
  });
  seq = 2;
  const changedAtMs = clock.monotonicMs();
  await clock.advance(3_000);
  expect(heardAtMs[0]! - changedAtMs).toBeLessThanOrEqual(3_000);
});

test("CL4 — a member without NATS knows itself and what it owns", async () => {
  const { clock, nats, join } = network();
  nats.cut("a");
  const { membership } = join("a");
  membership.describe({ owned: () => ({ fra: [[7, 1]] }), links: () => ({}) });
  await clock.advance(1_000);
  expect(membership.workers()).toEqual(["a"]);
  expect(membership.ownerOf("fra", 7)).toBe("a");
  expect(membership.ownerOf("fra", 8)).toBeUndefined();
});

test("CL4 — its own beat is told after what was sent inside the node before it", async () => {
  const { clock, join } = network();
  const { membership, wire } = join("a");
  await clock.advance(10);
  const seen: string[] = [];
  wire.subscribe("before", () => void seen.push("message"));
  membership.onBeat(() => seen.push("beat"));
  wire.publish("before", new Uint8Array());
  membership.beatNow();
  await clock.settle();
  expect(seen).toEqual(["message", "beat"]);
});

test("CL4 — the higher epoch owns; an owner that is suspect, or says so, owns nothing", async () => {
  const { clock, muted, join } = network();
  const a = join("a");
  const b = join("b");
  let ownedByA: [number, number][] = [[7, 1]];
  a.membership.describe({ owned: () => ({ fra: ownedByA }), links: () => ({}) });
  await clock.advance(1_000);
  b.membership.describe({ owned: () => ({ fra: [[7, 2]] }), links: () => ({}) });
  await clock.advance(1_000);
  expect(a.membership.ownerOf("fra", 7)).toBe("b");
  a.membership.beatNow(); // it has not noticed yet
  expect(a.membership.ownerOf("fra", 7)).toBe("b");
  ownedByA = [];
  a.membership.beatNow();
  expect(a.membership.ownerOf("fra", 7)).toBe("b"); // what it gives up is not its own any more
  muted.add("b");
  await clock.advance(7_000);
  expect(a.membership.ownerOf("fra", 7)).toBeUndefined();
});

test("CL6 — a draining member is no worker for anybody, at once", async () => {
  const { clock, join } = network();
  const a = join("a");
  const b = join("b", "fra", 4);
  await clock.advance(1_000);
  expect(a.membership.placeable()).toEqual([
    { memberId: "a", weight: 1, tables: 1, aliveForMs: 1_000, isSuspect: false },
    { memberId: "b", weight: 4, tables: 1, aliveForMs: 1_000, isSuspect: false },
  ]);
  b.membership.drain();
  await clock.advance(10);
  expect(a.membership.workers()).toEqual(["a"]);
  expect(stateOf(a.membership, "b")).toBe("draining");
});

test("CL21 — which tables a member can compute is told by its beats; where they are silent it is the first", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  const others = nats.connect("others");
  for (const [memberId, tables] of [
    ["older", {}],
    ["newer", { tables: 7 }],
  ] as const) {
    const beat = { memberId, region: "fra", roles: ["worker"], isDraining: false, build: "other" };
    const data = encodeMessage({ ...beat, owned: {}, links: {}, ...tables });
    others.publish(subjects.nearBeat("fra", memberId), data);
  }
  await clock.advance(10);
  const told = a.membership.placeable().map(({ memberId, tables }) => [memberId, tables]);
  expect(told).toEqual([
    ["a", TABLE_VERSIONS.length],
    ["newer", 7],
    ["older", 1],
  ]);
});

test("CL12, C13 — who has left is gone at once, and a late beat of it is ignored", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  const b = join("b");
  b.membership.describe({ owned: () => ({ fra: [[7, 1]] }), links: () => ({}) });
  await clock.advance(2_000);
  expect(a.membership.ownerOf("fra", 7)).toBe("b");
  const last = a.membership.members().find(({ memberId }) => memberId === "b")!;
  const told: string[] = [];
  a.membership.onBeat(({ memberId }) => told.push(memberId));
  b.membership.stop();
  b.membership.stop();
  await clock.advance(10);
  expect(told).toEqual([]); // its last word says nothing of what it has
  expect([a.lost, a.membership.members().length]).toEqual([["b"], 1]);
  expect(a.membership.ownerOf("fra", 7)).toBeUndefined();
  const late: Beat = { ...last, owned: { fra: [[7, 9]] } };
  nats.connect("late").publish(subjects.beat("fra", "b"), encodeMessage(late));
  await clock.advance(1_000);
  expect([a.membership.workers(), a.membership.ownerOf("fra", 7)]).toEqual([["a"], undefined]);
  expect(a.changes).toEqual(["b joined", "b left"]);
  expect(a.membership.departedCount).toBe(1);
});

test("CL12 — a silent member is forgotten after 15 minutes, and welcome when it speaks", async () => {
  const { clock, muted, join } = network();
  const a = join("a");
  const b = join("b");
  const c = join("c", "lon");
  await clock.advance(5_000);
  muted.add("b");
  muted.add("c");
  await clock.advance(890_000);
  expect(a.changes.slice(2)).toEqual(["b suspect", "c suspect"]);
  await clock.advance(110_000);
  expect(a.changes.slice(2)).toEqual(["b suspect", "c suspect", "c forgotten", "b forgotten"]);
  expect(a.lost).toEqual(["b", "c"]); // told once
  expect(a.membership.members().map(({ memberId }) => memberId)).toEqual(["a"]);
  muted.clear();
  await clock.advance(10_000);
  expect(a.membership.workers()).toEqual(["a", "b"]);
  expect(stateOf(a.membership, "c")).toBe("alive");
  expect([b.changes, c.changes].flat()).not.toContain("overslept"); // they were there all the time
});

test("CL12, C13 — who slept for 15 minutes is dead: it says no word more, but that it has left", async () => {
  const { clock, nats, join } = network();
  const sleeper = join("sleeper");
  await clock.advance(5_000);
  const said: boolean[] = [];
  nats.connect("spy").subscribe(subjects.beats, ({ data }) => {
    said.push((JSON.parse(new TextDecoder().decode(data)) as Beat).hasLeft === true);
  });
  clock.block(899_000); // SIGSTOP
  await clock.advance(10);
  expect([said.length, sleeper.changes]).toEqual([1, []]); // soon enough: it goes on
  said.length = 0;
  clock.block(901_000);
  await clock.advance(10_000);
  expect([said, sleeper.changes]).toEqual([[], ["overslept"]]);
  sleeper.membership.stop(); // as the node does, and then begins anew
  await clock.settle();
  expect(said).toEqual([true]);
});

test("CL12 — memory of the departed is bounded", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  const bus = nats.connect("many");
  const beat: Omit<Beat, "memberId"> = {
    region: "fra",
    roles: [],
    isDraining: true,
    hasLeft: true,
    build: "test",
    owned: {},
    links: {},
  };
  for (let n = 0; n < 1_500; n++)
    bus.publish(subjects.beat("fra", `m-${n}`), encodeMessage({ ...beat, memberId: `m-${n}` }));
  await clock.advance(10);
  expect(a.membership.departedCount).toBe(1_024);
});

test("CL13, C14 — without its own link a member suspects nobody; after 8 s it is isolated", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  const b = join("b");
  await clock.advance(10_000);
  nats.cut("a");
  await clock.advance(7_900);
  expect([a.membership.isIsolated(), a.lost]).toEqual([false, []]);
  await clock.advance(200);
  expect([a.membership.isIsolated(), a.lost]).toEqual([true, []]);
  expect(b.lost).toEqual(["a"]);
  await clock.advance(60_000);
  expect(a.membership.workers()).toEqual(["a", "b"]);
  nats.heal("a");
  await clock.advance(3_000);
  expect([a.membership.isIsolated(), a.lost]).toEqual([false, []]);
  expect(b.membership.workers()).toEqual(["a", "b"]);
  expect(b.membership.placeable()[0]!.aliveForMs).toBeLessThan(3_100); // it counts anew (CL14)
});

test("CL13 — a member that slept for 20 s suspects nobody for it", async () => {
  const { clock, join } = network();
  const a = join("a");
  join("b");
  await clock.advance(10_000);
  clock.block(20_000);
  await clock.advance(1_000);
  expect(a.lost).toEqual([]);
});

test("CL13, C14 — a link that flaps, 7.5 s down and 0.2 s up, is no link: isolated until it stays", async () => {
  const { clock, nats, join } = network();
  const { membership } = join("a");
  await clock.advance(10_000);
  const isolatedSeen: boolean[] = [];
  for (let n = 0; n < 4; n++) {
    nats.cut("a");
    await clock.advance(7_500);
    isolatedSeen.push(membership.isIsolated());
    nats.heal("a");
    await clock.advance(200);
    isolatedSeen.push(membership.isIsolated());
  }
  expect(isolatedSeen).toEqual([false, false, true, true, true, true, true, true]);
  await clock.advance(2_700);
  expect(membership.isIsolated()).toBe(true);
  await clock.advance(200); // up for 3 s
  expect(membership.isIsolated()).toBe(false);
  nats.cut("a");
  await clock.advance(7_900); // counted anew
  expect(membership.isIsolated()).toBe(false);
  await clock.advance(200);
  expect(membership.isIsolated()).toBe(true);
});

test("C15 — the wall clock jumps by an hour, both ways: nothing changes", async () => {
  const { clock, join } = network();
  const a = join("a");
  const b = join("b");
  await clock.advance(10_000);
  for (const jumpMs of [HOUR_MS, -2 * HOUR_MS, HOUR_MS]) {
    clock.jumpWallClock(jumpMs);
    await clock.advance(20_000);
  }
  expect([a.lost, b.lost]).toEqual([[], []]);
  expect(a.changes).toEqual(["b joined"]);
  expect(a.membership.isIsolated()).toBe(false);
});

test("CL5 — a listener that was removed hears no more, and the others do", async () => {
  const { clock, join } = network();
  const { membership } = join("a");
  const heard: string[] = [];
  const remove = membership.onBeat(() => heard.push("first"));
  membership.onBeat(() => heard.push("second"));
  await clock.advance(1_000);
  expect(new Set(heard.splice(0))).toEqual(new Set(["first", "second"]));
  remove();
  remove();
  await clock.advance(1_000);
  expect(new Set(heard)).toEqual(new Set(["second"]));
});

test("HS3 — workers are those of one home at one place, while they say that they serve it", async () => {
  const clock = new FakeClock();
  const nats = createMemoryNetwork({ clock, scheduler: clock });
  const join = (memberId: string, region: string, home?: string) => {
    let standing: "serving" | "standby" = "standby";
    const membership = createMembership(
      {
        self: { memberId, region, roles: ["worker"], build: "test", ...(home && { home }) },
      },
      {
        bus: nats.connect(memberId),
        clock,
        scheduler: clock,
        onMalformed: () => undefined,
        ...(home && { homes: () => ({ standing, homes: { fra: { epoch: 2, host: "par" } } }) }),
      },
    );
    membership.start();
    return { membership, serve: () => void (standing = "serving") };
  };
  const own = join("par-own", "par");
  const hosting = join("par-for-fra", "par", "fra");
  const old = join("fra-old", "fra");
  await clock.advance(1_000);
  const workers = () => [own, hosting, old].map(({ membership }) => membership.workers());
  expect(workers()).toEqual([["par-own"], [], ["fra-old"]]);
  hosting.serve();
  await clock.advance(1_000);
  expect(workers()).toEqual([["par-own"], ["par-for-fra"], ["fra-old"]]);
  const told = own.membership.members().find(({ memberId }) => memberId === "par-for-fra");
  expect(told).toMatchObject({ home: "fra", standing: "serving", homes: { fra: { epoch: 2 } } });
});

test("CL18 — a beat speaks for the region and member of its subject only; only workers own", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  join("b").membership.describe({ owned: () => ({ fra: [[7, 5]] }), links: () => ({}) });
  await clock.advance(2_000);
  const last = a.membership.members().find(({ memberId }) => memberId === "b")!;
  const thief = nats.connect("thief");
  const forged: [subject: string, beat: object][] = [
    [subjects.beat("lon", "b"), { ...last, hasLeft: true, owned: {} }],
    [subjects.beat("fra", "thief"), { ...last, hasLeft: true, owned: {} }],
    [subjects.nearBeat("fra", "thief"), last],
    [subjects.beat("fra", "thief"), { ...last, memberId: "thief\r\nPUB" }],
    [subjects.beat("fra", "x".repeat(65)), { ...last, memberId: "x".repeat(65) }],
    [subjects.beat("fra", "thief"), { ...last, memberId: "thief", weight: 1e308 }],
    [subjects.beat("fra", "thief"), { ...last, memberId: "thief", weight: 0.5 }],
    [subjects.beat("fra", "thief"), { ...last, memberId: "thief", owned: { fra: [[256, 9]] } }],
  ];
  for (const [subject, beat] of forged) thief.publish(subject, encodeMessage(beat));
  const gateway = { ...last, memberId: "thief", roles: ["gateway"], owned: { fra: [[7, 99]] } };
  thief.publish(subjects.beat("fra", "thief"), encodeMessage(gateway));
  await clock.advance(10);
  expect(a.lost).toEqual(forged.map(() => "malformed"));
  expect(a.membership.ownerOf("fra", 7)).toBe("b");
  expect(a.changes).toEqual(["b joined", "thief joined"]);
  expect(a.membership.workers()).toEqual(["a", "b"]);
});
