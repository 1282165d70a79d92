// Goal: BT1–BT4 of batcher.ts. Method: the test ends each batch by hand.
import fc from "fast-check";
import { expect, test } from "vitest";
import { createBatcher, ItemFailure, type BatcherOptions } from "./batcher.ts";
import { SteppedClock } from "./stepped-clock.ts";

const limits = { itemsMax: 3, waitMs: 5, concurrencyMax: 1, queueMax: 5 };
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const all = <One>(answers: readonly One[]): Promise<Awaited<One>[]> =>
  Promise.all(answers.map(async (answer) => answer));

function start(changed: Partial<BatcherOptions<number, string>> = {}) {
  const clock = new SteppedClock();
  const batches: { items: readonly number[]; atMs: number }[] = [];
  const ends: ((answer: "well" | "badly") => void)[] = [];
  const run = (items: readonly number[]): Promise<string[]> => {
    batches.push({ items, atMs: clock.monotonicMs() });
    return new Promise((resolve, reject) =>
      ends.push((answer) =>
        answer === "well" ? resolve(items.map((item) => `r${item}`)) : reject(new Error("down")),
      ),
    );
  };
  return { clock, batches, ends, batcher: createBatcher({ run, ...limits, ...changed }, clock) };
}

test("BT1 — leaves when it is full, or its first item has waited long enough", async () => {
  const { clock, batches, ends, batcher } = start();
  const results = [batcher.add(1)];
  clock.advance(4);
  results.push(batcher.add(2));
  expect(batches).toEqual([]);
  clock.advance(1);
  expect(batches).toEqual([{ items: [1, 2], atMs: 5 }]);
  ends[0]!("well");
  expect(await all(results)).toEqual(["r1", "r2"]);
  for (const item of [3, 4, 5]) results.push(batcher.add(item));
  expect(batches[1]).toEqual({ items: [3, 4, 5], atMs: 5 });
});

test("BT1, BT2 — no more than concurrencyMax at once; what waited leaves when one is done", async () => {
  const { clock, batches, ends, batcher } = start({ concurrencyMax: 2, queueMax: 100 });
  for (let item = 1; item <= 10; item++) void batcher.add(item);
  clock.advance(100);
  expect(batches.map((batch) => batch.items)).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  expect([batcher.runningCount, batcher.waitingCount]).toEqual([2, 4]);
  ends[1]!("well");
  await settle();
  expect(batches[2]?.items).toEqual([7, 8, 9]);
  ends[0]!("well");
  await settle();
  expect(batches[3]).toEqual({ items: [10], atMs: 100 }); // it has waited long enough already
});

test("BT3 — the item beyond the limit is refused and not kept", async () => {
  const { clock, ends, batches, batcher } = start({ itemsMax: 10 });
  const taken = [1, 2, 3, 4, 5].map((item) => batcher.add(item));
  expect(batcher.add(6)).toEqual({ kind: "full" });
  clock.advance(5);
  ends[0]!("well");
  expect(await all(taken)).toEqual(["r1", "r2", "r3", "r4", "r5"]);
  expect(batches.map((batch) => batch.items)).toEqual([[1, 2, 3, 4, 5]]);
});

test("BT4 — one item fails alone; a batch that fails, throws or answers short fails for all", async () => {
  const runs = [
    async () => ["a", new ItemFailure(new Error("only me"))],
    async () => Promise.reject(new Error("down")),
    () => {
      throw new Error("thrown");
    },
    async () => ["one"],
  ];
  let runCount = 0;
  const { batcher } = start({ itemsMax: 2, run: () => runs[runCount++]!() });
  const outcomes: string[][] = [];
  for (let round = 0; round < runs.length; round++) {
    const settled = await Promise.allSettled([batcher.add(1), batcher.add(2)]);
    outcomes.push(
      settled.map((one) => String(one.status === "fulfilled" ? one.value : one.reason)),
    );
  }
  expect(outcomes).toEqual([
    ["a", "Error: only me"],
    ["Error: down", "Error: down"],
    ["Error: thrown", "Error: thrown"],
    ["BugError: BT4 2 items, 1 results", "BugError: BT4 2 items, 1 results"],
  ]);
});

test("drain sends what waits at once and resolves when all is settled", async () => {
  const { clock, batches, ends, batcher } = start();
  await batcher.drain();
  const results = [1, 2, 3, 4].map((item) => batcher.add(item));
  let isDrained = false;
  const drained = batcher.drain().then(() => (isDrained = true));
  ends[0]!("well");
  await settle();
  expect([batches[1], isDrained]).toEqual([{ items: [4], atMs: 0 }, false]);
  ends[1]!("well");
  await drained;
  expect(await all(results)).toEqual(["r1", "r2", "r3", "r4"]);
  expect(clock.timersCount).toBe(0);
});

test("BT1–BT4 — for any load: order kept, limits kept, every item settled once", async () => {
  const step = fc.record({ items: fc.nat(6), afterMs: fc.nat(8), ends: fc.nat(2) });
  const options = fc.record({
    itemsMax: fc.integer({ min: 1, max: 5 }),
    waitMs: fc.nat(10),
    concurrencyMax: fc.integer({ min: 1, max: 3 }),
    queueMax: fc.integer({ min: 1, max: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(options, fc.array(step, { maxLength: 30 }), async (chosen, steps) => {
      const { clock, batches, ends, batcher } = start(chosen);
      const accepted: number[] = [];
      const results: Promise<string>[] = [];
      const waitingAtRefusal: number[] = [];
      let item = 0;
      let endedCount = 0;
      const endOne = (): void => ends[endedCount++]?.("well");
      for (const one of steps) {
        for (let count = 0; count < one.items; count++) {
          const answer = batcher.add(++item);
          if ("kind" in answer) {
            waitingAtRefusal.push(batcher.waitingCount);
            continue;
          }
          accepted.push(item);
          results.push(answer);
        }
        clock.advance(one.afterMs);
        for (let count = 0; count < one.ends && endedCount < ends.length; count++) endOne();
        await settle();
        expect(batcher.runningCount).toBe(batches.length - endedCount);
        expect(batcher.runningCount).toBeLessThanOrEqual(chosen.concurrencyMax);
      }
      void batcher.drain();
      while (endedCount < ends.length) {
        endOne();
        await settle();
      }
      expect(waitingAtRefusal.filter((count) => count !== chosen.queueMax)).toEqual([]);
      expect(batches.flatMap((batch) => batch.items)).toEqual(accepted);
      expect(batches.every((batch) => batch.items.length <= chosen.itemsMax)).toBe(true);
      expect(await all(results)).toEqual(accepted.map((one) => `r${one}`));
    }),
    { numRuns: 50 },
  );
});
