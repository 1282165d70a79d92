// Goal: P25 at the table's own methods; what belongs to one of them stands with its tests.
// Method: calls as from a program without types, and behaviours that answer oddly.
import { BugError } from "@carillon/kernel";
import { expect, test } from "vitest";
import { say, start } from "./harness.ts";
import type { RuntimeLimits } from "./limits.ts";

function fail(error: Error): never {
  throw error;
}

test("P25 — a message that is no object is told as a bug, and nothing waits", async () => {
  const { clock, table, runtime } = start({ behaviour: { onCall: () => 1 } });
  for (const bad of [undefined, null, "text", 7, true, Symbol("x")]) {
    expect(() => table.cast(1, bad as never)).toThrow(BugError);
    expect(() => table.castEach([1, 2], bad as never)).toThrow(BugError);
    expect(() => table.call(1, bad as never)).toThrow(BugError);
  }
  expect(runtime.stats()).toMatchObject({ waitingCount: 0, queuedCount: 0, callsCount: 0 });
  const drained = table.drain(1_000);
  await clock.settle();
  expect(await drained).toEqual({ kind: "drained" });
});

test("P10, P25 — a message without a kind that can be read crashes its process, not the runtime", async () => {
  const { clock, table, handled, crashes } = start();
  const odd = {
    crash: true,
    say: "odd",
    get kind(): string {
      return fail(new Error("no kind"));
    },
  };
  table.cast(1, odd as never);
  table.cast(1, Object.assign(Object.create(null) as object, { say: "bare" }) as never);
  table.cast(2, say("sibling"));
  await clock.advance(60_000);
  expect(crashes.map(({ messageKind, next }) => [messageKind, next])).toEqual([
    [undefined, "retry"],
    [undefined, "retry"],
    [undefined, "dead_letter"],
  ]);
  expect(handled.map((one) => one.split("#")[0])).toEqual(["2:sibling", "1:bare"]);
});

test("P2, P25 — an answer whose then cannot be read is the crash of its process", async () => {
  const odd = new Proxy({}, { has: () => true, get: () => fail(new Error("then")) });
  const { clock, table, handled, crashes } = start({
    behaviour: {
      onContinue: ({ slot }) => (slot === 2 ? (odd as never) : undefined),
      onCast: ({ slot }) => {
        if (slot === 1) return odd as never;
        handled.push(String(slot));
      },
      onCall: () => odd,
    },
  });
  table.cast(1, say("x"));
  table.cast(2, say("x"));
  table.cast(3, say("sibling"));
  const called = table.call(4, say("x"));
  await clock.settle();
  expect(crashes.map(({ slot, during, cause }) => `${slot} ${during} ${String(cause)}`)).toEqual([
    "1 cast Error: then",
    "2 continue Error: then",
    "4 call Error: then",
  ]);
  expect([1, 2, 3, 4].map((slot) => table.inspect(slot).phase)).toEqual([
    "backing_off",
    "backing_off",
    "idle",
    "backing_off",
  ]);
  expect([(await called).kind, handled]).toEqual(["exit", ["3"]]);
});

test("P25 — bad arguments are told as a bug and leave the process alive", async () => {
  const { clock, table, handled } = start();
  for (const slot of [-1, 1.5, Number.NaN, 2 ** 24, Infinity])
    expect(() => table.cast(slot, say("x"))).toThrow(BugError);
  expect([table.kill(-1), table.reset(7), table.stateOf(-1), table.generationOf(9)]).toEqual([
    0,
    false,
    undefined,
    0,
  ]);
  expect(table.inspect(123_456)).toMatchObject({ phase: "idle", waitingCount: 0 });
  expect(table.cast(2 ** 16, say("far"))).toBe("accepted");
  await clock.advance(0);
  expect(handled).toEqual(["65536:far#0@0"]);
});

test("P25 — limits that are none are told as a bug when the runtime is made", () => {
  const bad: Partial<RuntimeLimits>[] = [
    { turnMessagesMax: 0 },
    { mailboxMax: -5 },
    { mailboxMax: 1.5 },
    { sliceMs: Number.NaN },
    { sliceCheckCount: 0 },
    { loadsMax: 0 },
    { handlerMaxMs: Infinity },
    { crashWindowMs: "60" as never },
    { poisonMax: undefined as never },
  ];
  for (const limits of bad) expect(() => start({ limits })).toThrow(BugError);
  expect(() => start({ limits: { turnMessagesMax: 1, sliceMs: 0.5 } })).not.toThrow();
});

test("P25 — a table's capacity that is no number of slots is told as a bug, and there is no such table", () => {
  const { runtime } = start();
  for (const capacityCount of [-1, 1.5, Number.NaN, 2 ** 24 + 1, Infinity])
    expect(() =>
      runtime.createTable({ name: "bad", capacityCount, behaviour: { init: () => 1 } }),
    ).toThrow(BugError);
  expect(runtime.tables().map(({ name }) => name)).toEqual(["p7"]);
});

test("P25 — a drain with a limit that is none is told as a bug, and nothing drains", async () => {
  const { clock, runtime, table, handled } = start();
  for (const bad of [Number.NaN, -1, Infinity]) {
    expect(() => runtime.drain(bad)).toThrow(BugError);
    expect(() => table.drain(bad)).toThrow(BugError);
  }
  const other = runtime.createTable({ name: "other", behaviour: { init: () => ({}) } });
  expect([table.cast(1, say("x")), other.cast(1, {})]).toEqual(["accepted", "accepted"]);
  await clock.settle();
  expect(handled.length).toBe(1);
});
