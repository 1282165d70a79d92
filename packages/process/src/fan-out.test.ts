// Goal: one message to many (FO1, FO2): bad and repeated slots, and whatever handlers do meanwhile.
import { BugError } from "@carillon/kernel";
import { expect, test } from "vitest";
import { say, start, type StartOptions, type Step } from "./harness.ts";

const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

/** All slots are resident; `handled` has "slot:text". `during` is run by the handler. */
async function startFanOut(
  during: (slot: number, step: Step) => void | Promise<void>,
  { slotsCount = 200, ...options }: StartOptions & { readonly slotsCount?: number } = {},
) {
  const harness = start({
    ...options,
    behaviour: {
      onCast: (context, step) => {
        harness.handled.push(`${context.slot}:${step.say}`);
        return during(context.slot, step);
      },
      ...options.behaviour,
    },
  });
  for (let slot = 0; slot < slotsCount; slot++) harness.table.spawn(slot);
  await harness.clock.settle();
  return harness;
}

test("FO1, P1 — a slot that is named twice handles the message twice, in its place", async () => {
  const { clock, table, handled } = await startFanOut(() => undefined);
  expect(table.castEach([1, 2, 1, 1], say("x"))).toBe(4);
  table.cast(1, say("y"));
  expect(table.waitingCount).toBe(5);
  await clock.settle();
  expect(handled.toSorted()).toEqual(["1:x", "1:x", "1:x", "1:y", "2:x"]);
  expect(handled.filter((one) => one.startsWith("1")).at(-1)).toBe("1:y");
  expect(table.waitingCount).toBe(0);
});

test("P25, FO1 — a bad slot in the middle: a bug is told, and those before it are delivered", async () => {
  const { clock, table, handled, keptCount } = await startFanOut(() => undefined);
  for (const bad of [-1, 1.5, Number.NaN, 2 ** 24])
    expect(() => table.castEach([1, 2, bad, 3], say(`${bad}`))).toThrow(BugError);
  await clock.settle();
  const expected = ["-1", "1.5", "NaN", "16777216"].flatMap((text) => [`1:${text}`, `2:${text}`]);
  expect(handled.toSorted()).toEqual(expected.toSorted());
  expect([table.waitingCount, keptCount()]).toEqual([0, 0]);
});

test("P25 — onRefused may throw, send to others, kill and stop: each message stays its own", async () => {
  const { clock, runtime, table, handled, keptCount } = await startFanOut(() => undefined, {
    limits: { mailboxMax: 1 },
  });
  const fill = (): void => void table.cast(50, say("full"));
  fill();
  const accepted = table.castEach([1, 50, 2], say("outer"), () => {
    expect(table.castEach([1, 3], say("inner"))).toBe(1); // 1 has a full mailbox: "outer"
    expect(table.kill(1)).toBe(1);
  });
  expect([accepted, table.waitingCount]).toEqual([2, 3]);
  await clock.settle();
  expect(handled.splice(0).toSorted()).toEqual(["2:outer", "3:inner", "50:full"]);
  fill();
  expect(() =>
    table.castEach([4, 50, 5], say("thrown"), () => {
      throw new Error("onRefused");
    }),
  ).toThrow("onRefused");
  await clock.settle();
  expect(handled.splice(0).toSorted()).toEqual(["4:thrown", "50:full"]);
  fill();
  table.castEach([6, 50, 7], say("stopped"), () => table.stop());
  await clock.advance(1_000);
  expect([handled, runtime.stats().waitingCount, keptCount()]).toEqual([[], 0, 0]);
  expect(clock.timersCount).toBe(0);
});

test("FO2, P1 — a handler sends to all again: both messages reach everybody in order", async () => {
  const { clock, table, handled } = await startFanOut((slot, step) => {
    if (slot === 10 && step.say === "first") table.castEach(range(100), say("second"));
  });
  table.castEach(range(100), say("first"));
  await clock.settle();
  for (const slot of range(100))
    expect(handled.filter((one) => one.startsWith(`${slot}:`))).toEqual([
      `${slot}:first`,
      `${slot}:second`,
    ]);
  expect(table.waitingCount).toBe(0);
});

