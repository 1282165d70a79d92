// Goal: crash, back-off, dead letter, quarantine (P10, P11, S40, S41 and RS1–RS3 of restart.ts).
// Method: messages crash the handler on demand, the test moves the clock. Long, as the rows of the
// README's table of crashes are: one place says what follows a crash.
import { expect, test } from "vitest";
import { say, start } from "./harness.ts";

test("P10, S40 — a crash drops the state, is told once, and the message goes through later", async () => {
  let mustFail = true;
  const { clock, runtime, table, handled, crashes } = start({
    behaviour: {
      init: (slot) => ({ count: slot * 10 }),
      onCast: (context, step) => {
        if (step.crash === true && mustFail) {
          mustFail = false;
          throw new Error("boom");
        }
        const count = context.state?.count ?? -1;
        handled.push(`${context.slot}:${step.say}#${count}`);
        context.state = { count: count + 1 };
      },
    },
  });
  for (const text of ["a", "b", "c"]) table.cast(2, say(text, { crash: text === "b" }));
  table.cast(3, say("sibling"));
  await clock.advance(0);
  expect(handled).toEqual(["2:a#20", "3:sibling#30"]);
  expect(crashes).toEqual([
    {
      table: "p7",
      slot: 2,
      key: "2",
      reason: "error",
      during: "cast",
      messageKind: "step",
      cause: new Error("boom"),
      recentCrashCount: 1,
      next: "retry",
      delayMs: expect.any(Number) as number,
    },
  ]);
  expect(table.inspect(2)).toMatchObject({
    phase: "backing_off",
    generation: 1,
    state: undefined,
    waitingCount: 2,
    retryInMs: crashes[0]!.delayMs,
  });
  await clock.advance(200);
  expect(handled.slice(2)).toEqual(["2:b#20", "2:c#21"]);
  expect(table.stateOf(3)).toEqual({ count: 31 });
  expect(crashes.length).toBe(1);
  expect(runtime.stats()).toMatchObject({ crashesTotal: 1, restartsTotal: 1, residentCount: 2 });
});

test("P10 — a rejected promise crashes like a throw; stop, kill of nothing and passivation do not", async () => {
  const { clock, runtime, table, crashes } = start({ limits: { idleMs: 100 } });
  table.cast(1, say("late", { crash: true, asyncMs: 30 }));
  await clock.advance(30);
  expect(crashes.map((crash) => [crash.reason, String(crash.cause)])).toEqual([
    ["error", "Error: late"],
  ]);
  table.kill(2);
  runtime.stop();
  await clock.advance(10_000);
  expect(crashes.length).toBe(1);
});

test("S41, RS1 — the message that crashes its process three times is dead-lettered, the process lives", async () => {
  const dead: string[] = [];
  const { clock, runtime, table, handled, crashes } = start({
    behaviour: {
      onDeadLetter: (slot, message, cause) =>
        void dead.push(`${slot} ${message.say} ${String(cause)}`),
    },
  });
  table.cast(0, say("a"));
  table.cast(0, say("poison", { crash: true }));
  table.cast(0, say("b"));
  await clock.advance(5_000);
  expect(crashes.map((crash) => crash.next)).toEqual(["retry", "retry", "dead_letter"]);
  expect(dead).toEqual(["0 poison Error: poison"]);
  expect(handled.length).toBe(2);
  const bAtMs = Number(handled[1]!.split("@")[1]);
  expect(handled).toEqual(["0:a#0@0", `0:b#0@${bAtMs}`]);
  expect(bAtMs).toBeLessThanOrEqual(5_000);
  expect(table.inspect(0)).toMatchObject({ phase: "idle", recentCrashCount: 0 });
  expect(runtime.stats()).toMatchObject({ deadLetteredTotal: 1, quarantinedCount: 0 });
});

test("S41 — a poison message that hangs is dead-lettered too, however long each try takes", async () => {
  const dead: string[] = [];
  const { clock, table, crashes, handled } = start({
    behaviour: { onDeadLetter: (_slot, message) => void dead.push(message.say) },
  });
  table.cast(0, say("hangs", { asyncMs: 10 ** 9 }));
  table.cast(0, say("next"));
  await clock.advance(95_000);
  expect(crashes.map(({ reason, next }) => `${reason} ${next}`)).toEqual([
    "handler_timeout retry",
    "handler_timeout retry",
    "handler_timeout dead_letter",
  ]);
  expect([dead, handled.length, table.generationOf(0)]).toEqual([["hangs"], 1, 3]);
});

