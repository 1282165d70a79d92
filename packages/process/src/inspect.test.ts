// Goal: what a person, and a watchdog, may know of a process (inspection, P16's pulse), and P24.
import { expect, test } from "vitest";
import { say, start, type Step } from "./harness.ts";

test("inspection — phase, waiting, timer, age, what it does, and how a person calls it", async () => {
  const { clock, table } = start({
    activation: "spawned",
    keyOf: (slot) => (slot === 1 ? "ann" : undefined),
    slotOf: (key) => (key === "ann" ? 1 : undefined),
    behaviour: {
      messageBytes: (message) => message.say.length,
      onCast: (context, step) => {
        context.setTimer(60_000);
        return clock.sleep(step.asyncMs ?? 0);
      },
    },
  });
  expect(table.inspect(1)).toEqual({
    slot: 1,
    key: "ann",
    phase: "absent",
    generation: 0,
    state: undefined,
    waitingCount: 0,
    waitingBytes: 0,
    isTimerArmed: false,
    restartCount: 0,
    recentCrashCount: 0,
    lastError: undefined,
    current: undefined,
    ageMs: undefined,
    retryInMs: undefined,
  });
  await clock.advance(90_000); // the runtime sleeps: its notion of now is old
  table.spawn(1);
  expect(table.inspect(1)).toMatchObject({ phase: "idle", state: { count: 0 }, ageMs: 0 });
  table.cast(1, say("12345", { asyncMs: 2_000 }));
  table.cast(1, say("678"));
  expect(table.inspect(1)).toMatchObject({ phase: "queued", waitingCount: 2, waitingBytes: 8 });
  await clock.advance(1_000);
  expect(table.inspect(1)).toMatchObject({
    phase: "running",
    current: "cast step",
    waitingCount: 1,
    waitingBytes: 3,
    isTimerArmed: true,
    ageMs: 1_000,
  });
  expect(table.active(10).map((one) => one.key)).toEqual(["ann"]);
  await clock.advance(2_000);
  expect([table.active(10), table.find("ann"), table.find("#1"), table.find("#7")]).toEqual([
    [],
    1,
    1,
    7,
  ]);
  for (const key of ["", "1", "#", "#x", " 1", "1.5", "-1", "1e1", "0x1", "99999999"])
    expect(table.find(key)).toBeUndefined();
  table.stop();
  expect(table.inspect(1)).toMatchObject({ phase: "stopped", state: undefined });
});

test("inspection — of a process that crashed: why, at what, how often, until when; sums agree", async () => {
  const { clock, table } = start({ limits: { crashMax: 1, poisonMax: 9 } });
  table.cast(2, say("boom", { crash: true }));
  table.cast(3, say("fine"));
  await clock.settle();
  const { retryInMs, ...backing } = table.inspect(2);
  expect(backing).toMatchObject({
    phase: "backing_off",
    lastError: "Error: boom",
    current: "cast step",
    recentCrashCount: 1,
    restartCount: 1,
    state: undefined,
  });
  await clock.advance(1);
  expect(table.inspect(2).retryInMs).toBe(retryInMs! - 1);
  await clock.advance(1_000);
  expect(table.inspect(2)).toMatchObject({ phase: "quarantined", state: { count: 0 } });
  expect(table.sums()).toEqual({
    name: "p7",
    residentCount: 1,
    waitingCount: 0,
    busyCount: 0,
    crashedCount: 1,
    quarantinedCount: 1,
    isPaused: false,
  });
  expect([table.active(1), table.quarantined(0)].map((list) => list.length)).toEqual([1, 0]);
  const residents: number[] = [];
  table.forEachResident((slot) => residents.push(slot));
  expect(residents).toEqual([3]);
});

