// Goal: TW1–TW4 of timer-wheel.ts, example by example and against a model.
import fc from "fast-check";
import { expect, test } from "vitest";
import { SteppedClock } from "./stepped-clock.ts";
import { TimerWheel } from "./timer-wheel.ts";

function start() {
  const clock = new SteppedClock();
  const fired: string[] = [];
  const wheel = new TimerWheel({
    clock,
    onFire: (key) => fired.push(`${key}@${clock.monotonicMs()}`),
  });
  return { clock, fired, wheel };
}

test("TW1, TW2 — at the first tick that is not early, in order of arming within a tick", () => {
  const { clock, fired, wheel } = start();
  wheel.arm(41, 1);
  wheel.arm(0, 2);
  wheel.arm(60, 3);
  wheel.arm(20, 4);
  clock.advance(1_000);
  expect(fired).toEqual(["2@20", "4@20", "1@60", "3@60"]);
});

test("TW1 — later than one round of the wheel is not taken for now", () => {
  const { clock, fired, wheel } = start();
  wheel.arm(4_096 * 20 + 100, 1); // same bucket as the next one, one round later
  wheel.arm(100, 2);
  wheel.arm(3_600_000, 3);
  clock.advance(4_000_000);
  expect(fired).toEqual(["2@100", "1@82020", "3@3600000"]);
});

test("TW3 — cancelled never fires; old handles do nothing to their successors", () => {
  const { clock, fired, wheel } = start();
  const first = wheel.arm(20, 1);
  expect([wheel.cancel(first), wheel.cancel(first)]).toEqual([true, false]);
  const second = wheel.arm(20, 2); // takes the place of the first
  expect([wheel.cancel(first), wheel.cancel(0), wheel.cancel(-1)]).toEqual([false, false, false]);
  clock.advance(20);
  expect([fired, wheel.cancel(second)]).toEqual([["2@20"], false]);
});

test("TW4 — a wake at a time that is no whole number finds its tick, and does not wake again for nothing", () => {
  for (let n = 1; n <= 20_000; n++) {
    let nowMs = n * Math.PI * 100;
    let wake: { delayMs: number; callback: () => void } | undefined;
    let wakesCount = 0;
    const fired: number[] = [];
    const setTimer = (delayMs: number, callback: () => void) => {
      wake = { delayMs, callback };
      return { cancel: () => void (wake = undefined) };
    };
    const clock = { monotonicMs: () => nowMs, setTimer };
    const wheel = new TimerWheel({ clock: clock as never, onFire: (key) => fired.push(key) });
    wheel.arm(20 * (n % 50), 1);
    while (wake !== undefined && wakesCount < 5) {
      const { delayMs, callback } = wake;
      wake = undefined;
      nowMs += delayMs; // a simulated clock is never late, and adds as floating-point numbers do
      wakesCount++;
      callback();
    }
    expect([n, fired, wakesCount <= 2]).toEqual([n, [1], true]); // a second for an ulp
  }
});

test("TW4 — the clock's timer is armed only while something waits, and only for a filled tick", () => {
  const { clock, wheel } = start();
  expect(clock.timersCount).toBe(0);
  const handles = [wheel.arm(10_000, 1), wheel.arm(50, 2), wheel.arm(30, 3)];
  expect([wheel.armedCount, clock.timersCount]).toEqual([3, 1]);
  for (const handle of handles) wheel.cancel(handle);
  expect([wheel.armedCount, clock.timersCount]).toEqual([0, 0]);
  wheel.arm(40, 4);
  clock.advance(40);
  expect([wheel.armedCount, clock.timersCount]).toEqual([0, 0]);
  wheel.arm(40, 5);
  wheel.stop();
  expect([wheel.armedCount, clock.timersCount]).toEqual([0, 0]);
});

test("TW1, TW3 — onFire may arm and cancel, the last timer's re-arming included", () => {
  const clock = new SteppedClock();
  const fired: string[] = [];
  let victim = 0;
  const wheel = new TimerWheel({
    clock,
    onFire: (key) => {
      fired.push(`${key}@${clock.monotonicMs()}`);
      if (key === 1) wheel.cancel(victim);
      if (key < 5) wheel.arm(15, key + 4);
    },
  });
  clock.advance(5);
  wheel.arm(20, 1);
  victim = wheel.arm(20, 2);
  clock.advance(1_000);
  expect(fired).toEqual(["1@25", "5@45"]);
});

test("TW1 — a stalled thread fires everything that is overdue, once, in order", () => {
  let nowMs = 0;
  let wake = (): void => undefined;
  const fired: number[] = [];
  const clock = {
    wallClockMs: () => nowMs,
    monotonicMs: () => nowMs,
    setTimer: (_delayMs: number, callback: () => void) => {
      wake = callback;
      return { cancel: () => undefined };
    },
    sleep: () => Promise.resolve(),
  };
  const wheel = new TimerWheel({ clock, onFire: (key) => fired.push(key) });
  for (let key = 1; key <= 5; key++) wheel.arm(key * 60_000, key);
  nowMs = 240_000;
  wake();
  expect([fired, wheel.armedCount]).toEqual([[1, 2, 3, 4], 1]);
});

test("TW1–TW4 — for any arming and cancelling: once, not early, at most one tick late", () => {
  const step = fc.record({
    afterMs: fc.nat(3_000),
    delayMs: fc.nat(200_000),
    cancels: fc.option(fc.nat(50), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = new SteppedClock();
      const firedAtMs = new Map<number, number>();
      const wheel = new TimerWheel({
        clock,
        onFire: (key) => {
          expect(firedAtMs.has(key)).toBe(false);
          firedAtMs.set(key, clock.monotonicMs());
        },
      });
      const armed: { dueMs: number; handle: number; isCancelled: boolean }[] = [];
      for (const { afterMs, delayMs, cancels } of steps) {
        clock.advance(afterMs);
        const dueMs = clock.monotonicMs() + delayMs;
        armed.push({ dueMs, handle: wheel.arm(delayMs, armed.length), isCancelled: false });
        const victim = cancels === undefined ? undefined : armed[cancels];
        if (victim !== undefined && wheel.cancel(victim.handle)) victim.isCancelled = true;
      }
      clock.advance(300_000);
      for (const [key, { dueMs, isCancelled }] of armed.entries()) {
        const atMs = firedAtMs.get(key);
        expect(atMs === undefined).toBe(isCancelled);
        if (atMs === undefined) continue;
        expect(atMs).toBeGreaterThanOrEqual(dueMs);
        expect(atMs).toBeLessThanOrEqual(dueMs + 20);
      }
      expect([wheel.armedCount, clock.timersCount]).toEqual([0, 0]);
    }),
  );
});