test("P11, S40 — an abandoned handler's late writes and its late failure count for nothing", async () => {
  const { clock, runtime, table, crashes, handled } = start({
    limits: { handlerMaxMs: 1_000, poisonMax: 2 },
  });
  table.cast(0, say("late", { asyncMs: 1_500 }));
  table.cast(1, say("late and bad", { asyncMs: 1_500, crash: true }));
  await clock.advance(10_000);
  expect(crashes.map(({ slot, reason }) => `${slot} ${reason}`).toSorted()).toEqual([
    "0 handler_timeout",
    "0 handler_timeout",
    "1 handler_timeout",
    "1 handler_timeout",
  ]);
  expect(handled.map((one) => one.split("@")[0])).toEqual(["0:late#-1", "0:late#-1"]); // no state
  expect(runtime.stats()).toMatchObject({
    staleWritesTotal: 2,
    deadLetteredTotal: 2,
    busyCount: 0,
  });
  expect(table.stateOf(0)).toBeUndefined();
});

/** Crashes on each message once, so that no message is poison. */
function startFragile(seed = 1) {
  const failed = new Set<unknown>();
  const spilled: string[] = [];
  const released: string[] = [];
  const harness = start({
    seed,
    behaviour: {
      onCast: (context, step) => {
        const wasSeen = failed.has(step);
        failed.add(step);
        if (step.crash === true && !wasSeen) throw new Error(step.say);
        harness.handled.push(`${context.slot}:${step.say}`);
      },
      onQuarantine: (slot, waiting) =>
        void spilled.push(`${slot}: ${waiting.map((message) => message.say).join(" ")}`),
      onRelease: (slot) => void released.push(`${slot}@${harness.clock.monotonicMs()}`),
    },
  });
  const crashFourTimes = async (slot: number): Promise<void> => {
    for (let count = 1; count <= 4; count++) {
      harness.table.cast(slot, say(`c${count}`, { crash: true }));
      await harness.clock.advance(3_000);
    }
  };
  return { ...harness, spilled, released, crashFourTimes };
}

test("S40, RS2, RS3 — back-off 0.1, 0.4, 1.6 s ± 50 %; the 4th crash in 60 s is quarantine", async () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const { clock, runtime, table, handled, crashes, spilled } = startFragile(seed);
    table.cast(9, say("sibling"));
    for (const n of [1, 2, 3, 4]) table.cast(8, say(`c${n}`, { crash: true }));
    table.cast(8, say("last"));
    await clock.advance(20_000);
    expect(crashes.map(({ next }) => next)).toEqual(["retry", "retry", "retry", "quarantine"]);
    for (const [index, plainMs] of [100, 400, 1_600].entries()) {
      expect(crashes[index]!.delayMs).toBeGreaterThanOrEqual(plainMs * 0.5);
      expect(crashes[index]!.delayMs).toBeLessThanOrEqual(plainMs * 1.5);
    }
    expect(handled).toEqual(["9:sibling", "8:c1", "8:c2", "8:c3"]);
    expect(spilled).toEqual(["8: c4 last"]);
    expect(table.cast(8, say("refused"))).toBe("quarantined");
    expect(table.cast(8, say("refused"), "control")).toBe("quarantined");
    expect(table.cast(9, say("fine"))).toBe("accepted");
    expect(table.inspect(8)).toMatchObject({
      phase: "quarantined",
      state: { count: 0 }, // kept for a person to look at
      waitingCount: 0,
    });
    expect(runtime.stats()).toMatchObject({ quarantinedCount: 1, refusedTotal: 2 });
  }
});

test("S40 — released after 5 min, then 10 … up to 1 h when it goes on; forgiven when it is well", async () => {
  const { clock, table, crashes, released, crashFourTimes } = startFragile();
  for (let round = 0; round < 6; round++) {
    await crashFourTimes(1);
    const { next, delayMs } = crashes.at(-1)!;
    expect(next).toBe("quarantine");
    expect(table.inspect(1).phase).toBe("quarantined");
    await clock.advance(delayMs + 20);
    expect([released.length, table.inspect(1).phase]).toEqual([round + 1, "idle"]);
  }
  const plainMin = [5, 10, 20, 40, 60, 60];
  const quarantines = crashes.filter(({ next }) => next === "quarantine");
  expect(quarantines.length).toBe(6);
  for (const [round, { delayMs }] of quarantines.entries()) {
    expect(delayMs).toBeGreaterThanOrEqual(plainMin[round]! * 60_000);
    expect(delayMs).toBeLessThanOrEqual(plainMin[round]! * 66_000);
  }
  table.cast(1, say("well"));
  await clock.advance(0);
  expect(table.inspect(1)).toMatchObject({ phase: "idle", recentCrashCount: 0 });
  await crashFourTimes(1);
  expect(crashes.at(-1)!.delayMs).toBeLessThanOrEqual(330_000); // from the beginning again
});

