// Goal: a mailbox has a limit in messages and in bytes, and a policy at it (P14, RW2).
// Method: a process that is busy collects; for random operations a model knows what must wait.
// Long: every policy at both limits, and the model beside them.
import { BugError } from "@carillon/kernel";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Behaviour, Overflow } from "./behaviour.ts";
import { type Counted, noteOutcomes, say, start, type Step } from "./harness.ts";

const KIB = 1_024;

/** "a:300" has key a and 300 bytes; slot 0 is busy for 100 ms. */
async function startBusy(
  behaviour: Partial<Behaviour<Counted, Step>> = {},
  limits: Parameters<typeof start>[0] = {},
) {
  const spilled: string[] = [];
  const dropped: string[] = [];
  const harness = start({
    ...limits,
    behaviour: {
      messageBytes: (message) => Number(message.say.split(":")[1] ?? 0),
      onSpill: (slot, message) => void spilled.push(`${slot} ${message.say}`),
      onDrop: (slot, message) => void dropped.push(`${slot} ${message.say}`),
      ...behaviour,
    },
  });
  harness.table.cast(0, say("busy", { asyncMs: 100 }));
  await harness.clock.settle();
  const finish = async (): Promise<string[]> => {
    await harness.clock.advance(100);
    const texts = harness.handled.map((one) => one.slice(2).split("#")[0]!);
    return texts.filter((text) => text !== "busy");
  };
  return { ...harness, spilled, dropped, finish };
}

test("P14 — 256 KiB: the message that would pass the limit is refused, a smaller one is not", async () => {
  const { table, finish } = await startBusy();
  const sizes = [100 * KIB, 100 * KIB, 57 * KIB, 56 * KIB, 1, 0];
  const outcomes = sizes.map((bytes, n) => table.cast(0, say(`m${n}:${bytes}`)));
  expect(outcomes).toEqual([
    "accepted",
    "accepted",
    "overloaded",
    "accepted",
    "overloaded",
    "accepted",
  ]);
  expect(table.inspect(0)).toMatchObject({ waitingCount: 4, waitingBytes: 256 * KIB });
  expect((await finish()).map((one) => one.slice(0, 2))).toEqual(["m0", "m1", "m3", "m5"]);
  expect(table.inspect(0)).toMatchObject({ waitingCount: 0, waitingBytes: 0 });
  expect(table.cast(1, say(`too large:${256 * KIB + 1}`))).toBe("overloaded");
  expect(table.cast(1, say(`just right:${256 * KIB}`))).toBe("accepted");
});

test("P14 — 256 messages are the limit too, however small; calls count with their bytes", async () => {
  const { clock, runtime, table, finish } = await startBusy({ onCall: () => "answer" });
  const { outcomes, note } = noteOutcomes(clock);
  note(table.call(0, say(`c:${255 * KIB}`)));
  note(table.call(0, say(`c:${2 * KIB}`)));
  await clock.settle();
  expect(outcomes).toEqual(["overloaded@0"]);
  for (let n = 0; n < 255; n++) expect(table.cast(0, say(`n${n}:1`))).toBe("accepted");
  expect(table.cast(0, say("n:1"))).toBe("overloaded");
  expect((await finish()).length).toBe(255);
  expect([outcomes[1], runtime.stats().waitingCount]).toEqual(["reply answer@100", 0]);
});

test("P14 — control messages have a reserved lane beside a mailbox that is full in both ways", async () => {
  const { table, finish } = await startBusy({ overflow: () => "drop_oldest" });
  table.cast(0, say(`a:${256 * KIB}`));
  const controls = Array.from({ length: 33 }, (_, n) => table.cast(0, say(`c${n}:9`), "control"));
  expect([controls.indexOf("overloaded"), controls.lastIndexOf("accepted")]).toEqual([32, 31]);
  expect((await finish()).slice(31)).toEqual(["c31:9", `a:${256 * KIB}`]); // nothing was dropped
});

