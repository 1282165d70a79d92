// Goal: how processes begin and end: spawn, IGNORE, exit, context.stop, temporary tables (P3, P5 to P7).
// Long: both kinds of activation, with every way to begin and to end.
import { expect, test } from "vitest";
import { IGNORE } from "./behaviour.ts";
import { NORMAL } from "./exit.ts";
import { noteOutcomes, say, start, type StartOptions } from "./harness.ts";

test("P5 — a throwing init: failed with its error, no crash report, the name is free", async () => {
  let mustFail = true;
  const error = new Error("no state");
  const { clock, runtime, table, crashes } = start({
    activation: "spawned",
    behaviour: {
      init: () => {
        if (mustFail) throw error;
        return { count: 0 };
      },
    },
  });
  expect(table.spawn(1)).toEqual({ kind: "failed", error });
  expect([table.inspect(1).phase, table.cast(1, say("x"))]).toEqual(["absent", "noproc"]);
  mustFail = false;
  expect(table.spawn(1).kind).toBe("started");
  await clock.advance(1_000);
  expect([crashes, runtime.stats().residentCount]).toEqual([[], 1]);
});

test("P5 — IGNORE: not registered; messages that wait are handed back, calls get noproc", async () => {
  let mayStart = false;
  const dropped: string[] = [];
  const options: StartOptions = {
    behaviour: {
      init: () => (mayStart ? { count: 0 } : IGNORE),
      onCall: () => "here",
      onDrop: (slot, message) => void dropped.push(`${slot}:${message.say}`),
    },
  };
  const spawned = start({ ...options, activation: "spawned" });
  expect(spawned.table.spawn(1)).toEqual({ kind: "ignored" });
  expect(spawned.table.cast(1, say("x"))).toBe("noproc");
  const { clock, runtime, table, crashes, handled } = start(options);
  const { outcomes, note } = noteOutcomes(clock);
  for (const text of ["a", "b"]) table.cast(1, say(text));
  note(table.call(1, say("call")));
  table.monitor(1, ({ exit }) => outcomes.push(`down ${exit.kind}`));
  table.castEach([1, 2], say("fanned")); // slot 2 is new
  await clock.settle();
  table.castEach([1, 2], say("fanned too")); // straight from the fan-out
  await clock.settle();
  expect(dropped).toEqual([
    ...["1:a", "1:b", "1:fanned", "2:fanned", "1:fanned too", "2:fanned too"],
  ]);
  expect(outcomes.toSorted()).toEqual(["down noproc", "exit noproc@0"]);
  expect(runtime.stats()).toMatchObject({ waitingCount: 0, callsCount: 0, residentCount: 0 });
  mayStart = true;
  table.cast(1, say("now"));
  await clock.settle();
  expect([handled.length, crashes]).toEqual([1, []]);
  expect((await runtime.drain(10)).kind).toBe("drained");
});

test("P6 — a second start of a process: already_started with the same ref, in every phase", async () => {
  const { clock, table } = start({
    activation: "spawned",
    behaviour: { onContinue: () => clock.sleep(20) },
  });
  const first = table.spawn(4);
  expect(first).toEqual({ kind: "started", ref: { slot: 4, generation: 0 } });
  const again = { kind: "already_started", ref: { slot: 4, generation: 0 } };
  expect(table.spawn(4)).toEqual(again); // queued
  await clock.settle();
  expect(table.spawn(4)).toEqual(again); // loads
  await clock.advance(50);
  expect(table.spawn(4)).toEqual(again); // idle
  table.cast(4, say("boom", { crash: true }));
  await clock.settle();
  expect(table.spawn(4)).toEqual({ ...again, ref: { slot: 4, generation: 1 } }); // backs off
  expect([
    table.isAlive({ slot: 4, generation: 0 }),
    table.isAlive({ slot: 4, generation: 1 }),
  ]).toEqual([false, true]);
  table.quarantine(4, new Error("by hand"));
  expect(table.spawn(4)).toEqual({ kind: "quarantined" });
  table.stop();
  expect(table.spawn(4)).toEqual({ kind: "stopped" });
});

