// Goal: FC1, FC2 of fake-clock.ts.
import { expect, test } from "vitest";
import { FakeClock } from "./fake-clock.ts";

test("FC1 — timers fire at their due time, in order; cancelled ones do not", async () => {
  const clock = new FakeClock();
  const fired: string[] = [];
  const note = (name: string) => () => fired.push(`${name}@${clock.monotonicMs()}`);
  clock.setTimer(30, note("c"));
  clock.setTimer(10, note("a"));
  clock.setTimer(10, note("b"));
  const cancelled = clock.setTimer(20, note("never"));
  cancelled.cancel();
  cancelled.cancel();
  await clock.advance(29);
  expect([fired, clock.timersCount, clock.monotonicMs()]).toEqual([["a@10", "b@10"], 1, 29]);
  await clock.advance(1);
  expect(fired).toEqual(["a@10", "b@10", "c@30"]);
});

test("FC2 — promises and deferred work run to rest between two wake-ups", async () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  const sleeper = async (): Promise<void> => {
    for (let round = 1; round <= 3; round++) {
      await clock.sleep(5);
      await Promise.resolve();
      clock.defer(() => clock.defer(() => seen.push(`${round}@${clock.monotonicMs()}`)));
    }
  };
  void sleeper();
  await clock.advance(12);
  expect(seen).toEqual(["1@5", "2@10"]);
  await clock.advance(3);
  expect(seen).toEqual(["1@5", "2@10", "3@15"]);
});

test("the wall clock jumps without moving durations; block moves both and runs nothing", async () => {
  const clock = new FakeClock();
  const startMs = clock.wallClockMs();
  let fired = 0;
  clock.setTimer(10, () => fired++);
  clock.jumpWallClock(-5_000);
  clock.block(50);
  expect([clock.wallClockMs() - startMs, clock.monotonicMs(), fired]).toEqual([-4_950, 50, 0]);
  await clock.advance(0);
  expect([clock.monotonicMs(), fired]).toEqual([50, 1]);
});
