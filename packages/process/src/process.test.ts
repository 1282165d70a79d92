// Goal: a process as its owner sees it: order, mailbox, timers, passivation, kill, drain, stop.
// Method: messages script the handler, the test moves the clock. Long: what holds for any process, in
// the order of the README; whatever fills a file of its own has one.
import { Bitset } from "@carillon/kernel";
import { expect, test } from "vitest";
import { say, start, type Step } from "./harness.ts";

test("P1 — 100,000 messages of 8 senders: each sender's order is kept", async () => {
  const seen = new Map<string, number>();
  let outOfOrderCount = 0;
  const { clock, runtime, table } = start({
    behaviour: {
      onCast: (_context, step) => {
        const [sender = "", number = ""] = step.say.split("/");
        if (Number(number) !== (seen.get(sender) ?? 0) + 1) outOfOrderCount++;
        seen.set(sender, Number(number));
      },
    },
  });
  const sent = Array.from({ length: 8 }, () => 0);
  let turn = 0;
  const send = (): void => {
    for (; turn < 100_000; turn++) {
      const sender = turn % 8;
      if (table.cast(3, say(`${sender}/${sent[sender]! + 1}`)) !== "accepted") return;
      sent[sender]!++;
    }
  };
  runtime.onSliceEnd(send);
  send();
  await clock.advance(0);
  expect(outOfOrderCount).toBe(0);
  expect([...seen.values()]).toEqual(Array.from({ length: 8 }, () => 12_500));
  expect(runtime.stats()).toMatchObject({
    handledTotal: 100_000,
    waitingCount: 0,
    crashesTotal: 0,
  });
});

test("P2 — one turn at a time: an async handler holds back its own process, no other", async () => {
  const { clock, runtime, table, handled } = start();
  table.cast(1, say("slow", { asyncMs: 50 }));
  await clock.advance(10);
  table.cast(1, say("next"));
  table.cast(2, say("other"));
  await clock.advance(10);
  expect(handled).toEqual(["2:other#0@10"]);
  expect([table.inspect(1).phase, runtime.stats().busyCount]).toEqual(["running", 1]);
  await clock.advance(100);
  expect(handled).toEqual(["2:other#0@10", "1:slow#0@50", "1:next#1@50"]);
  expect(runtime.stats().busyCount).toBe(0);
});

test("P2 — a handler that returns no promise is never waited for", async () => {
  const values: unknown[] = [undefined, null, 7, "text", {}];
  let handledCount = 0;
  const { clock, table } = start({
    behaviour: {
      onCast: () => {
        return values[handledCount++] as undefined;
      },
    },
  });
  for (const _ of values) table.cast(0, say("x"));
  await clock.advance(0);
  expect([handledCount, table.inspect(0).phase]).toEqual([5, "idle"]);
});

test("P12 — onContinue runs before messages that were queued earlier, and may load first", async () => {
  const order: string[] = [];
  const { clock, table } = start({
    behaviour: {
      onContinue: async (context) => {
        order.push("loading");
        await clock.sleep(30);
        context.state = { count: 100 };
        order.push("loaded");
      },
      onCast: (context, step) => void order.push(`${step.say}#${context.state?.count}`),
    },
  });
  table.cast(0, say("a"));
  table.cast(0, say("b"));
  await clock.advance(10);
  table.cast(0, say("c"));
  await clock.advance(1_000);
  table.cast(0, say("d"));
  await clock.advance(0);
  expect(order).toEqual(["loading", "loaded", "a#100", "b#100", "c#100", "d#100"]);
});

test("P12 — a load that leaves no state is not begun again for the message that waited", async () => {
  const order: string[] = [];
  const { clock, table } = start({
    behaviour: {
      onContinue: async (context) => {
        order.push("continue");
        await clock.sleep(10);
        context.state = undefined;
      },
      onCast: (_context, step) => void order.push(step.say),
    },
  });
  table.cast(0, say("waits"));
  await clock.advance(1_000);
  expect(order).toEqual(["continue", "waits"]);
});

