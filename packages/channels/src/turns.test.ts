// packages/channels/src/turns.test.ts
// Goal: TN1–TN3. Method: examples by hand, and a model of random entries and releases.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Lane, type TurnLimits, Turns } from "./turns.ts";

const LIMITS: TurnLimits = {
  runningMax: 3,
  runningPerHostMax: 2,
  runningPerTenantMax: 2,
  waitingMax: 4,
  waitingPerLaneMax: 3,
};
const lane = (tenantId: string, host: string): Lane => ({ tenantId, host });

function world(limits: TurnLimits = LIMITS) {
  const turns = new Turns(limits);
  const log: string[] = [];
  const enter = (name: string, of: Lane) => turns.enter(of, () => log.push(name));
  return { turns, log, enter };
}

test("TN1, TN3 — so many run, so many wait, the rest is refused at once", () => {
  const { turns, enter } = world();
  const [a, b] = [lane("a", "h"), lane("b", "h")];
  const kinds = [a, a, a, a, a, a, b, b].map((of) => enter("x", of).kind);
  expect(kinds).toEqual([
    "running",
    "running",
    "waiting",
    "waiting",
    "waiting",
    "full", // of the lane
    "waiting", // another tenant's, of the same host
    "full", // of all
  ]);
  expect([turns.runningCount, turns.waitingCount]).toEqual([2, 4]);
});

test("TN2 — a host that is full holds up no other; lanes take turns, each in order", () => {
  const { turns, log, enter } = world();
  const [slow, other, third] = [lane("a", "slow"), lane("b", "fast"), lane("c", "third")];
  enter("", slow);
  enter("", slow);
  for (const name of ["s1", "s2"]) expect(enter(name, slow).kind).toBe("waiting");
  expect(enter("", other).kind).toBe("running"); // not behind the slow ones
  for (const [name, of] of [
    ["o1", other],
    ["t1", third],
  ] as const)
    expect(enter(name, of).kind).toBe("waiting");
  turns.release(other);
  expect(log).toEqual(["o1"]); // the slow one's turn, and its host is full
  turns.release(slow);
  turns.release(slow);
  expect(log).toEqual(["o1", "s1", "t1"]);
  turns.release(third);
  expect(log).toEqual(["o1", "s1", "t1", "s2"]);
});

test("TN1 — a tenant of many hosts does not take every place", () => {
  const { enter } = world();
  expect(["1", "2", "3"].map((host) => enter("x", lane("a", host)).kind)).toEqual([
    "running",
    "running",
    "waiting",
  ]);
  expect(enter("x", lane("b", "4")).kind).toBe("running");
});

test("TN2 — who left gets no turn, and leaves no lane behind", () => {
  const { turns, log, enter } = world();
  const a = lane("a", "h");
  enter("", a);
  enter("", a);
  const first = enter("first", a);
  enter("second", a);
  if (first.kind !== "waiting") throw new Error(first.kind);
  first.leave();
  first.leave();
  expect(turns.waitingCount).toBe(1);
  turns.release(a);
  expect(log).toEqual(["second"]);
  first.leave();
  expect([turns.runningCount, turns.waitingCount]).toEqual([2, 0]);
});

test("TN1, TN2, TN3 — for all orders of entries, leaves and releases", () => {
  const step = fc.record({
    kind: fc.constantFrom("enter", "enter", "release", "leave"),
    tenantId: fc.constantFrom("a", "b", "c"),
    host: fc.constantFrom("x", "y", "z"),
    which: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const turns = new Turns(LIMITS);
      const running: Lane[] = [];
      const waiting: { of: Lane; leave: () => void }[] = [];
      const countOf = (all: readonly Lane[], key: keyof Lane, value: string): number =>
        all.filter((one) => one[key] === value).length;
      for (const { kind, which, ...of } of steps) {
        if (kind === "enter") {
          const own = { of, leave: (): void => undefined };
          const entry = turns.enter(of, () => {
            waiting.splice(waiting.indexOf(own), 1);
            running.push(of);
          });
          if (entry.kind === "running") running.push(of);
          if (entry.kind === "waiting") waiting.push(Object.assign(own, { leave: entry.leave }));
        } else if (kind === "release" && running.length > 0) {
          const [gone] = running.splice(which % running.length, 1);
          turns.release(gone!);
        } else if (kind === "leave" && waiting.length > 0) {
          const [gone] = waiting.splice(which % waiting.length, 1);
          gone!.leave();
        }
        expect([turns.runningCount, turns.waitingCount]).toEqual([running.length, waiting.length]);
        expect(running.length).toBeLessThanOrEqual(LIMITS.runningMax);
        expect(waiting.length).toBeLessThanOrEqual(LIMITS.waitingMax);
        const hasPlace = (one: Lane): boolean =>
          running.length < LIMITS.runningMax &&
          countOf(running, "host", one.host) < LIMITS.runningPerHostMax &&
          countOf(running, "tenantId", one.tenantId) < LIMITS.runningPerTenantMax;
        for (const one of running) {
          expect(countOf(running, "host", one.host)).toBeLessThanOrEqual(2);
          expect(countOf(running, "tenantId", one.tenantId)).toBeLessThanOrEqual(2);
        }
        expect(waiting.filter((one) => hasPlace(one.of))).toEqual([]); // nobody waits in vain
      }
    }),
  );
});