test("S40 — an operator's reset ends quarantine and back-off at once", async () => {
  const { clock, runtime, table, handled, released, crashFourTimes } = startFragile();
  await crashFourTimes(1);
  expect([table.reset(1), table.reset(1), table.reset(2)]).toEqual([true, false, false]);
  table.cast(1, say("again"));
  table.cast(2, say("backs off", { crash: true }));
  await clock.advance(0);
  expect([handled.at(-1), released.length]).toEqual(["1:again", 1]);
  expect(table.inspect(2).phase).toBe("backing_off");
  expect(table.reset(2)).toBe(true);
  await clock.advance(0);
  expect(handled.at(-1)).toBe("2:backs off");
  expect(runtime.stats()).toMatchObject({ quarantinedCount: 0, timersCount: 0 });
});

test("S40 — a reset whose onRelease quarantines again leaves a quarantine that is listed and ends", async () => {
  let isBad = true;
  const { clock, runtime, table } = start({
    behaviour: {
      onRelease: (slot) => {
        if (isBad) table.quarantine(slot, new Error("still bad"));
        isBad = false;
      },
    },
  });
  table.quarantine(1, new Error("bad"));
  expect(table.reset(1)).toBe(true);
  expect(table.inspect(1)).toMatchObject({ phase: "quarantined", retryInMs: 300_000 });
  expect(table.quarantined(9).map(({ slot }) => slot)).toEqual([1]);
  expect(runtime.stats().quarantinedCount).toBe(1);
  await clock.advance(300_020);
  expect([table.cast(1, say("x")), runtime.stats().quarantinedCount]).toEqual(["accepted", 0]);
});

test("S40 — a reset begins a new generation: what was begun before it counts no more", async () => {
  const { table, crashFourTimes } = startFragile();
  await crashFourTimes(1);
  const generation = table.generationOf(1);
  table.reset(1);
  expect(table.generationOf(1)).toBe(generation + 1);
});

test("S40 — quarantines by hand count as the automatic ones: each in a row is twice as long", async () => {
  const { clock, table, crashes, crashFourTimes } = startFragile();
  for (const minutes of [5, 10]) {
    table.quarantine(1, "by hand");
    expect(crashes.at(-1)!.delayMs).toBe(minutes * 60_000);
    await clock.advance(minutes * 60_000 + 20);
  }
  await crashFourTimes(1);
  const { delayMs, reason } = crashes.at(-1)!;
  expect(reason).toBe("error");
  expect(delayMs).toBeGreaterThanOrEqual(20 * 60_000);
  expect(delayMs).toBeLessThanOrEqual(22 * 60_000);
});

test("S40 — processes that were quarantined together are released apart, over up to a tenth of the time", async () => {
  const { clock, table, crashes } = start({ limits: { systemicMax: 100, crashMax: 0 } });
  for (let slot = 0; slot < 50; slot++) table.cast(slot, say("bad", { crash: true }));
  await clock.settle();
  expect(crashes.map(({ next }) => next)).toEqual(Array.from({ length: 50 }, () => "quarantine"));
  const delaysMs = crashes.map(({ delayMs }) => delayMs);
  expect(new Set(delaysMs).size).toBe(50);
  expect(Math.min(...delaysMs)).toBeGreaterThanOrEqual(300_000);
  expect(Math.max(...delaysMs)).toBeLessThanOrEqual(330_000);
  expect(Math.max(...delaysMs) - Math.min(...delaysMs)).toBeGreaterThan(20_000);
});

test("S40 — three crashes in 60 s are survived again and again; old ones are forgiven", async () => {
  const { clock, table, crashes, handled } = startFragile();
  for (let round = 0; round < 5; round++) {
    for (const n of [1, 2, 3]) table.cast(0, say(`${round}.${n}`, { crash: true }));
    await clock.advance(70_000);
  }
  expect(crashes.map((crash) => crash.next)).toEqual(Array.from({ length: 15 }, () => "retry"));
  expect(handled.length).toBe(15);
});

test("S40 — a throwing init is the process's fault: quarantine, and the message comes back", async () => {
  const spilled: string[] = [];
  const { clock, table, crashes } = start({
    behaviour: {
      init: () => {
        throw new Error("bad state");
      },
      onQuarantine: (_slot, waiting) => void spilled.push(...waiting.map((one) => one.say)),
    },
  });
  for (const text of ["a", "b"]) table.cast(0, say(text));
  await clock.advance(10_000);
  expect(crashes.map(({ during, next }) => `${during} ${next}`)).toEqual([
    "init retry",
    "init retry",
    "init retry",
    "init quarantine",
  ]);
  expect(spilled).toEqual(["a", "b"]);
});