test("P13 — an idle timer is cancelled by any message; a plain timer is not", async () => {
  const fired: string[] = [];
  const { clock, table } = start({
    behaviour: {
      onCast: (context, step) => {
        if (step.say === "idle") context.setIdleTimer(100);
        else if (step.say === "plain") context.setTimer(100);
      },
      onTimer: (context) => void fired.push(`${context.slot}@${clock.monotonicMs()}`),
    },
  });
  for (const slot of [1, 2]) table.cast(slot, say("idle"));
  for (const slot of [3, 4]) table.cast(slot, say("plain"));
  await clock.advance(50);
  for (const slot of [2, 4]) table.cast(slot, say("any"));
  await clock.advance(500);
  expect(fired).toEqual(["1@100", "3@100", "4@100"]);
  expect([1, 2, 3, 4].map((slot) => table.inspect(slot).isTimerArmed)).toEqual(
    Array.from({ length: 4 }, () => false),
  );
});

test("P13 — a call and a DOWN cancel an idle timer too, and no plain one", async () => {
  const fired: string[] = [];
  const { clock, table } = start({
    behaviour: {
      onCast: (context, step) => {
        if (step.say === "idle") context.setIdleTimer(100);
        else context.setTimer(100);
        if (context.slot >= 4) context.monitor(table, 9);
      },
      onCall: () => "reply",
      onTimer: (context) => void fired.push(`${context.slot}@${clock.monotonicMs()}`),
    },
  });
  table.spawn(9);
  for (const slot of [1, 2, 4]) table.cast(slot, say("idle"));
  for (const slot of [3, 5]) table.cast(slot, say("plain"));
  await clock.advance(50);
  for (const slot of [2, 3]) void table.call(slot, say("call"));
  table.kill(9); // 4 and 5 are told
  await clock.advance(500);
  expect(fired).toEqual(["1@100", "3@100", "5@100"]);
});

test("P21 — a timer fires once, not early, after what waited before it; setting it again moves it", async () => {
  const order: string[] = [];
  const { clock, runtime, table } = start({
    behaviour: {
      onCast: (context, step) => {
        order.push(`${step.say}@${clock.monotonicMs()}`);
        if (step.say === "arm") context.setTimer(70);
        if (step.say === "clear") context.clearTimer();
        return step.asyncMs === undefined ? undefined : clock.sleep(step.asyncMs);
      },
      onTimer: (context) => void order.push(`timer ${context.slot}@${clock.monotonicMs()}`),
    },
  });
  table.cast(1, say("arm"));
  await clock.advance(60);
  table.cast(1, say("arm")); // moves it from 70 to 130, which is the tick at 140
  await clock.advance(60);
  table.cast(1, say("slow", { asyncMs: 40 })); // from 120 to 160: the timer fires meanwhile
  table.cast(1, say("before"));
  await clock.advance(30);
  table.cast(1, say("after"));
  await clock.advance(100);
  expect(order.splice(0)).toEqual([
    "arm@0",
    "arm@60",
    "slow@120",
    "before@160",
    "timer 1@160",
    "after@160",
  ]);
  table.cast(2, say("arm"));
  await clock.advance(40);
  table.cast(2, say("slow", { asyncMs: 60 })); // the timer fires meanwhile, and is cleared then
  table.cast(2, say("clear"));
  await clock.advance(500);
  expect(order.filter((one) => one.startsWith("timer"))).toEqual([]);
  expect(runtime.stats().timersCount).toBe(0);
});

test("P21 — the timer dies with a process that forgets its state", async () => {
  const fired: number[] = [];
  const { clock, runtime, table } = start({
    behaviour: {
      onCast: (context, step) => {
        context.setTimer(50);
        if (step.forget === true) context.state = undefined;
      },
      onTimer: (context) => void fired.push(context.slot),
    },
  });
  table.cast(1, say("keep"));
  table.cast(2, say("go", { forget: true }));
  await clock.advance(0);
  expect(runtime.stats()).toMatchObject({ timersCount: 1, residentCount: 1 });
  await clock.advance(1_000);
  expect(fired).toEqual([1]);
});