test("P6, P7 — on demand: started once, and again after a kill in the ready queue", async () => {
  const { clock, table } = start({ behaviour: { onContinue: () => undefined } });
  expect([table.spawn(1).kind, table.spawn(1).kind]).toEqual(["started", "already_started"]);
  expect([table.kill(1), table.spawn(1).kind]).toEqual([0, "started"]);
  table.cast(2, say("x"));
  table.kill(2);
  expect([table.spawn(2).kind, table.spawn(2).kind]).toEqual(["started", "already_started"]);
  await clock.settle();
  expect([table.stateOf(1), table.stateOf(2)]).toEqual([{ count: 0 }, { count: 0 }]);
});

test("P3, P7 — exit of a spawned process: onStop, then what waits is lost and told; the name is free", async () => {
  const events: string[] = [];
  const { clock, runtime, table, handled, keptCount } = start({
    activation: "spawned",
    behaviour: {
      onCall: () => "reply",
      onStop: (slot, state, exit) => {
        events.push(`stop ${slot} #${state.count} ${exit.kind} ${table.inspect(slot).phase}`);
      },
      onDrop: (slot, message) => void events.push(`drop ${slot}:${message.say}`),
    },
  });
  const { outcomes, note } = noteOutcomes(clock);
  for (const slot of [1, 2]) table.spawn(slot);
  table.cast(1, say("slow", { asyncMs: 30 }));
  await clock.settle();
  for (const text of ["a", "b"]) table.cast(1, say(text));
  note(table.call(1, say("call")));
  table.castEach([2], say("fanned"));
  expect([table.exit(1, NORMAL), table.exit(2), table.exit(3)]).toEqual([true, true, false]);
  expect(events.splice(0)).toEqual(["stop 2 #0 shutdown absent", "drop 2:fanned"]);
  await clock.advance(30); // the running handler of 1 finishes
  expect(events).toEqual(["stop 1 #1 normal absent", "drop 1:a", "drop 1:b"]);
  expect([handled, outcomes]).toEqual([["1:slow#0@30"], ["exit normal@30"]]);
  expect(table.cast(1, say("x"))).toBe("noproc");
  expect(runtime.stats()).toMatchObject({ droppedTotal: 3, waitingCount: 0, residentCount: 0 });
  expect(keptCount()).toBe(0);
});

test("P19 — exit and context.stop on demand: what waits begins the process anew", async () => {
  const { clock, table, handled, told } = start({
    behaviour: {
      onCast: (context, step) => {
        handled.push(`${step.say}#${context.generation}`);
        if (step.say === "stop") context.stop();
      },
    },
  });
  for (const text of ["a", "stop", "b", "c"]) table.cast(1, say(text));
  await clock.settle();
  expect(handled.splice(0)).toEqual(["a#0", "stop#0", "b#1", "c#1"]);
  table.castEach([1], say("fanned"));
  expect(table.exit(1)).toBe(true);
  await clock.settle();
  expect([handled, told]).toEqual([["fanned#2"], ["stop 1 #0 normal", "stop 1 #0 shutdown"]]);
  expect([table.exit(9), table.waitingCount]).toEqual([false, 0]);
});

test("P10 — a spawned process that was to end after its handler ends also when that handler crashes", async () => {
  const { clock, table, crashes, keptCount } = start({ activation: "spawned" });
  const seen: string[] = [];
  for (const slot of [1, 2]) {
    table.spawn(slot);
    table.monitor(slot, ({ exit }) => seen.push(exit.kind));
    table.cast(slot, say("boom", { crash: true, asyncMs: 20 }));
  }
  await clock.settle();
  table.exit(1);
  await clock.advance(1_000);
  expect(seen).toEqual(["error", "error"]);
  expect(crashes.map(({ slot, next }) => `${slot} ${next}`).slice(0, 2)).toEqual([
    "1 forgotten",
    "2 retry",
  ]);
  expect([1, 2].map((slot) => table.cast(slot, say("x")))).toEqual(["noproc", "accepted"]);
  await clock.advance(60_000);
  expect(keptCount()).toBe(0);
});