test("S40, S41 — when every message is poison, the process is at fault: quarantine, not one by one", async () => {
  const spilled: string[] = [];
  const { clock, runtime, table } = start({
    behaviour: {
      onQuarantine: (_slot, waiting) => void spilled.push(...waiting.map((m) => m.say)),
    },
  });
  for (let n = 1; n <= 6; n++) table.cast(0, say(`m${n}`, { crash: true }));
  await clock.advance(30_000);
  expect(spilled).toEqual(["m4", "m5", "m6"]);
  expect(runtime.stats()).toMatchObject({ deadLetteredTotal: 3, quarantinedCount: 1 });
});

test("S41, RS1 — dead letters count in a row only: with a success between them the process is not at fault", async () => {
  let wasOnce = false;
  const { clock, runtime, table, handled } = start({
    behaviour: {
      onCast: (_context, { say: text }) => {
        if (text.startsWith("poison")) throw new Error(text);
        if (text === "once" && !wasOnce) {
          wasOnce = true;
          throw new Error(text);
        }
        handled.push(text);
      },
    },
  });
  table.cast(0, say("once")); // its crash is remembered for a minute, beyond every success
  for (let n = 1; n <= 4; n++) for (const text of ["poison", "fine"]) table.cast(0, say(text + n));
  await clock.advance(30_000);
  expect(handled).toEqual(["once", "fine1", "fine2", "fine3", "fine4"]);
  expect(runtime.stats()).toMatchObject({ deadLetteredTotal: 4, quarantinedCount: 0 });
});

test("S41, RS1 — a message that went through has no crash any more: sent again it is not poison", async () => {
  const { clock, table, crashes, handled } = start({
    behaviour: {
      onCast: (_context, { say: text }) => {
        tries++;
        if (tries % 2 === 1) throw new Error(text);
        handled.push(text);
      },
    },
  });
  let tries = 0;
  const shared = say("shared");
  for (let round = 0; round < 3; round++) {
    table.cast(0, shared);
    await clock.advance(10_000);
  }
  expect(crashes.map(({ next }) => next)).toEqual(["retry", "retry", "retry"]);
  expect(handled).toEqual(["shared", "shared", "shared"]);
});

test("S40 — a crash in onTimer rebuilds the process, and onContinue arms what it needs", async () => {
  const order: string[] = [];
  const { clock, table, crashes } = start({
    behaviour: {
      onContinue: (context) => {
        order.push(`continue#${context.generation}`);
        context.setTimer(40);
      },
      onCast: () => void order.push("message"),
      onTimer: (context) => {
        order.push(`timer#${context.generation}`);
        if (context.generation === 0) throw new Error("timer");
      },
    },
  });
  table.cast(0, say("start"));
  await clock.advance(1_000);
  expect(order).toEqual(["continue#0", "message", "timer#0", "continue#1", "timer#1"]);
  expect(crashes).toMatchObject([{ during: "timer", messageKind: undefined, next: "retry" }]);
  expect(table.residentCount).toBe(1);
});

test("S41 — 1,000 processes that crash together come back spread over at least 100 ms", async () => {
  const backAtMs: number[] = [];
  const crashed = new Set<number>();
  const { clock, runtime, table } = start({
    limits: { systemicMax: 1_000 },
    behaviour: {
      onCast: (context) => {
        if (!crashed.has(context.slot)) {
          crashed.add(context.slot);
          throw new Error("all at once");
        }
        backAtMs.push(clock.monotonicMs());
      },
    },
  });
  for (let slot = 0; slot < 1_000; slot++) table.cast(slot, say("x"));
  await clock.advance(500);
  expect(backAtMs.length).toBe(1_000);
  expect(Math.max(...backAtMs) - Math.min(...backAtMs)).toBeGreaterThanOrEqual(100);
  expect(runtime.stats()).toMatchObject({ crashesTotal: 1_000, restartsTotal: 1_000 });
});

test("a callback that throws is counted and told, and harms nobody", async () => {
  const { clock, runtime, table, told, handled } = start({
    behaviour: {
      onDeadLetter: () => {
        throw new Error("dl");
      },
    },
  });
  runtime.onSliceEnd(() => {
    if (handled.length === 1) throw new Error("slice");
  });
  table.cast(0, say("poison", { crash: true }));
  table.cast(0, say("fine"));
  await clock.advance(2_000);
  expect(handled.length).toBe(1);
  expect(told).toEqual(["onDeadLetter: Error: dl", "onSliceEnd: Error: slice"]);
  expect(runtime.stats().callbackErrorsTotal).toBe(2);
});