test("P14, RW2 — the 257th message is refused, others are unaffected, control has its own lane", async () => {
  const { clock, runtime, table, handled } = start();
  const outcomes = Array.from({ length: 257 }, (_, index) => table.cast(1, say(`n${index}`)));
  expect(outcomes.filter((outcome) => outcome === "accepted").length).toBe(256);
  expect(outcomes[256]).toBe("overloaded");
  expect(table.cast(2, say("other"))).toBe("accepted");
  const controls = Array.from({ length: 33 }, (_, i) => table.cast(1, say(`c${i}`), "control"));
  expect([controls.indexOf("overloaded"), controls.length]).toEqual([32, 33]);
  expect([table.inspect(1).waitingCount, table.waitingCount]).toEqual([288, 289]);
  await clock.advance(0);
  expect(handled.length).toBe(289);
  const ofOne = handled.filter((one) => one.startsWith("1:"));
  expect(ofOne.slice(0, 2)).toEqual(["1:c0#0@0", "1:c1#1@0"]);
  expect(ofOne.slice(31, 34)).toEqual(["1:c31#31@0", "1:n0#32@0", "1:n1#33@0"]);
  expect(runtime.stats()).toMatchObject({ refusedTotal: 2, waitingCount: 0 });
});

test("P14 — a timer finds its place in a full mailbox and takes no message's place", async () => {
  const order: string[] = [];
  const { clock, table } = start({
    limits: { mailboxMax: 3 },
    behaviour: {
      onCast: (context, step) => {
        order.push(step.say);
        if (step.say !== "slow") return undefined;
        context.setTimer(20);
        return clock.sleep(100);
      },
      onTimer: () => void order.push("timer"),
    },
  });
  table.cast(0, say("slow"));
  await clock.advance(0);
  expect([1, 2, 3, 4].map((n) => table.cast(0, say(`n${n}`)))).toEqual([
    "accepted",
    "accepted",
    "accepted",
    "overloaded",
  ]);
  await clock.advance(50);
  expect([table.inspect(0).waitingCount, table.cast(0, say("n5"))]).toEqual([3, "overloaded"]);
  await clock.advance(100);
  expect(order.splice(0)).toEqual(["slow", "n1", "n2", "n3", "timer"]);
  table.cast(0, say("slow"));
  await clock.advance(50); // the timer waits alone now, and three more have their places
  expect([1, 2, 3, 4].map((n) => table.cast(0, say(`m${n}`)) === "accepted")).toEqual([
    true,
    true,
    true,
    false,
  ]);
  await clock.advance(100);
  expect(order).toEqual(["slow", "timer", "m1", "m2", "m3"]);
});

test("P14 — castEach puts one message into many mailboxes and names those that refuse", async () => {
  const { clock, table, handled } = start({ limits: { mailboxMax: 1 } });
  table.cast(64, say("before"));
  const refused: string[] = [];
  const message = say("all");
  const accepted = table.castEach(Bitset.of([0, 31, 64, 99]), message, (slot, why) =>
    refused.push(`${slot} ${why}`),
  );
  expect([accepted, refused]).toEqual([3, ["64 overloaded"]]);
  expect(table.castEach([5, 6], message)).toBe(2);
  await clock.advance(0);
  expect(handled.toSorted()).toEqual(
    ["0:all", "31:all", "5:all", "64:before", "6:all", "99:all"].map((one) => `${one}#0@0`),
  );
});

