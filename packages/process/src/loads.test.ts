// Goal: few loads at once over all tables, in order, and failed ones are not repeated at once (P20, LG1).
// Method: onContinue is a load that takes 10 ms and counts how many are under way.
import { expect, test } from "vitest";
import { LoadError } from "./behaviour.ts";
import { noteOutcomes, say, start, type StartOptions, type Step } from "./harness.ts";

function startLoads(options: StartOptions = {}) {
  const loaded: string[] = [];
  const failing = new Set<number>();
  let runningCount = 0;
  let runningMax = 0;
  const load = async (name: string, slot: number): Promise<void> => {
    runningMax = Math.max(runningMax, ++runningCount);
    try {
      await harness.clock.sleep(10);
      loaded.push(`${name}${slot}`);
      if (failing.has(slot)) throw new LoadError("store is down");
    } finally {
      runningCount--;
    }
  };
  const harness = start({
    ...options,
    behaviour: {
      onContinue: (context) => load("", context.slot),
      onCall: (context, step: Step) => `${step.say}#${context.state?.count}`,
      ...options.behaviour,
    },
  });
  const addTable = (name: string) =>
    harness.runtime.createTable<{ count: number }, Step>({
      name,
      behaviour: {
        init: () => ({ count: 0 }),
        onContinue: (context) => load(name, context.slot),
        onCast: (context, step) => void harness.handled.push(`${name}${context.slot}:${step.say}`),
      },
    });
  return { ...harness, loaded, failing, addTable, load, runningMax: () => runningMax };
}

test("P20 — 1,000 concurrent messages to a cold process: one load, then all in order", async () => {
  const { clock, runtime, table, handled, loaded } = startLoads({ limits: { mailboxMax: 1_000 } });
  const { outcomes, note } = noteOutcomes(clock);
  for (let n = 0; n < 990; n++) table.cast(7, say(`${n}`));
  for (let n = 0; n < 10; n++) note(table.call(7, say(`call ${n}`)));
  await clock.advance(9);
  expect([handled, runtime.stats().loadsCount]).toEqual([[], 1]);
  await clock.advance(1);
  expect(loaded).toEqual(["7"]);
  expect(handled.map((one) => one.split("#")[0])).toEqual(
    Array.from({ length: 990 }, (_, n) => `7:${n}`),
  );
  expect(outcomes.at(-1)).toBe("reply call 9#990@10");
});

test("P20, LG1 — at most 50 loads at once over several tables, in the order of the first messages", async () => {
  const { clock, runtime, table, loaded, handled, addTable, runningMax } = startLoads();
  const tables = [addTable("a"), addTable("b"), addTable("c")];
  for (let slot = 0; slot < 100; slot++) table.cast(slot, say("x"));
  for (let slot = 0; slot < 100; slot++) for (const other of tables) other.cast(slot, say("x"));
  await clock.settle();
  expect(runtime.stats()).toMatchObject({ loadsCount: 50, loadsWaitingCount: 350 });
  expect(table.inspect(99).phase).toBe("loading");
  for (let n = 100; n < 150; n++) table.cast(n, say("later")); // behind those that wait
  await clock.advance(90);
  expect([runningMax(), loaded.length, handled.length]).toEqual([50, 450, 450]);
  expect(loaded.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`));
  expect(loaded.slice(400)).toEqual(Array.from({ length: 50 }, (_, n) => `${n + 100}`));
  expect(runtime.stats()).toMatchObject({ loadsCount: 0, loadsWaitingCount: 0, waitingCount: 0 });
});

test("P20, LG1 — those that came first are not overtaken by an endless stream of new ones", async () => {
  const { clock, runtime, table, loaded } = startLoads({ limits: { loadsMax: 2 } });
  let nextSlot = 10;
  for (let slot = 0; slot < 10; slot++) table.cast(slot, say("first"));
  runtime.onSliceEnd(() => {
    for (let n = 0; n < 4 && nextSlot < 200; n++) table.cast(nextSlot++, say("later"));
  });
  await clock.advance(50);
  expect(loaded.slice(0, 10)).toEqual(Array.from({ length: 10 }, (_, n) => `${n}`));
});

test("P20 — loads that are killed, exited, quarantined or stopped give their room to those that wait", async () => {
  const { clock, runtime, table, handled, addTable } = startLoads({ limits: { loadsMax: 2 } });
  const other = addTable("o");
  const ends = [
    () => [0, 1].map((slot) => other.kill(slot)),
    () => [0, 1].map((slot) => other.quarantine(slot, new Error("by hand"))),
    () => other.stop(),
  ];
  for (const [n, end] of ends.entries()) {
    for (const slot of [0, 1]) other.cast(slot, say("hangs"));
    table.cast(n, say("waits"));
    await clock.advance(5);
    expect(table.inspect(n).phase).toBe("loading");
    end();
    await clock.advance(10);
    expect(handled).toEqual(Array.from({ length: n + 1 }, (_, k) => `${k}:waits#0@${k * 15 + 15}`));
    for (const slot of [0, 1]) other.reset(slot);
    await clock.settle();
    for (const slot of [0, 1]) other.kill(slot); // reset has begun the load again
    await clock.settle();
  }
  expect(runtime.stats()).toMatchObject({ loadsCount: 0, loadsWaitingCount: 0, busyCount: 0 });
});

