// Goal: a call gets exactly one outcome, in time, whatever becomes of the callee (CA1, CA2).
// Method: messages script the callee, the test moves the clock. Long, since outcomes are many: each
// way a call can end stands here once.
import { BugError } from "@carillon/kernel";
import { expect, test } from "vitest";
import { type From, NO_REPLY } from "./behaviour.ts";
import { NOCONNECTION } from "./exit.ts";
import { noteOutcomes, say, start, type StartOptions, type Step } from "./harness.ts";

/** Answers the text and its count; the message may take time or crash. */
function startCalls(options: StartOptions = {}) {
  const owed: From<unknown>[] = [];
  const harness = start({
    ...options,
    behaviour: {
      onCall: (context, step: Step, from) => {
        if (step.crash === true && step.asyncMs === undefined) throw new Error(step.say);
        const answer = (): unknown => {
          if (step.crash === true) throw new Error(step.say);
          const count = context.state?.count ?? -1;
          context.state = { count: count + 1 };
          harness.handled.push(`${context.slot}:${step.say}#${count}`);
          if (step.say !== "later") return `${step.say}#${count}`;
          owed.push(from);
          return NO_REPLY;
        };
        return step.asyncMs === undefined
          ? answer()
          : harness.clock.sleep(step.asyncMs).then(answer);
      },
      ...options.behaviour,
    },
  });
  return { ...harness, owed, ...noteOutcomes(harness.clock) };
}

test("P4, CA1 — replies: at once, by promise, and later by `from`, which is good for one reply", async () => {
  const { clock, runtime, table, owed, outcomes, note } = startCalls();
  note(table.call(1, say("now")));
  note(table.call(1, say("slow", { asyncMs: 30 })));
  note(table.call(1, say("later")));
  await clock.advance(40);
  expect(outcomes).toEqual(["reply now#0@0", "reply slow#1@30"]);
  expect(runtime.stats()).toMatchObject({ callsCount: 1, waitingCount: 0, busyCount: 0 });
  expect([owed[0]!.reply("at last"), owed[0]!.reply("again")]).toEqual([true, false]);
  await clock.advance(0);
  expect(outcomes[2]).toBe("reply at last@40");
  expect(runtime.stats()).toMatchObject({ callsCount: 0, lateRepliesTotal: 1, timersCount: 0 });
});

test("P3 — a call to a process that was never spawned is answered noproc at once", async () => {
  const { clock, runtime, table, outcomes, note } = startCalls({ activation: "spawned" });
  note(table.call(5, say("x")));
  expect(table.cast(5, say("x"))).toBe("noproc");
  await clock.settle();
  expect(outcomes).toEqual(["exit noproc@0"]);
  table.spawn(5);
  note(table.call(5, say("x")));
  await clock.settle();
  table.exit(5);
  note(table.call(5, say("x")));
  await clock.settle();
  expect(outcomes.slice(1)).toEqual(["reply x#0@0", "exit noproc@0"]);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, refusedTotal: 3 });
});

test("P4 — time-out at the deadline; the late reply is dropped and counted; the process lives", async () => {
  const { clock, runtime, table, handled, outcomes, note } = startCalls();
  note(table.call(1, say("slow", { asyncMs: 500 }), { timeoutMs: 100 }));
  note(table.call(1, say("behind"), { timeoutMs: 1_000 }));
  await clock.advance(99);
  expect(outcomes).toEqual([]);
  await clock.advance(1);
  expect(outcomes).toEqual(["timeout@100"]);
  await clock.advance(900);
  expect(outcomes).toEqual(["timeout@100", "reply behind#1@500"]);
  expect(handled).toEqual(["1:slow#0", "1:behind#1"]); // it did its work, for nobody
  expect(table.generationOf(1)).toBe(0);
  expect(runtime.stats()).toMatchObject({
    callTimeoutsTotal: 1,
    lateRepliesTotal: 1,
    callsCount: 0,
    crashesTotal: 0,
    timersCount: 0,
  });
});