test("P14 — drop_oldest keeps the newest, in count and in bytes, and tells each that went", async () => {
  const { runtime, table, dropped, finish } = await startBusy(
    { overflow: () => "drop_oldest" },
    { limits: { mailboxMax: 3, mailboxMaxBytes: 100 } },
  );
  for (const text of ["a:10", "b:10", "c:10", "d:10"])
    expect(table.cast(0, say(text))).toBe("accepted");
  expect(dropped.splice(0)).toEqual(["0 a:10"]);
  expect(table.cast(0, say("e:85"))).toBe("accepted");
  expect(dropped.splice(0)).toEqual(["0 b:10", "0 c:10"]);
  expect(table.inspect(0)).toMatchObject({ waitingCount: 2, waitingBytes: 95 });
  expect(table.cast(0, say("f:101"))).toBe("overloaded"); // could never fit: nobody goes for it
  expect(dropped).toEqual([]);
  expect(await finish()).toEqual(["d:10", "e:85"]);
  expect(runtime.stats()).toMatchObject({ droppedTotal: 3, refusedTotal: 1, waitingCount: 0 });
});

test("P14 — drop_oldest: what a fan-out brought is the oldest; a timer keeps its place", async () => {
  const dropped: string[] = [];
  const { clock, table, handled } = start({
    limits: { mailboxMax: 2 },
    behaviour: {
      overflow: () => "drop_oldest",
      onDrop: (_slot, message) => void dropped.push(message.say),
    },
  });
  table.spawn(0);
  table.castEach([0], say("fanned"));
  for (const text of ["a", "b"]) table.cast(0, say(text));
  expect([dropped, table.inspect(0).waitingCount]).toEqual([["fanned"], 2]);
  await clock.settle();
  expect(handled).toEqual(["0:a#0@0", "0:b#1@0"]);
  expect(table.waitingCount).toBe(0);
});

test("P14 — a fan-out's message has one of the places of the mailbox", async () => {
  for (const mailboxMax of [1, 2, 5]) {
    const { clock, table, handled } = start({ limits: { mailboxMax } });
    table.spawn(0);
    expect(table.castEach([0], say("fanned"))).toBe(1);
    const outcomes = Array.from({ length: mailboxMax }, () => table.cast(0, say("x")));
    expect(outcomes.filter((outcome) => outcome === "accepted").length).toBe(mailboxMax - 1);
    await clock.settle();
    expect([handled.length, handled[0], table.waitingCount]).toEqual([
      mailboxMax,
      "0:fanned#0@0",
      0,
    ]);
  }
});

test("P14 — coalesce keeps the place of the first arrival, in the normal lane only", async () => {
  const { runtime, table, finish } = await startBusy({
    coalesceKey: ({ say: text }) => (text.startsWith("-") ? undefined : text.split(".")[0]),
  });
  for (const text of ["a.1", "b.1", "-", "a.2", "-", "b.2", "a.3"])
    expect(table.cast(0, say(text))).toBe("accepted");
  table.cast(0, say("a.control"), "control");
  expect(table.castEach([0], say("b.3"))).toBe(1);
  expect(table.inspect(0).waitingCount).toBe(5);
  expect(await finish()).toEqual(["a.control", "a.3", "b.3", "-", "-"]);
  expect(runtime.stats()).toMatchObject({ coalescedTotal: 4, waitingCount: 0 });
  table.cast(5, say("single.1")); // without a mailbox of its own
  table.cast(5, say("single.2"));
  expect((await finish()).slice(5)).toEqual(["single.2"]);
});

test("P14 — coalescing does not pass the limit in bytes; a full mailbox still coalesces", async () => {
  const { table, finish } = await startBusy(
    { coalesceKey: ({ say: text }) => text[0] },
    { limits: { mailboxMaxBytes: 100, mailboxMax: 2 } },
  );
  for (const text of ["a:40", "b:40"]) table.cast(0, say(text));
  expect(table.cast(0, say("a:61"))).toBe("overloaded");
  expect(table.cast(0, say("c:1"))).toBe("overloaded");
  expect(table.cast(0, say("a:60"))).toBe("accepted");
  expect(table.inspect(0)).toMatchObject({ waitingCount: 2, waitingBytes: 100 });
  table.cast(1, say("a:99"));
  expect(table.cast(1, say("a:101"))).toBe("overloaded");
  expect(await finish()).toEqual(expect.arrayContaining(["a:60", "b:40", "a:99"]));
});

test("P14 — drop_oldest makes room for a larger one of the same key, in the place of that key", async () => {
  const { table, dropped, finish } = await startBusy(
    { coalesceKey: ({ say: text }) => text[0], overflow: () => "drop_oldest" },
    { limits: { mailboxMaxBytes: 100 } },
  );
  for (const text of ["a:40", "b:1", "c:30", "b:50", "b:2"]) table.cast(0, say(text));
  expect([dropped, table.inspect(0).waitingBytes]).toEqual([["0 a:40"], 32]);
  expect(await finish()).toEqual(["b:2", "c:30"]);
});

