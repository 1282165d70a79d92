// Goal: CR1, RS4. Method: tables under a fake clock; `sums` says how many crashes are remembered.
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { say, start, type Step } from "./harness.ts";
import { Registry } from "./registry.ts";
import { createRuntime } from "./runtime.ts";
import type { TableSums } from "./table-api.ts";

const crashedCount = ({ table }: { table: { sums(): TableSums } }): number =>
  table.sums().crashedCount;

test("CR1, RS4 — a million keys that crashed once and have no traffic any more: forgotten by the second look, after two minutes", async () => {
  const COUNT = 1_000_000;
  const crashed = new Uint8Array(COUNT);
  const once = new Error("once"); // a million stacks would take most of the test's time
  const clock = new FakeClock();
  const random = createSeededRandom(1);
  const limits = { systemicMax: COUNT };
  const runtime = createRuntime({ clock, scheduler: clock, random, limits });
  const table = runtime.createTable<{ n: number }, Step>({
    name: "p7",
    capacityCount: COUNT,
    behaviour: {
      init: () => ({ n: 0 }),
      onCast: ({ slot }) => {
        if (crashed[slot] === 1) return;
        crashed[slot] = 1;
        throw once;
      },
    },
  });
  table.castEach({ forEach: (visit) => crashed.forEach((_, slot) => visit(slot)) }, say("x"));
  await clock.advance(1_000);
  expect(runtime.stats()).toMatchObject({ crashesTotal: COUNT, handledTotal: COUNT });
  expect(crashedCount({ table })).toBe(COUNT);
  await clock.advance(58_000); // what crashed less than a minute ago is remembered
  expect(crashedCount({ table })).toBe(COUNT);
  await clock.advance(71_000); // the second pass begins after two minutes, and goes in chunks
  expect([crashedCount({ table }), clock.timersCount]).toEqual([0, 0]);
}, 120_000);

test("CR1, RS4 — quarantines in a row count for an hour after the last one, then no more", async () => {
  const { clock, table, crashes, ...rest } = start();
  const quarantine = async (): Promise<number> => {
    table.quarantine(1, "by hand");
    const { delayMs } = crashes.at(-1)!;
    await clock.advance(delayMs + 20);
    return delayMs / 60_000;
  };
  expect([await quarantine(), await quarantine()]).toEqual([5, 10]);
  await clock.advance(59 * 60_000);
  expect(await quarantine()).toBe(20);
  await clock.advance(62 * 60_000);
  expect(crashedCount({ table })).toBe(0);
  expect(await quarantine()).toBe(5);
  expect(rest.told).toEqual([]);
});

test("CR1, RS4 — what is held, or may still be crashed by a waiting message, is kept", async () => {
  const { clock, table, crashes, handled } = start({
    limits: { handlerMaxMs: 70_000, crashWindowMs: 10_000 },
  });
  table.cast(1, say("hangs", { asyncMs: 10 ** 9 })); // each try takes longer than two windows
  await clock.advance(300_000);
  expect(crashes.map(({ next }) => next)).toEqual(["retry", "retry", "dead_letter"]);
  // Dead letters in a row count, too: for an hour.
  expect(crashedCount({ table })).toBe(1);
  await clock.advance(3_600_000);
  expect(crashedCount({ table })).toBe(0);

  table.quarantine(2, "by hand", 2 * 3_600_000);
  await clock.advance(2 * 3_600_000 - 20);
  expect([crashedCount({ table }), table.inspect(2).phase]).toEqual([1, "quarantined"]);
  expect(handled).toEqual([]);
});

test("CR1, RS4 — a message that crashed its process and was dropped since holds no crash for ever", async () => {
  const dropped: string[] = [];
  const { clock, table, handled } = start({
    limits: { mailboxMax: 1 },
    behaviour: {
      overflow: () => "drop_oldest",
      onDrop: (_slot, message) => void dropped.push(message.say),
    },
  });
  table.cast(1, say("crashes", { crash: true }));
  await clock.settle();
  table.cast(1, say("newer"));
  await clock.advance(1_000);
  expect([dropped, handled.length, crashedCount({ table })]).toEqual([["crashes"], 1, 1]);
  await clock.advance(120_000);
  expect(crashedCount({ table })).toBe(0);
});

test("CR1, RG2 — the names of those whose message was dead-lettered are free after an hour, without traffic", async () => {
  const clock = new FakeClock();
  const random = createSeededRandom(1);
  const runtime = createRuntime({ clock, scheduler: clock, random });
  const registry = new Registry<object, { kind: "x" }>(runtime, {
    name: "names",
    behaviour: () => ({
      init: () => undefined,
      onCast: () => {
        throw new Error("poison");
      },
    }),
  });
  for (let n = 0; n < 15; n++) registry.cast(`key-${n}`, { kind: "x" });
  await clock.advance(60_000);
  expect([runtime.stats().deadLetteredTotal, registry.size]).toEqual([15, 15]);
  await clock.advance(3_600_000 + 60_000);
  expect([registry.size, crashedCount(registry), registry.table.active(9)]).toEqual([0, 0, []]);
  expect(clock.timersCount).toBe(0);
});

test("CR1, RG2 — the name of one that crashed and has no traffic is free again", async () => {
  const clock = new FakeClock();
  const random = createSeededRandom(1);
  const runtime = createRuntime({ clock, scheduler: clock, random });
  let isBroken = true;
  const registry = new Registry<{ n: number }, { kind: "x" }>(runtime, {
    name: "names",
    activation: "on_demand",
    behaviour: () => ({
      init: () => ({ n: 0 }),
      onCast: (context) => {
        if (isBroken) throw new Error("once");
        context.state = undefined;
      },
    }),
  });
  registry.cast("ada", { kind: "x" });
  await clock.settle();
  isBroken = false;
  await clock.advance(5_000);
  expect(registry.whereis("ada")).toBe(0);
  await clock.advance(120_000);
  expect([registry.whereis("ada"), registry.size, clock.timersCount]).toEqual([undefined, 0, 0]);
});