test("P4 — work whose deadline has passed is skipped and counted, also when the thread was stuck", async () => {
  const { clock, runtime, table, handled, outcomes, note } = startCalls();
  note(table.call(1, say("slow", { asyncMs: 300 })));
  note(table.call(1, say("waits too long"), { timeoutMs: 200 }));
  await clock.advance(300);
  expect(outcomes).toEqual(["timeout@200", "reply slow#0@300"]);
  note(table.call(2, say("stuck"), { timeoutMs: 50 }));
  clock.block(60); // the deadline has passed, and the wheel has had no chance to tell
  await clock.settle();
  expect(outcomes.slice(2)).toEqual(["timeout@360"]);
  note(table.call(2, say("too late"), { deadlineAtMs: clock.monotonicMs() }));
  await clock.settle();
  expect(outcomes.slice(3)).toEqual(["timeout@360"]);
  expect(handled).toEqual(["1:slow#0"]);
  expect(runtime.stats()).toMatchObject({
    skippedCallsTotal: 2,
    callTimeoutsTotal: 3,
    callsCount: 0,
    waitingCount: 0,
    timersCount: 0,
  });
});

test("P4 — a deadline that passes while another process holds the thread counts in the same slice", async () => {
  const { clock, runtime, table, handled, outcomes, note } = startCalls({
    behaviour: {
      onCall: (context, step: Step) => {
        handled.push(`${context.slot}:${step.say}`);
        if (step.say === "slow") clock.block(60);
        return step.say;
      },
    },
  });
  note(table.call(1, say("slow"), { timeoutMs: 50 }));
  note(table.call(2, say("too late"), { timeoutMs: 50 }));
  note(table.call(3, say("in time"), { timeoutMs: 100 }));
  await clock.settle();
  // The first was begun in time, and its answer is one although its deadline has passed meanwhile.
  expect(outcomes).toEqual(["reply slow@60", "timeout@60", "reply in time@60"]);
  expect(handled).toEqual(["1:slow", "3:in time"]);
  expect(runtime.stats()).toMatchObject({ skippedCallsTotal: 1, callsCount: 0, timersCount: 0 });
});

test("P4, CA1 — of a burst some calls get their timer at once and some at the slice's end: each is in time", async () => {
  const { clock, runtime, table, outcomes, note } = startCalls({ limits: { mailboxMax: 3_000 } });
  note(table.call(1, say("slow", { asyncMs: 10_000 }), { timeoutMs: 60_000 }));
  for (let n = 0; n < 2_000; n++) note(table.call(1, say("waits"), { timeoutMs: 100 }));
  note(table.call(2, say("now"), { timeoutMs: 100 }));
  expect(runtime.stats()).toMatchObject({ callsCount: 2_002, timersCount: 0 });
  await clock.advance(99);
  expect(outcomes).toEqual(["reply now#0@0"]);
  expect(runtime.stats()).toMatchObject({ callsCount: 2_001, timersCount: 1 }); // the handler's
  await clock.advance(1);
  expect(outcomes.slice(1)).toEqual(Array.from({ length: 2_000 }, () => "timeout@100"));
  table.stop();
  await clock.settle();
  expect(outcomes.length).toBe(2_002);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, timersCount: 0, waitingCount: 0 });
});

test("P23 — a call that was made in this very turn is answered when its table stops", async () => {
  const { clock, table, outcomes, note } = startCalls();
  note(table.call(1, say("never begun")));
  table.stop(NOCONNECTION);
  await clock.settle();
  expect([outcomes, clock.timersCount]).toEqual([["exit noconnection@0"], 0]);
});

test("P4 — a deadline that passes in the call's own slice is over at its end; a late reply does not count", async () => {
  const { clock, runtime, table, owed, outcomes, note } = startCalls({
    behaviour: { onCast: () => clock.block(50) },
  });
  note(table.call(1, say("later"), { timeoutMs: 10 }));
  table.cast(2, say("long"));
  await clock.settle();
  expect(outcomes).toEqual(["timeout@50"]);
  expect(owed[0]!.reply("too late")).toBe(false);
  await clock.advance(100);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, lateRepliesTotal: 1, timersCount: 0 });
});

