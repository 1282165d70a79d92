// Goal: CN1 and the sharing of createSharedTimers. Method: a FakeClock for the platform.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { createSharedTimers } from "./timers.ts";

function start(tickMs: number) {
  const clock = new FakeClock();
  const timers = createSharedTimers(tickMs, {
    nowMs: clock.monotonicMs,
    after: (delayMs, callback) => clock.setTimer(delayMs, callback).cancel,
  });
  return { clock, timers };
}

test("CN1 — never early, late by less than a tick, one timer a tick, cancelled ones never", async () => {
  const { clock, timers } = start(25);
  const fired: [string, number][] = [];
  const arm = (name: string, delayMs: number): (() => void) =>
    timers.after(delayMs, () => fired.push([name, clock.monotonicMs()]));
  arm("a", 30);
  arm("b", 50);
  const cancel = arm("c", 40);
  arm("d", 51);
  cancel();
  expect(clock.timersCount).toBe(2);
  await clock.advance(200);
  expect(fired).toEqual([
    ["a", 50],
    ["b", 50],
    ["d", 75],
  ]);
});

test("CN1 — a timer cancelled by another of its tick does not fire", async () => {
  const { clock, timers } = start(25);
  const fired: string[] = [];
  const cancels: (() => void)[] = [];
  timers.after(10, () => {
    fired.push("a");
    for (const cancel of cancels) cancel();
  });
  cancels.push(timers.after(10, () => fired.push("b")));
  await clock.advance(100);
  expect(fired).toEqual(["a"]);
});
