// Goal: TS1. Method: a clock that each piece moves on, and turns that the test makes.
import { expect, test } from "vitest";
import { ThreadSlices } from "./thread-slices.ts";

function start(sliceMs: number) {
  const time = { nowMs: 100 };
  const deferred: (() => void)[] = [];
  const slices = new ThreadSlices({
    clock: { monotonicMs: () => time.nowMs },
    scheduler: { defer: (run) => void deferred.push(run) },
    sliceMs,
  });
  const done: string[] = [];
  /** One place's pieces, each of which takes `pieceMs`. */
  const work = async (name: string, count: number, pieceMs: number): Promise<void> => {
    for (let n = 0; n < count; n++) {
      const later = slices.next();
      if (later !== undefined) await later;
      time.nowMs += pieceMs;
      done.push(name);
    }
  };
  /** Runs a turn of the loop; how much time pieces took in it. */
  const turn = async (): Promise<number> => {
    const startedAtMs = time.nowMs;
    for (const run of deferred.splice(0)) run();
    await settled();
    return time.nowMs - startedAtMs;
  };
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { deferred, done, settled, time, turn, work };
}

test("TS1 — pieces that fit are done at once, in the same turn", async () => {
  const { deferred, done, turn, work } = start(4);
  void work("a", 3, 1);
  expect(done).toEqual(["a", "a", "a"]);
  await turn();
  expect(deferred).toEqual([]); // nothing waits: no turn is asked for any more
});

test("TS1, D7 — of many that come at once each turn takes a slice and one piece at most, and all are done", async () => {
  const { deferred, done, settled, time, turn, work } = start(4);
  const startedAtMs = time.nowMs;
  const all = Array.from({ length: 40 }, (_, n) => work(String(n), 2, 3));
  await settled();
  const tookMs = [time.nowMs - startedAtMs];
  while (deferred.length > 0) tookMs.push(await turn());
  await Promise.all(all);
  expect(done).toHaveLength(80);
  expect(Math.max(...tookMs)).toBeLessThanOrEqual(4 + 3);
});

test("TS1 — the one who waits longest goes on first", async () => {
  const { deferred, done, settled, turn, work } = start(4);
  for (const name of ["a", "b", "c"]) void work(name, 1, 5);
  await settled();
  while (deferred.length > 0) await turn();
  expect(done).toEqual(["a", "b", "c"]);
});