test("P4 — the remaining deadline travels with the calls a handler makes, and is never lengthened", async () => {
  const deadlines: (number | undefined)[] = [];
  const { clock, table, outcomes, note } = startCalls({
    behaviour: {
      onCall: async (context, step: Step) => {
        deadlines.push(context.deadlineAtMs);
        if (step.say === "last") await clock.sleep(1_000);
        await clock.sleep(10);
        const next = step.say === "first" ? say("second") : say("last");
        const timeoutMs = step.say === "first" ? 60_000 : 5; // both are less than what is left, or not
        const deadlineAtMs = clock.monotonicMs() + 99_999;
        const options =
          step.say === "first" ? { timeoutMs, deadlineAtMs } : { deadlineAtMs: undefined };
        const outcome = await context.call(context.table, context.slot + 1, next, options);
        return outcome.kind;
      },
    },
  });
  note(table.call(1, say("first"), { timeoutMs: 200 }));
  await clock.advance(5_000);
  expect(deadlines).toEqual([200, 200, 200]);
  expect(outcomes).toEqual(["timeout@200"]);
});

test("P4 — a process that calls itself gets a time-out, lives, and the inner call is skipped", async () => {
  const inner: string[] = [];
  const { clock, runtime, table, handled, outcomes, note } = startCalls({
    behaviour: {
      onCast: async (context) => {
        const outcome = await context.call(context.table, context.slot, say("inner"), {
          timeoutMs: 100,
        });
        inner.push(outcome.kind);
      },
    },
  });
  table.cast(1, say("deadlock"));
  await clock.advance(1_000);
  expect([inner, handled]).toEqual([["timeout"], []]);
  note(table.call(1, say("fine")));
  await clock.settle();
  expect(outcomes).toEqual(["reply fine#0@1000"]);
  expect(runtime.stats()).toMatchObject({ skippedCallsTotal: 1, callsCount: 0, crashesTotal: 0 });
});

test("P10, P11 — kill: calls in hand, waiting and owed get `exit killed` at once; later replies count for nothing", async () => {
  const { clock, runtime, table, handled, owed, outcomes, crashes, note } = startCalls();
  note(table.call(1, say("later")));
  note(table.call(1, say("hangs", { asyncMs: 10 ** 9 })));
  note(table.call(1, say("waits")));
  await clock.advance(50);
  table.kill(1);
  await clock.settle();
  expect(outcomes).toEqual(["exit killed@50", "exit killed@50", "exit killed@50"]);
  expect(owed[0]!.reply("too late")).toBe(false);
  expect(crashes).toMatchObject([{ reason: "killed", during: "call", next: "forgotten" }]);
  note(table.call(1, say("reborn")));
  await clock.advance(20_000);
  expect(outcomes[3]).toBe("reply reborn#0@50");
  expect(handled).toEqual(["1:later#0", "1:reborn#0"]);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, lateRepliesTotal: 1, timersCount: 0 });
});

test("P11, CA2 — a reply that a killed handler gives later is refused, and not taken for its successor's", async () => {
  const { clock, runtime, table, outcomes, note } = startCalls();
  note(table.call(1, say("old", { asyncMs: 80 })));
  await clock.advance(10);
  table.kill(1);
  note(table.call(1, say("new", { asyncMs: 200 })));
  await clock.advance(300);
  expect(outcomes).toEqual(["exit killed@10", "reply new#0@210"]);
  expect(runtime.stats()).toMatchObject({ staleWritesTotal: 1, lateRepliesTotal: 1 });
});

test("P11 — a handler that ends its own process: its caller is told at once, not by time-out", async () => {
  const { clock, runtime, table, outcomes, note } = startCalls({
    behaviour: {
      onCall: (context, step: Step) => {
        if (step.say.includes("kill")) table.kill(context.slot);
        if (step.say.includes("quarantine")) table.quarantine(context.slot, new Error("by hand"));
        if (step.say.includes("stop")) context.stop();
        if (step.say.includes("table")) table.stop();
        if (step.say.includes("throw")) throw new Error(step.say);
        return step.asyncMs === undefined ? "done" : clock.sleep(step.asyncMs).then(() => "done");
      },
    },
  });
  for (const [slot, text] of ["kill", "kill, throw", "quarantine", "stop"].entries())
    note(table.call(slot, say(text)));
  note(table.call(4, say("kill", { asyncMs: 10 })));
  await clock.settle();
  expect(outcomes.splice(0)).toEqual([
    "exit killed@0",
    "exit killed@0",
    "quarantined@0",
    "reply done@0", // it ends after its handler
    "exit killed@0",
  ]);
  note(table.call(5, say("table")));
  await clock.advance(100);
  expect(outcomes).toEqual(["exit shutdown@0"]);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, timersCount: 0, busyCount: 0 });
});