test("P10, P7 — temporary: a crash ends it with one report and DOWN error, and its name is free", async () => {
  const dropped: string[] = [];
  const { clock, runtime, table, crashes, handled, keptCount } = start({
    activation: "spawned",
    restart: "temporary",
    behaviour: {
      onDrop: (_slot, message) => void dropped.push(message.say),
      onDeadLetter: (_slot, message, cause) =>
        void dropped.push(`${message.say} (${String(cause)})`),
    },
  });
  const seen: string[] = [];
  table.spawn(1);
  table.monitor(1, ({ exit }) => seen.push(`${exit.kind} ${table.spawn(1).kind}`));
  table.cast(1, say("boom", { crash: true }));
  table.cast(1, say("lost"));
  await clock.settle();
  expect(crashes).toMatchObject([{ slot: 1, reason: "error", next: "forgotten", delayMs: 0 }]);
  expect([dropped, seen]).toEqual([["lost", "boom (Error: boom)"], ["error started"]]);
  table.cast(1, say("again"));
  await clock.advance(60_000);
  expect(handled).toEqual(["1:again#0@0"]);
  expect(runtime.stats()).toMatchObject({ crashesTotal: 1, restartsTotal: 0, timersCount: 0 });
  expect([table.sums().crashedCount, keptCount()]).toEqual([0, 0]);
});

test("P10 — temporary on demand: what waits begins it anew; one that cannot begin takes it along", async () => {
  let mustFail = false;
  const dropped: string[] = [];
  const { clock, runtime, table, crashes, handled } = start({
    restart: "temporary",
    behaviour: {
      init: () => {
        if (mustFail) throw new Error("init");
        return { count: 0 };
      },
      onCall: () => "reply",
      onDrop: (_slot, message) => void dropped.push(message.say),
    },
  });
  const { outcomes, note } = noteOutcomes(clock);
  table.cast(1, say("boom", { crash: true }));
  table.cast(1, say("next"));
  await clock.settle();
  expect([handled, crashes.length]).toEqual([["1:next#0@0"], 1]);
  mustFail = true;
  for (const text of ["a", "b"]) table.cast(2, say(text));
  note(table.call(2, say("call")));
  table.castEach([3], say("c"));
  await clock.settle(); // and does not begin for ever
  expect([dropped, outcomes, crashes.length]).toEqual([["a", "b", "c"], ["exit error@0"], 3]);
  expect(runtime.stats()).toMatchObject({ waitingCount: 0, callsCount: 0 });
});

test("P12 — a process that stops in onContinue does not begin and end for ever with what waits", async () => {
  const dropped: string[] = [];
  let startsCount = 0;
  const { clock, table, handled, told } = start({
    behaviour: {
      onContinue: (context) => {
        startsCount++;
        context.stop();
        return context.slot === 2 ? clock.sleep(10) : undefined;
      },
      onDrop: (slot, message) => void dropped.push(`${slot}:${message.say}`),
    },
  });
  for (const slot of [1, 2]) for (const text of ["a", "b"]) table.cast(slot, say(text));
  await clock.advance(100);
  expect([dropped, startsCount]).toEqual([["1:a", "1:b", "2:a", "2:b"], 2]);
  expect([handled, told]).toEqual([[], ["stop 1 #0 normal", "stop 2 #0 normal"]]);
});

test("P12, P19 — a process that was loaded without messages loads again after it was passivated", async () => {
  let loadsCount = 0;
  const { clock, table, handled } = start({
    limits: { idleMs: 1_000 },
    behaviour: {
      onContinue: async (context) => {
        await clock.sleep(10);
        context.state = { count: ++loadsCount * 100 };
      },
      mayPassivate: () => true,
    },
  });
  table.spawn(1);
  await clock.advance(5_000);
  expect([table.residentCount, loadsCount]).toEqual([0, 1]);
  table.cast(1, say("x"));
  await clock.advance(100);
  expect(handled).toEqual(["1:x#200@5010"]);
});