test("P16 — the pulse is told table and slot before every turn, and when none runs", async () => {
  const events: string[] = [];
  let running = "none";
  const note = (text: string): void => {
    if (running !== text) events.push(text);
    running = text;
  };
  let tableId = -1;
  const { clock, table } = start({
    pulse: {
      enter: (id, slot) => note(`${id - tableId}/${slot}`),
      leave: () => note("none"),
      newTableId: () => 0,
      nameTable: (id, name) => {
        tableId = id;
        events.push(`name ${name}`);
      },
      forgetTable: (id) => events.push(`forget ${id - tableId}`),
    },
    behaviour: {
      init: (slot) => {
        events.push(`init in ${running}`);
        return { count: slot };
      },
      onCast: (_context, step) => {
        events.push(`cast in ${running}`);
        if (step.crash === true) throw new Error("boom");
        return step.asyncMs === undefined ? undefined : clock.sleep(step.asyncMs);
      },
    },
  });
  table.cast(4, say("x"));
  await clock.settle();
  expect(events.splice(0)).toEqual(["name p7", "0/4", "init in 0/4", "cast in 0/4", "none"]);
  table.castEach([4, 5], say("fanned"));
  await clock.settle();
  expect(events.splice(0)).toEqual([
    "0/4",
    "cast in 0/4",
    "0/5",
    "init in 0/5",
    "cast in 0/5",
    "none",
  ]);
  table.cast(4, say("boom", { crash: true, asyncMs: 1 }));
  table.cast(5, say("slow", { asyncMs: 10 }));
  await clock.settle();
  expect(events.splice(0)).toEqual(["0/4", "cast in 0/4", "none", "0/5", "cast in 0/5", "none"]);
  table.stop();
  expect([events, running]).toEqual([["forget 0"], "none"]);
});

/** Rings and maps hide a walk over what waits: time per operation must not grow with it. */
async function callCostNs(calleeQueueCount: number, openCallsCount: number): Promise<number> {
  const { clock, table } = start({
    limits: { mailboxMax: 200_000, turnMessagesMax: 1 },
    behaviour: { onCall: (_context, step: Step) => step.say },
  });
  table.spawn(0);
  table.cast(0, say("busy", { asyncMs: 1_000 }));
  table.cast(1, say("busy", { asyncMs: 1_000 }));
  await clock.settle();
  for (let n = 0; n < calleeQueueCount; n++) table.cast(0, say("waits"));
  for (let n = 0; n < openCallsCount; n++) void table.call(1, say("open"), { timeoutMs: 60_000 });
  const message = say("measured");
  const startMs = performance.now();
  for (let n = 0; n < 2_000; n++) void table.call(0, message, { timeoutMs: 60_000 });
  const putMs = performance.now() - startMs;
  const calls = Array.from({ length: 500 }, () => table.call(2, message));
  const takeStartMs = performance.now();
  await clock.settle();
  expect((await Promise.all(calls)).every(({ kind }) => kind === "reply")).toBe(true);
  const takeMs = performance.now() - takeStartMs;
  table.stop();
  return ((putMs + takeMs) * 1e6) / 2_500;
}

test("P24 — a call costs the same behind 100,000 messages and beside 100,000 open calls", async () => {
  for (const [queue, open] of [
    [0, 0],
    [100_000, 0],
    [0, 100_000],
  ] as const)
    await callCostNs(queue, open); // warm
  const best = async (queue: number, open: number): Promise<number> => {
    let bestNs = Infinity; // of four: a collection of garbage hits some of them
    for (let n = 0; n < 4; n++) bestNs = Math.min(bestNs, await callCostNs(queue, open));
    return bestNs;
  };
  const emptyNs = await best(0, 0);
  // A walk over 100,000 would cost 50 µs or more, fifty times as much.
  expect(await best(100_000, 0)).toBeLessThan(10 * emptyNs + 5_000);
  expect(await best(0, 100_000)).toBeLessThan(10 * emptyNs + 5_000);
});

test("P24 — the caller's own queue does not delay its answer: handlers await it in their turn", async () => {
  const answersAtMs: number[] = [];
  const { clock, table } = start({
    limits: { mailboxMax: 100_000 },
    behaviour: {
      onCall: (_context, step: Step) => clock.sleep(5).then(() => step.say),
      onCast: async (context, step) => {
        if (step.say !== "ask") return;
        const outcome = await context.call(context.table, 2, say("q"));
        expect(outcome.kind).toBe("reply");
        answersAtMs.push(clock.monotonicMs());
      },
    },
  });
  table.cast(1, say("ask"));
  for (let n = 0; n < 100_000 - 1; n++) table.cast(1, say("waits"));
  await clock.advance(10);
  expect(answersAtMs).toEqual([5]);
});
