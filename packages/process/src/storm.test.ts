// Goal: a storm of crashes pauses its table, and a person can quarantine, reset and resume (S40, S41).
// Long: a storm, and each thing that a person can do in it or after it.
import { BugError } from "@carillon/kernel";
import { expect, test } from "vitest";
import { noteOutcomes, say, start, type StartOptions, type Step } from "./harness.ts";

const boom = say("boom", { crash: true });

/** Crashes each of these slots once, now. */
async function crash(
  { table, clock }: Pick<ReturnType<typeof start>, "table" | "clock">,
  slots: number[],
): Promise<void> {
  table.castEach(slots, boom);
  await clock.settle();
}
const range = (count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, n) => from + n);

test("S41, SY1 — more than 20 distinct processes in 10 s pause the table; onPause is told once", async () => {
  const harness = start();
  const { runtime, table, pauses } = harness;
  await crash(harness, range(20));
  for (const slot of range(20)) table.reset(slot);
  await crash(harness, range(20)); // the same ones again
  expect([table.isPaused, pauses]).toEqual([false, []]);
  await crash(harness, range(4, 20));
  expect(pauses).toEqual([{ table: "p7", crashedCount: 21, resumesInMs: 30_000 }]);
  expect([table.isPaused, table.sums().isPaused, runtime.stats().pausedTablesCount]).toEqual([
    true,
    true,
    1,
  ]);
});

test("S41, SY1 — 21 processes that crash over more than 10 s are no storm", async () => {
  const harness = start();
  await crash(harness, range(10));
  await harness.clock.advance(11_000); // each has crashed again within the first second
  await crash(harness, range(20, 10));
  expect(harness.table.isPaused).toBe(false);
  await crash(harness, [40]);
  expect(harness.pauses.length).toBe(1);
});

test("S41, SY1 — of a large table more than 1 % must crash", async () => {
  const harness = start({ behaviour: { onContinue: () => undefined } });
  harness.table.spawn(9_999);
  await harness.clock.settle();
  await crash(harness, range(100));
  expect(harness.table.isPaused).toBe(false);
  await crash(harness, [100]);
  expect(harness.pauses.map((pause) => pause.crashedCount)).toEqual([101]);
});

test("S41 — while paused nothing runs: the normal lane is refused, control is kept, timers wait", async () => {
  const ran: string[] = [];
  const harness = start({
    behaviour: {
      onCall: (_context, step: Step) => step.say,
      onCast: (context, step) => {
        if (step.crash === true && context.generation === 0) throw new Error(step.say);
        ran.push(`${context.slot}:${step.say}`);
        if (step.say === "arm") context.setTimer(1_000);
        return step.asyncMs === undefined ? undefined : harness.clock.sleep(step.asyncMs);
      },
      onTimer: (context) => void ran.push(`${context.slot}:timer`),
    },
  });
  const { clock, runtime, table } = harness;
  const { outcomes, note } = noteOutcomes(clock);
  for (const slot of [100, 101]) table.cast(slot, say("arm"));
  table.cast(102, say("slow", { asyncMs: 5_000 }));
  await clock.settle();
  ran.length = 0;
  await crash(harness, range(21));
  table.cast(100, say("control"), "control");
  table.cast(102, say("control"), "control");
  const refused: string[] = [];
  expect(table.castEach([100], say("x"), (slot, why) => refused.push(`${slot} ${why}`))).toBe(0);
  expect([table.cast(100, say("x")), refused]).toEqual(["paused", ["100 paused"]]);
  note(table.call(100, say("x")));
  note(table.call(100, say("control call"), { lane: "control", timeoutMs: 60_000 }));
  await clock.advance(29_000);
  expect([ran, outcomes]).toEqual([[], ["paused@0"]]);
  expect(runtime.stats()).toMatchObject({ busyCount: 0 }); // the slow one could finish
  await clock.advance(1_001);
  expect(ran.filter((one) => !one.endsWith("boom")).toSorted()).toEqual([
    "100:control",
    "100:timer",
    "101:timer",
    "102:control",
  ]);
  expect(outcomes[1]).toMatch(/^reply control call@300/u);
});

test("S41 — it resumes by itself after 30 s, 60 s … 300 s while the storm goes on, then from 30 s", async () => {
  const harness = start({ limits: { crashMax: 100, poisonMax: 1 } });
  const { clock, table, pauses, told } = harness;
  for (let round = 0; round < 6; round++) {
    await crash(harness, range(21));
    expect(table.isPaused).toBe(true);
    await clock.advance(pauses.at(-1)!.resumesInMs + 20);
    expect(table.isPaused).toBe(false);
  }
  expect(pauses.map((pause) => pause.resumesInMs / 1_000)).toEqual([30, 60, 120, 240, 300, 300]);
  expect(told.filter((one) => one.startsWith("resume")).length).toBe(6);
  await clock.advance(600_000);
  await crash(harness, range(21));
  expect(pauses.at(-1)!.resumesInMs).toBe(30_000);
});