test("P14 — spill hands back to the store what finds the mailbox full, and the sender knows", async () => {
  const { runtime, table, spilled, finish } = await startBusy(
    { overflow: ({ say: text }) => (text.startsWith("s") ? "spill" : "reject") },
    { limits: { mailboxMax: 1 } },
  );
  const refused: string[] = [];
  const texts = ["s1", "s2", "r1"];
  expect(texts.map((text) => table.cast(0, say(text)))).toEqual([
    "accepted",
    "spilled",
    "overloaded",
  ]);
  const count = table.castEach([0, 1], say("s3"), (slot, why) => refused.push(`${slot} ${why}`));
  expect([count, refused, spilled]).toEqual([1, ["0 spilled"], ["0 s2", "0 s3"]]);
  expect((await finish()).toSorted()).toEqual(["s1", "s3"]);
  expect(runtime.stats()).toMatchObject({ spilledTotal: 2, refusedTotal: 3, waitingCount: 0 });
});

test("P14, P25 — callbacks of a full mailbox may end the process: nothing is lost count of", async () => {
  const harness = await startBusy(
    {
      overflow: ({ say: text }) => text as Overflow,
      onDrop: (slot) => void harness.table.kill(slot),
      onSpill: (slot) => void harness.table.exit(slot),
    },
    { limits: { mailboxMax: 1 } },
  );
  const { clock, runtime, table, handled } = harness;
  table.cast(0, say("waits"));
  expect(table.cast(0, say("drop_oldest"))).toBe("accepted"); // and killed then
  expect([table.waitingCount, table.inspect(0).phase]).toEqual([0, "idle"]);
  table.cast(0, say("waits"));
  expect(table.cast(0, say("spill"))).toBe("spilled");
  await clock.advance(200);
  expect([handled.length, runtime.stats().waitingCount]).toEqual([2, 0]); // busy, waits
});

test("P25 — a size that is no number of bytes, or a policy that throws, changes nothing", async () => {
  const { clock, table, finish, told } = await startBusy(
    {
      overflow: () => {
        throw new Error("policy");
      },
    },
    { limits: { mailboxMax: 1 } },
  );
  expect(() => table.cast(1, say("x:nothing"))).toThrow(BugError);
  expect(() => table.cast(1, say("x:-1"))).toThrow(BugError);
  table.cast(0, say("a"));
  expect(() => table.cast(0, say("b"))).toThrow("policy");
  expect([table.inspect(0).waitingCount, table.inspect(1).waitingCount]).toEqual([1, 0]);
  expect(await finish()).toEqual(["a"]);
  await clock.settle();
  expect(told).toEqual([]);
});

test("P14, P25 — a size that cannot be told when its message is taken is reported, and all are handled", async () => {
  let isBroken = false;
  const { runtime, table, finish, told } = await startBusy({
    messageBytes: () => {
      if (isBroken) throw new Error("size");
      return 10;
    },
  });
  for (const text of ["a", "b", "c"]) table.cast(0, say(text));
  isBroken = true;
  expect(await finish()).toEqual(["a", "b", "c"]);
  expect(told).toEqual(Array.from({ length: 3 }, () => "messageBytes: Error: size"));
  isBroken = false;
  expect(table.inspect(0)).toMatchObject({ phase: "idle", waitingCount: 0, waitingBytes: 0 });
  expect(runtime.stats().waitingCount).toBe(0);
});

test("P14, P21 — a timer that fires in an overfull mailbox is not lost", async () => {
  const order: string[] = [];
  const { clock, table } = start({
    limits: { mailboxMax: 2, crashMax: 100 },
    behaviour: {
      onContinue: (context) => {
        context.setTimer(20);
        return context.generation === 0 ? undefined : clock.sleep(60);
      },
      onCast: (context, step) => {
        if (context.generation === 0) {
          for (const text of ["a", "b"]) table.cast(context.slot, say(text));
          throw new Error("put back before them");
        }
        order.push(step.say);
      },
      onTimer: (context) => {
        order.push("timer");
        context.state = undefined;
      },
    },
  });
  table.cast(0, say("first"));
  await clock.advance(1_000);
  expect(order).toEqual(["first", "a", "b", "timer"]);
});

