// Goal: P21's durable half: a timer whose due time is committed fires at least once after a restart,
// and never early. Method: the commits outlive runtimes, which die at any moment on one fake clock.
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { say, type Step } from "./harness.ts";
import { createRuntime } from "./runtime.ts";

const DUE_MS = 1_000;
const COMMIT_MS = 20; // so long after it fired the store knows

function startNodes() {
  const clock = new FakeClock();
  const dueAtMs = new Map<number, number>();
  const firedAtMs: number[] = [];
  /** A node whose processes arm what is committed, as soon as they are rebuilt. */
  const startNode = () => {
    const random = createSeededRandom(1);
    const runtime = createRuntime({ clock, scheduler: clock, random });
    const table = runtime.createTable<{ isDue: boolean }, Step>({
      name: "p7",
      behaviour: {
        init: (slot) => ({ isDue: dueAtMs.has(slot) }),
        onContinue: (context) => {
          const atMs = dueAtMs.get(context.slot);
          if (atMs !== undefined) context.setTimer(Math.max(0, atMs - clock.monotonicMs()));
        },
        onCast: (_context, step) => {
          if (step.crash === true && crashesLeft-- > 0) throw new Error(step.say);
        },
        onTimer: async (context) => {
          firedAtMs.push(clock.monotonicMs());
          await clock.sleep(COMMIT_MS);
          if (context.isCurrent) dueAtMs.delete(context.slot);
        },
      },
    });
    return { runtime, table };
  };
  let crashesLeft = 1;
  return { clock, dueAtMs, firedAtMs, startNode };
}

test("P21 — a durable timer: rearmed after a crash, fires once and not early", async () => {
  const { clock, dueAtMs, firedAtMs, startNode } = startNodes();
  dueAtMs.set(3, DUE_MS);
  const { runtime, table } = startNode();
  table.cast(3, say("crashes", { crash: true }));
  await clock.advance(10 * DUE_MS);
  expect(firedAtMs.length).toBe(1);
  expect(firedAtMs[0]).toBeGreaterThanOrEqual(DUE_MS);
  expect(firedAtMs[0]).toBeLessThanOrEqual(DUE_MS + 20); // a tick of the wheel
  expect([dueAtMs.size, runtime.stats().crashesTotal]).toEqual([0, 1]);
});

test("P21 — a durable timer: fires again when its node died before that was committed, at once when it is overdue", async () => {
  const { clock, dueAtMs, firedAtMs, startNode } = startNodes();
  dueAtMs.set(3, DUE_MS);
  const first = startNode();
  first.table.spawn(3);
  await clock.advance(DUE_MS);
  await clock.advance(COMMIT_MS - 5);
  expect(firedAtMs.length).toBe(1);
  first.runtime.stop(); // it has fired, and nobody knows
  await clock.advance(5_000);
  expect([firedAtMs.length, dueAtMs.size]).toEqual([1, 1]);
  startNode().table.spawn(3);
  await clock.advance(COMMIT_MS + 20);
  expect([firedAtMs.length, dueAtMs.size]).toEqual([2, 0]);
  await clock.advance(10 * DUE_MS);
  expect(firedAtMs.length).toBe(2);
});

test("P21 — a durable timer: for any deaths of nodes, at least once and never early", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 6 }),
      async (livesMs) => {
        const { clock, dueAtMs, firedAtMs, startNode } = startNodes();
        dueAtMs.set(0, DUE_MS);
        for (const liveMs of [...livesMs, 10 * DUE_MS]) {
          const { runtime, table } = startNode();
          table.spawn(0);
          await clock.advance(liveMs);
          runtime.stop();
        }
        expect(firedAtMs.length).toBeGreaterThanOrEqual(1);
        expect(Math.min(...firedAtMs)).toBeGreaterThanOrEqual(DUE_MS);
        expect(dueAtMs.size).toBe(0);
      },
    ),
    { numRuns: 100 },
  );
});
