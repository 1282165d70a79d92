// packages/process/src/call-slices.test.ts
// Goal: RT4. Method: the real clock and event loop; time limits are generous.
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { expect, test } from "vitest";
import { createRuntime } from "./runtime.ts";

test("RT4, P24 — calls one after another do not wait for I/O, and I/O does not wait for them", async () => {
  const runtime = createRuntime({
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
  });
  const table = runtime.createTable<{ count: number }, { kind: "add" }, number>({
    name: "counters",
    behaviour: {
      init: () => ({ count: 0 }),
      onCall: ({ state }) => (state === undefined ? 0 : ++state.count),
    },
  });
  let turnCount = 0;
  let isOver = false;
  const turn = (): void => {
    turnCount++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const endsAtMs = performance.now() + 300;
  let callCount = 0;
  while (performance.now() < endsAtMs) {
    const outcome = await table.call(callCount % 7, { kind: "add" });
    if (outcome.kind === "reply") callCount++;
  }
  isOver = true;
  expect(callCount).toBeGreaterThan(turnCount * 5); // many calls in one turn of the event loop
  expect(turnCount).toBeGreaterThan(10); // 300 ms are a hundred slices
  expect(runtime.stats()).toMatchObject({ callsCount: 0, waitingCount: 0 });
  runtime.stop();
});