test.each([
  { handlerMs: 0.01, floodCount: 1_000_000, samplesMin: 1_000, longestSliceMs: 3.1 },
  { handlerMs: 0.25, floodCount: 20_000, samplesMin: 700, longestSliceMs: 4 },
  { handlerMs: 1, floodCount: 20_000, samplesMin: 2_000, longestSliceMs: 16 }, // the very first turn
])(
  "P15 — a process flooded with $floodCount messages of $handlerMs ms: others answer within three slices",
  async ({ handlerMs, floodCount, samplesMin, longestSliceMs }) => {
    const turnaroundsMs: number[] = [];
    let sentAtMs: number | undefined;
    const slicesMs: number[] = [];
    let sliceBeganAtMs = 0;
    let floodedCount = 0;
    const { clock, runtime, table } = start({
      behaviour: {
        onCast: (context) => {
          clock.block(handlerMs);
          if (context.slot !== 1) return;
          turnaroundsMs.push(clock.monotonicMs() - (sentAtMs ?? 0));
          sentAtMs = undefined;
        },
      },
    });
    const [flood, other] = [say("flood"), say("other")];
    const refill = (): void => {
      slicesMs.push(clock.monotonicMs() - sliceBeganAtMs);
      sliceBeganAtMs = clock.monotonicMs();
      while (floodedCount < floodCount && table.cast(0, flood) === "accepted") floodedCount++;
      if (sentAtMs !== undefined || floodedCount === floodCount) return;
      sentAtMs = clock.monotonicMs();
      table.cast(1, other);
    };
    runtime.onSliceEnd(refill);
    refill();
    await clock.advance(0);
    const p99Ms = turnaroundsMs.toSorted((a, b) => a - b)[Math.floor(turnaroundsMs.length * 0.99)];
    expect(floodedCount).toBe(floodCount);
    expect(turnaroundsMs.length).toBeGreaterThan(samplesMin);
    expect(p99Ms).toBeLessThanOrEqual(9);
    expect(Math.max(...slicesMs)).toBeLessThanOrEqual(longestSliceMs);
  },
);

test("P15, RT1, RT2 — a slice ends after 3 ms and its listeners run before the next", async () => {
  const events: string[] = [];
  const { clock, runtime, table } = start({
    behaviour: {
      onCast: () => {
        clock.block(0.1);
        events.push("m");
      },
    },
  });
  runtime.onSliceEnd(() => events.push(`end@${Math.round(clock.monotonicMs() * 10)}`));
  for (let slot = 0; slot < 100; slot++) table.cast(slot, say("x"));
  await clock.advance(0);
  const ends = events.filter((event) => event !== "m");
  expect([events.length - ends.length, ends]).toEqual([
    100,
    ["end@30", "end@61", "end@92", "end@100"],
  ]);
  expect(runtime.stats().longestTurnMs).toBeCloseTo(1.6, 6); // 16 processes between two looks
  expect(runtime.stats().longestTurnMs).toBeCloseTo(1.6, 6); // who looks changes nothing
  runtime.resetLongestTurn();
  expect(runtime.stats().longestTurnMs).toBe(0);
});

test("P19 — 10,000 messages racing with passivation: none lost or doubled, the state is equal", async () => {
  const committed = new Map<number, number>();
  let handledCount = 0;
  let nextSlot = 0;
  const { clock, runtime, table } = start({
    behaviour: {
      init: (slot) => ({ count: committed.get(slot) ?? 0 }),
      onCast: (context, step) => {
        handledCount++;
        const count = (context.state?.count ?? -1) + 1;
        committed.set(context.slot, count);
        const forget = (): void => void (context.state = undefined);
        if (step.asyncMs !== undefined) return clock.sleep(step.asyncMs).then(forget);
        forget();
        if (handledCount % 3 === 0 && table.cast(context.slot, say("inside")) === "accepted")
          sentTo(context.slot);
        return undefined;
      },
    },
  });
  const sent = new Map<number, number>();
  const sentTo = (slot: number): void => void sent.set(slot, (sent.get(slot) ?? 0) + 1);
  for (let round = 0; round < 10_000; round++) {
    const slot = (nextSlot = (nextSlot * 7 + round) % 97);
    if (table.cast(slot, say("x", round % 5 === 0 ? { asyncMs: 1 } : {})) === "accepted")
      sentTo(slot);
    if (round % 11 === 0) await clock.advance(1);
  }
  await clock.advance(60_000);
  expect(committed).toEqual(new Map([...committed.keys()].map((slot) => [slot, sent.get(slot)])));
  expect(handledCount).toBe([...sent.values()].reduce((total, count) => total + count, 0));
  expect(runtime.stats()).toMatchObject({ residentCount: 0, waitingCount: 0, timersCount: 0 });
});