test("S41 — resume ends a pause at once; what waited runs; twice is no resume", async () => {
  const harness = start();
  const { clock, runtime, table, handled } = harness;
  table.cast(50, say("slow", { asyncMs: 10 }));
  await crash(harness, range(21));
  table.cast(51, say("control"), "control");
  await clock.advance(100);
  expect([table.resume(), table.resume(), table.isPaused]).toEqual([true, false, false]);
  await clock.settle();
  expect(handled).toEqual(["50:slow#0@10", "51:control#0@100"]);
  expect(runtime.stats().pausedTablesCount).toBe(0);
  await clock.advance(600_000);
  expect(runtime.stats()).toMatchObject({ timersCount: 0, waitingCount: 0, queuedCount: 0 });
});

test("S41 — a pause in the middle of a fan-out: the rest has its turn after it, nothing is lost", async () => {
  const harness = start({
    behaviour: {
      onCast: (context, step) => {
        if (context.slot < 21 && context.generation === 0 && step.say === "to all")
          throw new Error("storm");
        harness.handled.push(`${context.slot}:${step.say}`);
      },
    },
  });
  const { clock, runtime, table, handled, pauses, keptCount } = harness;
  table.castEach(range(200), say("first"));
  await clock.settle();
  handled.length = 0;
  expect(table.castEach(range(200), say("to all"))).toBe(200);
  await clock.settle();
  expect([pauses.length, handled.length, table.waitingCount]).toEqual([1, 0, 200]);
  expect(table.kill(150)).toBe(1);
  table.cast(160, say("control"), "control");
  await clock.advance(40_000);
  const slots = handled.filter((one) => one.endsWith("to all")).map((one) => Number.parseInt(one));
  expect(slots.toSorted((a, b) => a - b)).toEqual(range(200).filter((slot) => slot !== 150));
  expect([table.waitingCount, keptCount(), runtime.stats().queuedCount]).toEqual([0, 0, 0]);
});

test("S41 — whoever stops the table when it crashes or pauses leaves nothing behind", async () => {
  for (const when of ["crash", "pause"]) {
    const clockOf = start({ limits: { systemicMax: 0, systemicShare: 0 } });
    const { clock, runtime, table, crashes, pauses, keptCount } = clockOf;
    const list: { push: unknown } = when === "crash" ? crashes : pauses;
    list.push = () => (runtime.stop(), 0);
    table.cast(0, boom);
    await clock.advance(1_000);
    expect([table.isStopped, clock.timersCount, keptCount()]).toEqual([true, 0, 0]);
    expect(runtime.stats()).toMatchObject({ pausedTablesCount: 0, timersCount: 0 });
  }
});

test("S41, S43 — a paused table can be stopped and drained with what it has", async () => {
  const harness = start();
  const { clock, runtime, table } = harness;
  await crash(harness, range(21));
  const drained = table.drain(1_000);
  await clock.advance(1_000);
  expect(await drained).toEqual({ kind: "timeout", waitingCount: 21, busyCount: 0 });
  table.stop();
  expect(runtime.stats()).toMatchObject({ pausedTablesCount: 0, timersCount: 0, waitingCount: 0 });
  expect([clock.timersCount, table.resume()]).toEqual([0, false]);
});

function startQuarantine(options: StartOptions = {}) {
  const back: string[] = [];
  const released: number[] = [];
  const harness = start({
    ...options,
    behaviour: {
      onQuarantine: (slot, waiting, cause) =>
        void back.push(`${slot}: ${waiting.map((one) => one.say).join(" ")} (${String(cause)})`),
      onRelease: (slot) => void released.push(slot),
      ...options.behaviour,
    },
  });
  return { ...harness, back, released };
}