test("P25 — callbacks may end what they are told of, and the table: each is told once", async () => {
  const told: string[] = [];
  const { clock, runtime, table, crashes, keptCount } = start({
    activation: "spawned",
    limits: { idleMs: 1_000 },
    behaviour: {
      onStop: (slot) => {
        told.push(`stop ${slot}`);
        expect([table.exit(slot), table.kill(slot)]).toEqual([false, 0]);
        if (slot === 2) table.stop();
        if (slot === 3) runtime.stop();
      },
      onDrop: (slot, message) => {
        told.push(`drop ${message.say}`);
        table.spawn(slot);
        table.cast(slot, say("inside"));
        table.kill(slot);
      },
      mayPassivate: () => true,
    },
  });
  for (const slot of [1, 2, 3]) table.spawn(slot);
  for (const text of ["a", "b"]) table.cast(1, say(text));
  table.exit(1);
  expect(told.splice(0)).toEqual(["stop 1", "drop a", "drop b"]);
  expect([table.waitingCount, crashes.length]).toEqual([0, 2]);
  table.exit(2);
  await clock.advance(10_000);
  expect(told).toEqual(["stop 2", "stop 3"]);
  expect(runtime.stats()).toMatchObject({ waitingCount: 0, residentCount: 0, timersCount: 0 });
  expect([keptCount(), clock.timersCount]).toEqual([0, 0]);
});

test("RT3 — a table that its own passivation stops leaves no timer behind", async () => {
  const { clock, runtime, table } = start({
    limits: { idleMs: 1_000 },
    behaviour: {
      mayPassivate: () => true,
      onStop: () => table.stop(),
    },
  });
  for (const slot of [1, 2]) table.spawn(slot);
  await clock.advance(10_000);
  expect([table.isStopped, clock.timersCount, runtime.stats().residentCount]).toEqual([true, 0, 0]);
});

test("P5, P11 — an init that kills its process or stops the table leaves no state behind", async () => {
  const { clock, runtime, table, crashes, keptCount } = start({
    behaviour: {
      init: (slot) => {
        if (slot === 1) table.kill(1);
        if (slot === 2) table.stop();
        return { count: 0 };
      },
    },
  });
  table.castEach([0, 1], say("first")); // makes room
  await clock.settle();
  expect([table.residentCount, crashes.length]).toEqual([1, 1]);
  table.castEach([1], say("fanned"));
  await clock.settle();
  expect([table.residentCount, table.waitingCount, crashes.length]).toEqual([1, 0, 2]);
  table.cast(2, say("stop"));
  await clock.advance(1_000);
  expect(runtime.stats()).toMatchObject({ residentCount: 0, waitingCount: 0, timersCount: 0 });
  expect([table.isStopped, keptCount()]).toEqual([true, 0]);
});

test("P10 — anything can be thrown: what has no text, and a keyOf that throws", async () => {
  const { clock, table, handled, crashes } = start({
    keyOf: (slot) => {
      if (slot === 1) throw new Error("keyOf");
      return `key ${slot}`;
    },
    behaviour: {
      onDown: () => undefined,
      onCast: (context, step) => {
        if (step.crash !== true) handled.push(step.say);
        else if (context.slot === 0) throw Object.create(null);
        else throw undefined;
      },
    },
  });
  for (const slot of [0, 1]) table.cast(slot, say("boom", { crash: true }));
  table.cast(2, say("fine"));
  await clock.settle();
  expect(handled).toEqual(["fine"]);
  expect(crashes.map(({ key }) => key)).toEqual(["key 0", "1"]);
  expect(table.inspect(0).lastError).toBe("an object without a text");
});

test("P5, P12 — a spawn runs init once; onContinue has its state, and comes before what was cast", async () => {
  const told: string[] = [];
  const { clock, table } = start({
    activation: "spawned",
    behaviour: {
      init: (slot) => {
        told.push(`init ${slot}`);
        return { count: 7 };
      },
      onContinue: (context) => void told.push(`continue #${context.state?.count ?? -1}`),
      onCast: (_context, step) => void told.push(step.say),
    },
  });
  expect(table.spawn(3)).toMatchObject({ kind: "started" });
  expect([table.residentCount, table.stateOf(3)]).toEqual([1, { count: 7 }]);
  table.cast(3, say("hello"));
  table.castEach([3], say("all"));
  await clock.advance(0);
  expect(told).toEqual(["init 3", "continue #7", "hello", "all"]);
});
