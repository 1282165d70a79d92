// Goal: drain and stop of tables and of the runtime; memory after many starts and stops.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { say, start } from "./harness.ts";

test("S43 — drain accepts nothing more and finishes what was accepted, async turns too", async () => {
  const { clock, runtime, table, handled } = start();
  table.cast(1, say("slow", { asyncMs: 100 }));
  table.cast(1, say("behind"));
  table.cast(2, say("crashes", { crash: true }));
  let outcome: unknown;
  void runtime.drain(60_000).then((result) => (outcome = result));
  expect([table.cast(1, say("late")), table.cast(3, say("late"), "control")]).toEqual([
    "stopped",
    "stopped",
  ]);
  await clock.advance(99);
  expect([handled, outcome]).toEqual([[], undefined]);
  await clock.advance(5_000); // the poison message needs its three tries
  expect([handled, outcome]).toEqual([["1:slow#0@100", "1:behind#1@100"], { kind: "drained" }]);
  expect(await runtime.drain(1)).toEqual({ kind: "drained" });
  expect(clock.timersCount).toBe(0);
});

test("S43 — drain waits for an async handler although nothing waits in any mailbox", async () => {
  const { clock, runtime, table, handled } = start();
  table.cast(1, say("slow", { asyncMs: 100 }));
  await clock.settle();
  let outcome: unknown;
  void runtime.drain(60_000).then((result) => (outcome = result));
  await clock.advance(99);
  expect([table.waitingCount, outcome]).toEqual([0, undefined]);
  await clock.advance(1);
  expect([handled, outcome]).toEqual([["1:slow#0@100"], { kind: "drained" }]);
});

test("S43 — drain has a limit and says what is left", async () => {
  const { clock, runtime, table } = start();
  for (const text of ["slow", "behind", "behind"]) table.cast(1, say(text, { asyncMs: 10_000 }));
  const drained = runtime.drain(5_000);
  await clock.advance(5_000);
  expect(await drained).toEqual({ kind: "timeout", waitingCount: 2, busyCount: 1 });
});

test("S43 — a table that hands over drains alone; the others go on", async () => {
  const { clock, runtime, table, handled } = start();
  const other = runtime.createTable({
    name: "other",
    behaviour: { init: () => undefined, onCast: () => void handled.push("other") },
  });
  table.cast(0, say("a"));
  const drained = table.drain(1_000);
  other.cast(0, say("b"));
  await clock.advance(0);
  expect([await drained, handled, other.cast(0, say("c"))]).toEqual([
    { kind: "drained" },
    ["0:a#0@0", "other"],
    "accepted",
  ]);
});

test("RT3 — stop drops everything: no handler, timer or late result counts after it", async () => {
  const { clock, runtime, table, handled, told, crashes } = start({
    behaviour: {
      onTimer: () => void handled.push("timer"),
    },
  });
  table.cast(1, say("resident"));
  table.cast(2, say("slow", { asyncMs: 100 }));
  table.cast(3, say("crashes", { crash: true }));
  await clock.advance(0);
  table.cast(4, say("waits"));
  table.stop();
  table.stop();
  expect(told).toEqual(["stop 1 #1 shutdown", "stop 2 #0 shutdown"]);
  expect([table.cast(1, say("x")), table.isStopped, table.stateOf(1), table.kill(1)]).toEqual([
    "stopped",
    true,
    undefined,
    0,
  ]);
  expect(await table.drain(10)).toEqual({ kind: "drained" });
  await clock.advance(60_000);
  expect(handled).toEqual(["1:resident#0@0", "2:slow#-1@100"]); // it ran on, without a state
  expect(crashes.length).toBe(1);
  expect(runtime.stats()).toMatchObject({
    residentCount: 0,
    waitingCount: 0,
    busyCount: 0,
    timersCount: 0,
    queuedCount: 0,
    staleWritesTotal: 1,
  });
  runtime.stop();
  const late = runtime.createTable({
    name: "late",
    behaviour: { init: () => undefined, onCast: () => undefined },
  });
  expect(late.cast(0, say("x"))).toBe("stopped");
  expect(clock.timersCount).toBe(0);
});

test("RT3 — a handler may stop its own table and the runtime", async () => {
  const { clock, runtime, table, handled } = start({
    behaviour: {
      onCast: (context, step) => {
        handled.push(step.say);
        if (step.say === "stop") context.table.stop();
        else if (step.say === "stop all") runtime.stop();
      },
    },
  });
  const other = runtime.createTable<{ count: number }, { kind: string }>({
    name: "other",
    behaviour: {
      init: () => undefined,
      onCast: () => {
        handled.push("other");
        runtime.stop();
      },
    },
  });
  for (const text of ["stop", "never"]) table.cast(0, say(text));
  for (const slot of [0, 1]) other.cast(slot, { kind: "x" });
  await clock.advance(1_000);
  expect([handled, other.isStopped, runtime.stats().waitingCount]).toEqual([
    ["stop", "other"],
    true,
    0,
  ]);
});

test("P17 — 100,000 starts and stops: the heap returns within 10 %", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const heapBytes = (): number => {
    collect();
    collect();
    return process.memoryUsage().heapUsed;
  };
  const { clock, runtime, table, handled } = start({
    behaviour: {
      onCast: (context, step) => {
        context.state = step.forget === true ? undefined : { count: 1 };
        if (step.forget !== true) context.setTimer(1_000);
      },
    },
  });
  const round = async (): Promise<void> => {
    for (let slot = 0; slot < 100_000; slot++) {
      table.cast(slot, say(`start ${slot}`));
      table.cast(slot, say(`more ${slot}`)); // so that there is a mailbox
    }
    await clock.advance(0);
    expect(runtime.stats()).toMatchObject({ residentCount: 100_000, timersCount: 100_000 });
    const stop = say("stop", { forget: true });
    for (let slot = 0; slot < 100_000; slot++) table.cast(slot, stop);
    await clock.advance(0);
    expect(runtime.stats()).toMatchObject({ residentCount: 0, timersCount: 0, waitingCount: 0 });
  };
  await round(); // the columns have their size then
  const beforeBytes = heapBytes();
  for (let count = 0; count < 3; count++) await round();
  expect(heapBytes() / beforeBytes).toBeLessThan(1.1);
  expect(handled).toEqual([]);
});

test("P18, RW1 — an idle process without state costs its row: under 40 bytes each at 1,000,000", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const bytes = (): number => {
    collect();
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const beforeBytes = bytes();
  const { clock, table } = start({
    behaviour: {
      onCast: (context) => {
        context.state = undefined;
      },
    },
  });
  const everybody = { forEach: (visit: (slot: number) => void) => forSlots(1_000_000, visit) };
  expect(table.castEach(everybody, say("hello"))).toBe(1_000_000);
  await clock.advance(0);
  expect(table.residentCount).toBe(0);
  expect((bytes() - beforeBytes) / 1_000_000).toBeLessThan(40);
  expect(table.inspect(999_999).phase).toBe("idle");
});

function forSlots(count: number, visit: (slot: number) => void): void {
  for (let slot = 0; slot < count; slot++) visit(slot);
}