test("P19, PS1 — an idle process is asked after idleMs, told, and forgotten; a busy one is not asked", async () => {
  const asked: string[] = [];
  const { clock, runtime, table, told } = start({
    limits: { idleMs: 1_000 },
    behaviour: {
      mayPassivate: (state) => {
        asked.push(`#${state.count}@${clock.monotonicMs()}`);
        return state.count !== 2; // that one wants to stay
      },
    },
  });
  table.cast(1, say("once"));
  for (const text of ["a", "b"]) table.cast(2, say(text));
  await clock.advance(999);
  expect(asked).toEqual([]);
  await clock.advance(501);
  expect(asked).toEqual(["#1@1500", "#2@1500"]);
  expect([told, table.residentCount]).toEqual([["stop 1 #1 passivated"], 1]);
  table.cast(2, say("c"));
  await clock.advance(1_600);
  expect([told, runtime.stats().residentCount]).toEqual([
    ["stop 1 #1 passivated", "stop 2 #3 passivated"],
    0,
  ]);
  await clock.advance(3_000);
  expect(runtime.stats().timersCount).toBe(0); // nothing left to sweep
});

test("P19 — a process that waits for its timer is not asked", async () => {
  const asked: number[] = [];
  const { clock, table } = start({
    limits: { idleMs: 1_000 },
    behaviour: {
      onCast: (context) => context.setTimer(10_000),
      onTimer: (context) => void (context.state = { count: 7 }),
      mayPassivate: (state) => {
        asked.push(state.count, clock.monotonicMs());
        return true;
      },
    },
  });
  table.cast(0, say("x"));
  await clock.advance(9_999);
  expect(asked).toEqual([]);
  await clock.advance(2_000);
  expect([asked, table.residentCount]).toEqual([[7, 11_500], 0]);
});

test("P11 — kill ends a handler that never settles: killed, no onStop, later writes refused", async () => {
  let release = (): void => undefined;
  let late: unknown[] = [];
  const { clock, runtime, table, told, crashes, handled } = start({
    behaviour: {
      onContinue: async (context) => {
        if (context.generation > 0) return;
        await new Promise<void>((resolve) => (release = resolve));
        context.state = { count: 99 };
        context.setTimer(10);
        late = [context.isCurrent, context.state];
      },
    },
  });
  for (const text of ["a", "b"]) table.cast(4, say(text));
  await clock.advance(100);
  expect(table.kill(4)).toBe(2);
  expect(crashes).toMatchObject([
    { slot: 4, reason: "killed", during: "continue", next: "forgotten" },
  ]);
  expect(table.inspect(4)).toMatchObject({ phase: "idle", generation: 1, state: undefined });
  table.cast(4, say("new"));
  await clock.advance(0);
  release();
  await clock.advance(1_000);
  expect([handled, late, told]).toEqual([["4:new#0@100"], [false, undefined], []]);
  expect(table.stateOf(4)).toEqual({ count: 1 });
  expect(runtime.stats()).toMatchObject({ staleWritesTotal: 1, timersCount: 0, busyCount: 0 });
  expect([table.kill(4), table.kill(4), table.kill(400)]).toEqual([0, 0, 0]);
  expect(crashes.map((crash) => crash.during)).toEqual(["continue", "idle"]); // the second: nothing there
});

test("P11 — a handler may kill its own process: the turn is over, what comes later starts anew", async () => {
  const seen: string[] = [];
  const { clock, runtime, table } = start({
    behaviour: {
      onCast: (context, step: Step) => {
        seen.push(`${step.say}#${context.generation}`);
        if (step.say !== "die") return;
        context.table.kill(context.slot);
        context.state = { count: 5 };
        table.cast(context.slot, say("reborn"));
      },
    },
  });
  for (const text of ["die", "lost"]) table.cast(0, say(text));
  await clock.advance(0);
  expect(seen).toEqual(["die#0", "reborn#1"]);
  expect(table.stateOf(0)).toEqual({ count: 0 });
  expect(runtime.stats()).toMatchObject({ staleWritesTotal: 1, waitingCount: 0, residentCount: 1 });
});