test("S40 — quarantine by hand: the running handler is abandoned, all that waits is handed back", async () => {
  const { clock, runtime, table, back, released, handled, crashes, told } = startQuarantine({
    behaviour: { onCall: () => "reply" },
  });
  const { outcomes, note } = noteOutcomes(clock);
  const seen: string[] = [];
  table.monitor(1, ({ exit }) => seen.push(exit.kind));
  table.cast(1, say("hangs", { asyncMs: 10 ** 9 }));
  await clock.settle();
  for (const text of ["a", "b"]) table.cast(1, say(text));
  note(table.call(1, say("call")));
  table.castEach([2], say("first"));
  table.quarantine(2, "idle one");
  table.quarantine(1, new Error("stuck"));
  table.quarantine(1, new Error("again")); // is in quarantine already
  await clock.settle();
  expect(back).toEqual(["2: first (idle one)", "1: hangs a b (Error: stuck)"]);
  expect(crashes.map(({ slot, reason, next }) => [slot, reason, next])).toEqual([
    [2, "quarantined", "quarantine"],
    [1, "quarantined", "quarantine"],
  ]);
  expect([outcomes, seen]).toEqual([["quarantined@0"], ["error"]]);
  expect(table.cast(1, say("x"), "control")).toBe("quarantined");
  expect(table.inspect(1)).toMatchObject({ phase: "quarantined", state: { count: 0 } });
  expect(table.quarantined(1).map((one) => one.slot)).toEqual([2]);
  expect(table.sums()).toMatchObject({ quarantinedCount: 2, waitingCount: 0 });
  await clock.advance(300_020);
  expect([released.toSorted((a, b) => a - b), runtime.stats().quarantinedCount]).toEqual([
    [1, 2],
    0,
  ]);
  table.cast(1, say("fine"));
  await clock.settle();
  expect(handled).toEqual(["1:fine#0@300020"]);
  expect([told, runtime.stats().timersCount]).toEqual([[], 0]);
});

test("S40 — quarantine by hand doubles as automatic ones do, up to 1 h, unless a time is given; a reset forgives", async () => {
  const { clock, table, crashes } = startQuarantine();
  for (let round = 0; round < 6; round++) {
    table.quarantine(1, "by hand");
    await clock.advance(crashes.at(-1)!.delayMs + 20);
    expect(table.inspect(1).phase).toBe("idle");
  }
  table.quarantine(1, "by hand", 7_000);
  expect(table.reset(1)).toBe(true);
  table.quarantine(1, "by hand");
  expect(crashes.map(({ delayMs }) => delayMs / 1_000)).toEqual([
    300, 600, 1_200, 2_400, 3_600, 3_600, 7, 300,
  ]);
});

test("S40 — quarantine inside the own handler, and of a free name: it begins only when it is spawned", async () => {
  const inits: number[] = [];
  const { clock, runtime, table, back, released, keptCount } = startQuarantine({
    activation: "spawned",
    behaviour: {
      init: (slot) => {
        inits.push(slot);
        return { count: 0 };
      },
      onContinue: () => undefined,
      onCast: (context) => table.quarantine(context.slot, "myself"),
    },
  });
  table.quarantine(5, "known culprit");
  expect(table.spawn(5)).toEqual({ kind: "quarantined" });
  table.spawn(6);
  await clock.settle();
  for (const text of ["one", "two"]) table.cast(6, say(text));
  await clock.advance(1);
  expect(back).toEqual(["5:  (known culprit)", "6: two (myself)"]);
  inits.length = 0;
  await clock.advance(400_000);
  expect([released, inits]).toEqual([[5, 6], [6]]);
  expect([table.inspect(5).phase, table.spawn(5).kind]).toEqual(["absent", "started"]);
  expect(runtime.stats()).toMatchObject({ quarantinedCount: 0, timersCount: 0 });
  await clock.settle();
  expect(keptCount()).toBe(0);
});

test("S40 — callbacks of a quarantine may reset, kill or exit it: messages come back once", async () => {
  for (const how of ["reset", "kill", "exit"] as const) {
    const harness = startQuarantine({ limits: { crashMax: 0 } });
    const { clock, runtime, table, back, crashes, keptCount } = harness;
    crashes.push = (report) => {
      if (report.reason === "error") table[how](report.slot);
      return 0;
    };
    table.cast(1, boom);
    table.cast(1, say("behind"));
    await clock.advance(1_000);
    expect(back).toEqual(["1: boom behind (Error: boom)"]);
    expect(runtime.stats()).toMatchObject({ quarantinedCount: 0, waitingCount: 0, timersCount: 0 });
    expect([table.inspect(1).phase, keptCount()]).toEqual(["idle", 0]);
  }
});

test("P25 — quarantine, reset, resume of what is not there", async () => {
  const { table, runtime } = startQuarantine();
  expect(() => table.quarantine(-1, "x")).toThrow(BugError);
  expect([table.reset(9), table.resume(), table.kill(9), table.exit(9)]).toEqual([
    false,
    false,
    0,
    false,
  ]);
  for (const badMs of [Number.NaN, -1, Infinity])
    expect(() => table.quarantine(1, "x", badMs)).toThrow(BugError);
  expect([table.inspect(1).phase, table.quarantined(9).length]).toEqual(["idle", 0]);
  runtime.stop();
  table.quarantine(1, "x");
  expect(runtime.stats().quarantinedCount).toBe(0);
});
