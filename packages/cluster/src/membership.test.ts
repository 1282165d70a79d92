// packages/cluster/src/membership.test.ts
// Goal: CL4–CL6. Method: members on a network in memory and one fake clock.
import { createMemoryNetwork } from "@carillon/bus";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { createMembership } from "./membership.ts";

function network() {
  const clock = new FakeClock();
  const nats = createMemoryNetwork({ clock, scheduler: clock });
  const join = (memberId: string, region = "fra") => {
    const bus = nats.connect(memberId);
    const lost: string[] = [];
    const membership = createMembership(
      {
        self: { memberId, region, roles: ["worker"], build: "test" },
        beatEveryMs: 1_000,
        lostAfterMs: 5_000,
        lostAfterRemoteMs: 10_000,
      },
      { bus, clock, scheduler: clock, onMalformed: () => lost.push("malformed") },
    );
    membership.onMemberLost((memberLost) => lost.push(memberLost));
    membership.start();
    return { membership, bus, lost };
  };
  return { clock, nats, join };
}

test("CL5 — silence of 5 s in the region, 10 s across: lost, told once; it may come back", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  join("b");
  join("c", "lon");
  await clock.advance(1_000);
  expect(a.membership.workers()).toEqual(["a", "b"]);
  nats.cut("b");
  nats.cut("c");
  await clock.advance(7_000);
  expect(a.lost).toEqual(["b"]);
  await clock.advance(5_000);
  expect(a.lost).toEqual(["b", "c"]);
  nats.heal("b");
  await clock.advance(1_500);
  expect(a.membership.workers()).toEqual(["a", "b"]);
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

test("CL4 — the higher epoch owns; an owner that is lost, or says so, owns nothing", async () => {
  const { clock, nats, join } = network();
  const a = join("a");
  const b = join("b");
  let ownedByA: [number, number][] = [[7, 1]];
  a.membership.describe({ owned: () => ({ fra: ownedByA }), links: () => ({}) });
  await clock.advance(1_000);
  b.membership.describe({ owned: () => ({ fra: [[7, 2]] }), links: () => ({}) });
  await clock.advance(1_000);
  expect(a.membership.ownerOf("fra", 7)).toBe("b");
  ownedByA = [];
  nats.cut("b");
  await clock.advance(7_000);
  expect(a.membership.ownerOf("fra", 7)).toBeUndefined();
});

test("CL6 — a draining member is no worker for anybody, at once", async () => {
  const { clock, join } = network();
  const a = join("a");
  const b = join("b");
  await clock.advance(1_000);
  b.membership.drain();
  await clock.advance(10);
  expect(a.membership.workers()).toEqual(["a"]);
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
        beatEveryMs: 1_000,
        lostAfterMs: 5_000,
        lostAfterRemoteMs: 10_000,
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
