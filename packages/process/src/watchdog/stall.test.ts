// packages/process/src/watchdog/stall.test.ts
// Goal: WD1, WD3, WD4 of stall.ts and the packing of pulse.ts. Method: looks, one by one.
import { expect, test } from "vitest";
import { OUTSIDE, Pulse, PulseView, slotOfRunning, tableIdOfRunning } from "./pulse.ts";
import { culpritOf, StallMeter, type StallStep } from "./stall.ts";

const limits = { tickMs: 100, warnMs: 1_000, endMs: 5_000 };

function start() {
  const meter = new StallMeter(limits);
  let beatCount = 0;
  let nowMs = 50_000;
  const look = (running: number, isDebuggerOpen = false, tickMs = 100): StallStep =>
    meter.look({ nowMs: (nowMs += tickMs), beatCount, running, isDebuggerOpen });
  const beat = (): StallStep => {
    beatCount++;
    return look(OUTSIDE);
  };
  const lookTimes = (count: number, running: number, isDebuggerOpen = false): StallStep[] =>
    Array.from({ length: count }, () => look(running, isDebuggerOpen));
  beat();
  return { beat, look, lookTimes };
}

const wait = { kind: "wait" };

test("WD1 a stall is told once, when it is over, with the process that ran", () => {
  const { beat, lookTimes } = start();
  expect(lookTimes(12, 5)).toEqual(Array.from({ length: 12 }, () => wait));
  expect(beat()).toEqual({ kind: "over", running: 5, blockedMs: 1_200 });
  expect(beat()).toEqual(wait);
});

test("WD1 a stall below the limit is not told, and two short ones are not one long one", () => {
  const { beat, lookTimes } = start();
  lookTimes(9, 5);
  expect(beat()).toEqual(wait);
  lookTimes(9, 5);
  expect(beat()).toEqual(wait);
});

test("WD1 the culprit ran for more than half of the stall; else there is none", () => {
  const { beat, lookTimes } = start();
  lookTimes(5, 8);
  lookTimes(6, 9);
  expect(beat()).toEqual({ kind: "over", running: 9, blockedMs: 1_100 });
  lookTimes(5, 8);
  lookTimes(5, 9);
  expect(beat()).toEqual({ kind: "over", running: undefined, blockedMs: 1_000 });
});

test("WD1 sixteen messages of one process that each block a while are its stall", () => {
  const { beat, look } = start();
  for (let tick = 0; tick < 20; tick++) look(tick % 4 === 0 ? OUTSIDE : 5);
  expect(beat()).toEqual({ kind: "over", running: 5, blockedMs: 2_000 });
});

test("WD2 at the limit the node is to be ended, not before", () => {
  const { lookTimes } = start();
  const steps = lookTimes(50, 5);
  expect(steps.slice(0, 49)).toEqual(Array.from({ length: 49 }, () => wait));
  expect(steps[49]).toEqual({ kind: "end", running: 5, blockedMs: 5_000 });
});

test("WD3 a suspension does not count; a tick that was late on a loaded machine does", () => {
  const { beat, look } = start();
  for (let count = 0; count < 3; count++) look(5, false, 3_600_000);
  expect(beat()).toEqual(wait); // 3 × 300 ms
  for (let count = 0; count < 6; count++) look(5, false, 180);
  expect(beat()).toEqual({ kind: "over", running: 5, blockedMs: 1_080 });
});

test("WD4 with a debugger open the node is not ended; the stall is told", () => {
  const { beat, lookTimes } = start();
  expect(lookTimes(600, 5, true).every(({ kind }) => kind === "wait")).toBe(true);
  expect(beat()).toEqual({ kind: "over", running: 5, blockedMs: 60_000 });
});

test("WD1 the pulse says which table and slot runs, for the smallest and the largest", () => {
  const pulse = new Pulse();
  const view = new PulseView(pulse.buffer);
  expect(view.running).toBe(OUTSIDE);
  for (const [tableId, slot] of [
    [0, 0],
    [0, 2 ** 24 - 1],
    [1, 0],
    [2 ** 20, 2 ** 24 - 1],
  ] as const) {
    pulse.enter(tableId, slot);
    expect([tableIdOfRunning(view.running), slotOfRunning(view.running)]).toEqual([tableId, slot]);
    pulse.leave();
    expect(view.running).toBe(OUTSIDE);
  }
});

test("WD1 a follower of tables learns what changes", () => {
  const pulse = new Pulse();
  const told: [number, string | undefined][] = [];
  pulse.nameTable(1, "a");
  const unfollow = pulse.followTables((...table) => told.push(table));
  pulse.nameTable(2, "b");
  pulse.forgetTable(1);
  pulse.forgetTable(1);
  unfollow();
  pulse.nameTable(3, "c");
  expect(told).toEqual([
    [2, "b"],
    [1, undefined],
  ]);
  expect([...pulse.tables]).toEqual([
    [2, "b"],
    [3, "c"],
  ]);
});

test("WD1 a culprit is a process, several, or outside of any", () => {
  const describe = () => ({ table: "fra/17", slot: 4 });
  expect(culpritOf(5, describe)).toEqual({ kind: "process", table: "fra/17", slot: 4 });
  expect(culpritOf(OUTSIDE, describe)).toEqual({ kind: "outside" });
  expect(culpritOf(undefined, describe)).toEqual({ kind: "several" });
});