test("P20 — those that are killed or stopped while they wait for room take none", async () => {
  const { clock, runtime, table, handled, loaded, addTable } = startLoads({
    limits: { loadsMax: 1 },
  });
  const other = addTable("o");
  table.cast(0, say("first"));
  for (const slot of [1, 2, 3]) table.cast(slot, say("waits"));
  for (const slot of [1, 2]) other.cast(slot, say("waits"));
  await clock.settle();
  expect(runtime.stats().loadsWaitingCount).toBe(5);
  expect(table.kill(1)).toBe(1);
  expect(table.exit(2)).toBe(true); // what waits for it begins it anew, behind the others
  other.stop();
  await clock.advance(1_000);
  expect(loaded).toEqual(["0", "2", "3"]);
  expect(handled.map((one) => one.split(":")[0])).toEqual(["0", "2", "3"]);
  expect(runtime.stats()).toMatchObject({ loadsWaitingCount: 0, waitingCount: 0 });
});

test("LG1 — a table whose onContinue loads nothing does not wait for others' loads for long", async () => {
  const { clock, runtime, table, handled, addTable } = startLoads({
    limits: { loadsMax: 1 },
    behaviour: { onContinue: () => undefined },
  });
  const other = addTable("o");
  for (let slot = 0; slot < 3; slot++) other.cast(slot, say("x"));
  await clock.settle();
  for (let slot = 0; slot < 500; slot++) table.cast(slot, say("quick"));
  await clock.advance(30); // not known yet whether it loads: once it has waited for the three
  expect(handled.length).toBe(503);
  for (let slot = 10; slot < 13; slot++) other.cast(slot, say("x"));
  await clock.settle();
  table.cast(1_000, say("quick"));
  await clock.settle();
  expect(handled.at(-1)).toMatch(/^1000:quick/u);
  await clock.advance(1_000);
  expect(runtime.stats().loadsWaitingCount).toBe(0);
});

test("P20, S41 — a failed load is no crash: calls are answered at once for 1 s, casts wait for the next", async () => {
  const { clock, runtime, table, handled, loaded, failing, crashes, told, keptCount } =
    startLoads();
  const { outcomes, note } = noteOutcomes(clock);
  failing.add(3);
  table.cast(3, say("cast"));
  note(table.call(3, say("waiting call")));
  await clock.advance(10);
  expect(outcomes).toEqual(["load_failed LoadError: store is down@10"]);
  note(table.call(3, say("later call")));
  await clock.settle();
  expect(outcomes.length).toBe(2);
  expect(table.inspect(3)).toMatchObject({
    phase: "backing_off",
    waitingCount: 2, // the cast, and the answered call's place
    lastError: "store is down",
    retryInMs: 1_000,
  });
  await clock.advance(999);
  expect(loaded.length).toBe(1);
  failing.clear();
  await clock.advance(31);
  expect([handled, loaded.length, crashes]).toEqual([["3:cast#0@1030"], 2, []]);
  note(table.call(3, say("now")));
  await clock.settle();
  expect(outcomes[2]).toBe("reply now#1@1040");
  expect(told).toEqual(["load p7/3 LoadError: store is down"]);
  expect(runtime.stats()).toMatchObject({ loadsFailedTotal: 1, crashesTotal: 0, restartsTotal: 0 });
  expect([table.sums().crashedCount, keptCount()]).toEqual([0, 0]);
});

test("P20, P21 — a load that was asked for without a message is tried again too, or timers would be lost", async () => {
  const { clock, table, loaded, failing } = startLoads();
  failing.add(1);
  table.spawn(1);
  await clock.advance(2_500);
  expect(loaded.length).toBe(3);
  failing.clear();
  await clock.advance(5_000);
  expect([loaded.length, table.stateOf(1)]).toEqual([4, { count: 0 }]);
});

test("P20, S40 — a failed load that is killed, reset or quarantined leaves no trace", async () => {
  const { clock, runtime, table, failing, loaded, handled, keptCount } = startLoads();
  for (const slot of [1, 2, 3]) {
    failing.add(slot);
    table.cast(slot, say("waits"));
  }
  await clock.advance(10);
  failing.clear();
  expect([table.kill(1), table.reset(2)]).toEqual([1, true]);
  table.quarantine(3, new Error("by hand"));
  expect(runtime.stats().quarantinedCount).toBe(1);
  await clock.advance(20);
  expect(handled.map((one) => one.split("#")[0])).toEqual(["2:waits"]);
  await clock.advance(330_000); // the quarantine's end
  expect(runtime.stats()).toMatchObject({ quarantinedCount: 0, timersCount: 0 });
  expect(table.cast(3, say("fine"))).toBe("accepted");
  await clock.advance(100);
  expect(loaded.filter((one) => one === "3").length).toBe(2);
  expect([table.sums().crashedCount, keptCount()]).toEqual([0, 0]);
});

test("S41 — 1,000 processes that crash together come back with at most 50 loads at once", async () => {
  const { clock, runtime, table, handled, runningMax, crashes } = startLoads({
    limits: { systemicMax: 1_000 },
    behaviour: {
      onCast: (context, step) => {
        if (context.generation === 0) throw new Error("together");
        handled.push(`${context.slot}:${step.say}`);
      },
    },
  });
  for (let slot = 0; slot < 1_000; slot++) table.cast(slot, say("x"));
  await clock.advance(5_000);
  expect([crashes.length, handled.length, runningMax()]).toEqual([1_000, 1_000, 50]);
  expect(runtime.stats()).toMatchObject({ loadsCount: 0, loadsWaitingCount: 0, timersCount: 0 });
});

test("P20, S43 — drain waits for loads that have not begun yet", async () => {
  const { clock, runtime, table, handled } = startLoads({ limits: { loadsMax: 1 } });
  for (let slot = 0; slot < 5; slot++) table.cast(slot, say("x"));
  const drained = runtime.drain(1_000);
  await clock.advance(60);
  expect([await drained, handled.length]).toEqual([{ kind: "drained" }, 5]);
});