test("P11, S40 — handlers kill, exit, quarantine, reset others whose turn is still to come", async () => {
  const back: string[] = [];
  const { clock, runtime, table, handled, keptCount } = await startFanOut(
    (slot, step) => {
      if (slot !== 0 || step.say !== "all") return;
      expect([table.kill(10), table.kill(150)]).toEqual([1, 1]);
      table.cast(150, say("reborn"));
      table.exit(11);
      table.quarantine(12, "stuck");
      table.quarantine(13, "stuck");
      table.reset(13);
      table.spawn(14);
      table.castEach([10, 11, 12, 14], say("again"));
    },
    {
      behaviour: { onQuarantine: (slot, waiting) => void back.push(`${slot}:${waiting[0]?.say}`) },
    },
  );
  table.castEach(range(200), say("all"));
  await clock.settle();
  const reached = range(200).filter((slot) => handled.includes(`${slot}:all`));
  expect(range(200).filter((slot) => !reached.includes(slot))).toEqual([10, 12, 13, 150]);
  expect(back).toEqual(["12:all", "13:all"]);
  expect(handled.filter((one) => !one.endsWith(":all")).toSorted()).toEqual([
    "10:again",
    "11:again",
    "14:again",
    "150:reborn",
  ]);
  expect(new Set(handled).size).toBe(handled.length);
  expect([runtime.stats().waitingCount, runtime.stats().queuedCount]).toEqual([0, 0]);
  table.kill(12);
  expect(keptCount()).toBe(0);
});

test("RT3 — table.stop and runtime.stop inside a fan-out: nobody else handles it", async () => {
  for (const what of ["table", "runtime"] as const) {
    const harness = await startFanOut((slot) => {
      if (slot === 70) harness[what].stop();
    });
    const { clock, runtime, table, handled, keptCount } = harness;
    table.castEach(range(200), say("x"));
    table.castEach(range(200), say("y"));
    await clock.advance(1_000);
    expect(handled.length).toBe(70 * 2 + 1);
    expect([runtime.stats().waitingCount, keptCount(), clock.timersCount]).toEqual([0, 0, 0]);
    expect(runtime.stats()).toMatchObject({ residentCount: 0, queuedCount: 0, busyCount: 0 });
  }
});

test("P19, P7 — spawn of a slot that is in a fan-out: started already, and the message is kept", async () => {
  const spawned = await startFanOut(() => undefined, { activation: "spawned" });
  spawned.table.castEach([1, 2, 300], say("x")); // nobody has spawned 300
  expect(spawned.table.spawn(1).kind).toBe("already_started");
  spawned.table.exit(2);
  expect(spawned.table.spawn(2).kind).toBe("started");
  await spawned.clock.settle();
  expect(spawned.handled).toEqual(["1:x"]);
  const onDemand = await startFanOut(() => undefined, { slotsCount: 0 });
  onDemand.table.cast(5, say("room"));
  await onDemand.clock.settle();
  onDemand.table.kill(5);
  onDemand.table.castEach([5], say("y"));
  expect(onDemand.table.spawn(5).kind).toBe("already_started");
  await onDemand.clock.settle();
  expect([onDemand.handled, onDemand.table.waitingCount]).toEqual([["5:room", "5:y"], 0]);
});

test("P19 — castEach races with passivation and exit: no message is lost or doubled", async () => {
  const committed = new Map<number, number>();
  const { clock, runtime, table } = start({
    limits: { idleMs: 10 },
    behaviour: {
      init: (slot) => ({ count: committed.get(slot) ?? 0 }),
      onCast: (context) => {
        const count = (context.state?.count ?? -1) + 1;
        committed.set(context.slot, count);
        context.state = { count };
        if (count % 7 === 0) context.stop();
      },
      mayPassivate: () => true,
    },
  });
  let acceptedCount = 0;
  for (let round = 0; round < 500; round++) {
    acceptedCount += table.castEach(range(20), say("x"));
    if (round % 3 === 0) table.exit(round % 20);
    if (round % 2 === 0) await clock.advance(round % 17);
  }
  await clock.advance(1_000);
  expect([...committed.values()]).toEqual(range(20).map(() => 500));
  expect([acceptedCount, runtime.stats().waitingCount]).toEqual([10_000, 0]);
});