test("S40, P10 — a call that crashes its process is answered `exit error` and not tried again", async () => {
  const { clock, runtime, table, handled, outcomes, crashes, owed, note } = startCalls();
  note(table.call(1, say("later")));
  note(table.call(1, say("boom", { crash: true })));
  note(table.call(1, say("waits")));
  note(table.call(2, say("slow boom", { crash: true, asyncMs: 20 })));
  table.cast(1, say("cast"));
  await clock.advance(1_000);
  expect(outcomes.slice(0, 3)).toEqual(["exit error@0", "exit error@0", "exit error@20"]);
  expect(outcomes[3]).toMatch(/^reply waits#0@/u);
  expect(owed[0]!.reply("too late")).toBe(false);
  expect(crashes.map((one) => [one.slot, one.during, one.messageKind, one.next])).toEqual([
    [1, "call", "step", "retry"],
    [2, "call", "step", "retry"],
  ]);
  expect(handled.map((one) => one.split("@")[0])).toEqual(["1:later#0", "1:waits#0", "1:cast#1"]);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, waitingCount: 0, deadLetteredTotal: 0 });
});

test("S40 — calls in flight of a process that goes to quarantine get `quarantined`, later ones at once", async () => {
  const { clock, table, outcomes, crashes, note } = startCalls({ limits: { crashMax: 0 } });
  table.cast(1, say("boom", { crash: true, asyncMs: 20 }));
  note(table.call(1, say("waits")));
  await clock.advance(20);
  note(table.call(1, say("refused")));
  await clock.settle();
  expect(crashes.map(({ next }) => next)).toEqual(["quarantine"]);
  expect(outcomes).toEqual(["quarantined@20", "quarantined@20"]);
});

test("P23 — a table that lost its connection answers open calls noconnection, later ones stopped", async () => {
  const { clock, runtime, table, outcomes, owed, note, keptCount } = startCalls();
  const downs: string[] = [];
  for (const slot of [1, 2]) table.monitor(slot, ({ exit }) => downs.push(exit.kind));
  note(table.call(1, say("hangs", { asyncMs: 10_000 })));
  note(table.call(1, say("waits")));
  note(table.call(2, say("later")));
  await clock.advance(10);
  table.stop(NOCONNECTION);
  note(table.call(1, say("refused")));
  await clock.settle();
  expect(outcomes).toEqual([
    "exit noconnection@10",
    "exit noconnection@10",
    "exit noconnection@10",
    "stopped@10",
  ]);
  expect(downs).toEqual(["noconnection", "noconnection"]);
  expect(owed[0]!.reply("too late")).toBe(false);
  await clock.advance(20_000);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, timersCount: 0, waitingCount: 0 });
  expect([keptCount(), clock.timersCount]).toEqual([0, 0]);
});

test("P14 — a call finds a full mailbox: overloaded; a call that drop_oldest drops is told so too", async () => {
  const { clock, table, outcomes, note } = startCalls({
    limits: { mailboxMax: 2 },
    behaviour: { overflow: () => "drop_oldest" },
  });
  table.cast(1, say("slow", { asyncMs: 50 }));
  await clock.settle();
  note(table.call(1, say("dropped")));
  note(table.call(1, say("kept")));
  note(table.call(1, say("refused")));
  expect(table.cast(1, say("newest"))).toBe("accepted");
  await clock.advance(100);
  expect(outcomes).toEqual(["overloaded@0", "overloaded@0", "reply kept#1@50"]);
});

test("P25 — bad calls are told as a bug and leave nothing behind", async () => {
  const { clock, runtime, table, outcomes, note } = startCalls();
  const callless = runtime.createTable<number, Step>({
    name: "callless",
    behaviour: { init: () => 1 },
  });
  const bad = [
    () => callless.call(0, say("x")),
    () => table.call(-1, say("x")),
    () => table.call(1.5, say("x")),
    () => table.call(1, say("x"), { timeoutMs: Number.NaN }),
    () => table.call(1, say("x"), { timeoutMs: Infinity }),
  ];
  for (const call of bad) expect(call).toThrow(BugError);
  expect(runtime.stats()).toMatchObject({ callsCount: 0, timersCount: 0, waitingCount: 0 });
  note(table.call(1, say("fine")));
  await clock.settle();
  expect(outcomes).toEqual(["reply fine#0@0"]);
});