const operation = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      lane: fc.constantFrom("normal", "normal", "normal", "control" as const),
      key: fc.constantFrom("", "", "x", "y"),
      bytes: fc.nat(60),
      overflow: fc.constantFrom("reject", "drop_oldest", "spill" as const),
      isEach: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant("take" as const) },
  { weight: 1, arbitrary: fc.constant("crash" as const) },
);

test("P14, RW2 — for any operations the bounds hold, and each message ends exactly once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { maxLength: 60 }),
      fc.integer({ min: 1, max: 5 }),
      async (operations, mailboxMax) => {
        const mailboxMaxBytes = 100;
        const ended: string[] = [];
        const policies = new Map<string, Overflow>();
        const texts = new Map<string, string>(); // of a key: the message that stands for it
        const { clock, runtime, table } = start({
          limits: { mailboxMax, mailboxMaxBytes, controlMax: 2, crashMax: 1_000, poisonMax: 9 },
          behaviour: {
            messageBytes: (message) => Number(message.say.split(":")[1]),
            coalesceKey: (message) => message.say.split(":")[2] || undefined,
            overflow: (message) => policies.get(message.say) ?? "reject",
            onDrop: (_slot, message) => void ended.push(message.say),
            onSpill: (_slot, message) => void ended.push(message.say),
            onCast: async (_context, message) => {
              await clock.sleep(10);
              if (message.crash === true && crashing.delete(message.say)) throw new Error("again");
              ended.push(message.say);
            },
          },
        });
        const crashing = new Set<string>();
        const sent: string[] = [];
        let extraCount = 0; // in its place beyond the limit: put back after a crash
        for (const [n, one] of operations.entries()) {
          if (one === "take") await clock.advance(10);
          else if (one === "crash") {
            const text = `${n}:0:`;
            if (table.cast(0, say(text, { crash: true })) !== "accepted") continue;
            crashing.add(text);
            sent.push(text);
            extraCount = 1;
          } else {
            const text = `${n}:${one.bytes}:${one.key}`;
            policies.set(text, one.overflow);
            const before = runtime.stats().coalescedTotal;
            let isAccepted = false;
            if (one.isEach) isAccepted = table.castEach([0], say(text)) === 1;
            else isAccepted = table.cast(0, say(text), one.lane) === "accepted";
            const isReplacing = runtime.stats().coalescedTotal > before;
            if (isReplacing) ended.push(texts.get(one.key) ?? "unknown");
            if (isAccepted && (one.lane === "normal" || one.isEach) && one.key !== "")
              texts.set(one.key, text);
            const isSpilled = !isAccepted && ended.at(-1) === text;
            if (isAccepted || isSpilled) sent.push(text);
          }
          const { waitingCount, waitingBytes } = table.inspect(0);
          expect(waitingCount).toBeLessThanOrEqual(mailboxMax + 2 + extraCount);
          expect(waitingBytes).toBeLessThanOrEqual(mailboxMaxBytes + 60 * extraCount);
          expect(waitingCount).toBe(table.waitingCount);
        }
        await clock.advance(60_000);
        expect(ended.toSorted()).toEqual(sent.toSorted());
        expect(table.inspect(0)).toMatchObject({ waitingCount: 0, waitingBytes: 0 });
        expect(runtime.stats()).toMatchObject({ waitingCount: 0, timersCount: 0, busyCount: 0 });
      },
    ),
    { numRuns: 300 },
  );
});

test("P11, P14 — kill loses the mailbox whatever the policy: counted, and each message is told to onDrop", async () => {
  const dropped: string[] = [];
  const { clock, runtime, table, told } = start({
    behaviour: {
      overflow: () => "spill",
      onSpill: (_slot, message) => void told.push(`spill ${message.say}`),
      onDrop: (slot, message) => void dropped.push(`${slot}:${message.say}`),
      onCall: () => "reply",
    },
  });
  table.cast(3, say("begun", { asyncMs: 10 ** 9 }));
  await clock.settle();
  for (const text of ["a", "b"]) table.cast(3, say(text));
  table.cast(3, say("c"), "control");
  const call = table.call(3, say("call"));
  table.castEach([4], say("fanned"));
  expect([table.kill(3), table.kill(4), table.kill(5)]).toEqual([5, 1, 0]);
  expect(dropped).toEqual(["3:begun", "3:c", "3:a", "3:b", "4:fanned"]);
  expect(await call).toEqual({ kind: "exit", exit: { kind: "killed" } });
  expect(runtime.stats()).toMatchObject({ droppedTotal: 5, spilledTotal: 0, waitingCount: 0 });
  expect(told).toEqual([]);
});