test("P13, P21 — a fan-out cancels idle timers, keeps plain ones, and goes before what fires later", async () => {
  const order: string[] = [];
  const { clock, table } = start({
    behaviour: {
      onCast: (context, step) => {
        order.push(`${context.slot}:${step.say}`);
        if (step.say !== "arm") return;
        if (context.slot === 1) context.setIdleTimer(20);
        else context.setTimer(20);
      },
      onTimer: (context) => void order.push(`${context.slot}:timer`),
    },
  });
  for (const slot of [1, 2]) table.cast(slot, say("arm"));
  await clock.settle();
  table.castEach([1, 2], say("x"));
  await clock.advance(100);
  expect(order).toEqual(["1:arm", "2:arm", "1:x", "2:x", "2:timer"]);
});

test("P15, FO2 — others have their turns while a message goes to 100,000", async () => {
  const handledAt: number[] = [];
  let allCount = 0;
  const { clock, table } = await startFanOut(() => undefined, {
    slotsCount: 100_001,
    behaviour: {
      onCast: (context) => {
        clock.block(0.001);
        if (context.slot === 100_000) handledAt.push(allCount);
        else allCount++;
      },
    },
  });
  table.castEach(range(100_000), say("to all"));
  table.cast(100_000, say("other"));
  await clock.settle();
  expect(allCount).toBe(100_000);
  expect(handledAt[0]).toBeLessThanOrEqual(128); // two chunks
});

test("P15, FO2, RT1 — slow handlers of a fan-out keep I/O waiting no longer than three slices", async () => {
  let isSlow = false;
  const { clock, runtime, table } = await startFanOut(() => undefined, {
    slotsCount: 1_000,
    behaviour: { onCast: () => clock.block(isSlow ? 1 : 0.001) },
  });
  table.castEach(range(1_000), say("quick ones before it"));
  await clock.settle();
  const slicesMs: number[] = [];
  let sliceBeganAtMs = clock.monotonicMs();
  runtime.onSliceEnd(() => {
    slicesMs.push(clock.monotonicMs() - sliceBeganAtMs);
    sliceBeganAtMs = clock.monotonicMs();
  });
  isSlow = true;
  table.castEach(range(1_000), say("to all"));
  await clock.settle();
  expect(slicesMs.reduce((sum, one) => sum + one, 0)).toBeCloseTo(1_000, 6);
  expect(Math.max(...slicesMs)).toBeLessThanOrEqual(9);
});

test.each([1, 2, 3])(
  "P14, FO1 — an init that fills its own mailbox of %i drops the fan-out's message once, or handles it once",
  async (mailboxMax) => {
    const dropped: string[] = [];
    const { clock, runtime, table, handled } = start({
      limits: { mailboxMax },
      behaviour: {
        init: (slot) => {
          for (const text of ["own 1", "own 2"]) table.cast(slot, say(text));
          return { count: 0 };
        },
        overflow: () => "drop_oldest",
        onDrop: (_slot, message) => void dropped.push(message.say),
      },
    });
    table.cast(9, say("makes room")); // a fan-out goes to slots that are there
    await clock.settle();
    for (const list of [dropped, handled]) list.length = 0;
    expect(table.castEach([1], say("to all"))).toBe(1);
    await clock.settle();
    const all = ["to all", "own 1", "own 2"];
    expect(dropped).toEqual(all.slice(0, 3 - mailboxMax));
    expect(handled.map((one) => one.slice(2).split("#")[0])).toEqual(all.slice(3 - mailboxMax));
    expect([table.waitingCount, runtime.stats().waitingCount]).toEqual([0, 0]);
  },
);

test("FO2 — runnableCount has the queued and those that a fan-out has not reached, none of a stopped table", async () => {
  const { clock, runtime, table } = await startFanOut(() => undefined);
  expect(runtime.runnableCount()).toBe(0);
  table.castEach(range(150), say("all"));
  table.cast(199, say("one"));
  expect(runtime.runnableCount()).toBe(151);
  await clock.settle();
  expect(runtime.runnableCount()).toBe(0);
  table.castEach(range(150), say("stopped"));
  table.stop();
  expect(runtime.runnableCount()).toBeLessThanOrEqual(1); // its entry finds nothing
  await clock.settle();
  expect(runtime.runnableCount()).toBe(0);
});
