// Goal: who watches a process learns of its end once, after its name is free (P7 to P9, MO1, MO2).
// Long: watchers outside and inside of processes, each with every way in which a process ends.
import { BugError } from "@carillon/kernel";
import { expect, test } from "vitest";
import type { Down } from "./behaviour.ts";
import { NORMAL } from "./exit.ts";
import { say, start, type StartOptions, type Step } from "./harness.ts";
import type { Monitor } from "./table-api.ts";

const textOf = ({ slot, generation, exit }: Down): string => `${slot}#${generation} ${exit.kind}`;

/** "watch 7" monitors slot 7; `downs` has what onDown was told. */
function startWatchers(options: StartOptions = {}) {
  const downs: string[] = [];
  const monitors = new Map<number, Monitor>();
  const harness = start({
    ...options,
    behaviour: {
      onCast: (context, step: Step) => {
        harness.handled.push(`${context.slot}:${step.say}`);
        const slot = Number(step.say.split(" ")[1]);
        if (step.say.startsWith("watch")) monitors.set(slot, context.monitor(context.table, slot));
        if (step.say.startsWith("demonitor")) monitors.get(slot)?.demonitor();
        if (step.say === "die") context.table.kill(context.slot);
        if (step.crash === true) throw new Error(step.say);
        return step.asyncMs === undefined ? undefined : harness.clock.sleep(step.asyncMs);
      },
      onDown: (context, down) => void downs.push(`${context.slot} sees ${textOf(down)}`),
      ...options.behaviour,
    },
  });
  return { ...harness, downs, monitors };
}

test("P8 — a monitor of a process that is not there tells noproc, in a later slice", async () => {
  const { clock, runtime, table, keptCount } = start({ activation: "spawned" });
  const downs: string[] = [];
  table.monitor(7, (down) => downs.push(textOf(down)));
  expect(downs).toEqual([]);
  await clock.settle();
  table.spawn(7);
  table.exit(7, NORMAL);
  table.monitor(7, (down) => downs.push(textOf(down)));
  table.stop();
  table.monitor(7, (down) => downs.push(textOf(down)));
  await clock.settle();
  expect(downs).toEqual(["7#0 noproc", "7#1 noproc", "7#0 noproc"]);
  expect([keptCount(), runtime.stats().callbackErrorsTotal]).toEqual([0, 0]);
});

test("P8, MO2 — demonitor leaves none, also when the DOWN was queued already", async () => {
  const { clock, table, keptCount } = start();
  const downs: string[] = [];
  const [early, late, kept] = [1, 1, 1].map(() =>
    table.monitor(1, (down) => downs.push(textOf(down))),
  );
  early!.demonitor();
  table.spawn(1);
  table.kill(1);
  late!.demonitor();
  late!.demonitor();
  await clock.settle();
  expect(downs).toEqual(["1#0 killed"]);
  kept!.demonitor();
  expect(keptCount()).toBe(0);
});

test("P8 — a handler's demonitor takes back the DOWN that waits in its own mailbox", async () => {
  const { clock, runtime, table, downs, keptCount } = startWatchers();
  for (const slot of [1, 2, 3]) table.spawn(slot);
  for (const slot of [1, 2, 3]) table.cast(0, say(`watch ${slot}`));
  await clock.settle();
  table.cast(0, say("busy", { asyncMs: 50 }));
  await clock.settle();
  for (const text of ["demonitor 1", "demonitor 2"]) table.cast(0, say(text), "control");
  for (const slot of [1, 2, 3]) table.kill(slot); // their DOWNs wait behind the two demonitors
  await clock.settle();
  expect(table.inspect(0).waitingCount).toBe(5);
  await clock.advance(50);
  expect(downs).toEqual(["0 sees 3#0 killed"]);
  expect([keptCount(), runtime.stats().waitingCount]).toEqual([0, 0]);
});

test("P8 — monitor and demonitor again and again keep nothing", async () => {
  const { clock, table, keptCount } = startWatchers();
  table.spawn(1);
  for (let count = 0; count < 100; count++) {
    table.cast(0, say("watch 1"));
    table.cast(0, say("demonitor 1"));
  }
  await clock.settle();
  expect(keptCount()).toBe(0);
});

test("P9, MO1 — two monitors tell two DOWNs, once each, with the incarnation that ended", async () => {
  const { clock, table, downs, keptCount } = startWatchers();
  table.spawn(1);
  const seen: string[] = [];
  for (const name of ["a", "b"]) table.monitor(1, (down) => seen.push(`${name} ${textOf(down)}`));
  for (const watcher of [5, 6]) table.cast(watcher, say("watch 1"));
  await clock.settle();
  table.cast(1, say("boom", { crash: true }));
  await clock.settle();
  expect(seen).toEqual(["a 1#0 error", "b 1#0 error"]);
  expect(downs).toEqual(["5 sees 1#0 error", "6 sees 1#0 error"]);
  table.kill(1);
  await clock.settle();
  expect([seen.length, downs.length, keptCount()]).toEqual([2, 2, 0]);
});

test("P8 — the reason is told: normal, shutdown, killed, error, and the table's end", async () => {
  const { clock, runtime, table } = start({
    behaviour: {
      onCast: (context, step) => {
        if (step.crash === true) throw new Error(step.say);
        context.stop();
      },
    },
  });
  const seen: string[] = [];
  for (let slot = 0; slot < 5; slot++) {
    table.spawn(slot);
    table.monitor(slot, (down) => seen.push(textOf(down)));
  }
  table.cast(0, say("stop"));
  table.exit(1);
  table.kill(2);
  table.cast(3, say("boom", { crash: true }));
  await clock.settle();
  runtime.stop();
  expect(seen).toEqual(["1#0 shutdown", "2#0 killed", "0#0 normal", "3#0 error", "4#0 shutdown"]);
});

test("P7 — the name is free when DOWN is seen: the watcher starts the process again at once", async () => {
  const { clock, table } = start({
    activation: "spawned",
    behaviour: { onContinue: () => undefined },
  });
  const seen: string[] = [];
  const watch = (): void =>
    void table.monitor(3, ({ exit, generation }) => {
      seen.push(`${exit.kind}#${generation} ${table.inspect(3).phase}`);
      seen.push(table.spawn(3).kind);
      if (seen.length < 10) watch();
    });
  table.spawn(3);
  watch();
  const ends = [
    () => table.exit(3),
    () => table.kill(3),
    () => (table.cast(3, say("queued")), table.exit(3)), // it is in the ready queue still
    () => (table.castEach([3], say("fanned")), table.kill(3)),
    () => (table.castEach([3], say("fanned")), table.exit(3)),
  ];
  for (const end of ends) {
    await clock.settle();
    end();
  }
  await clock.settle();
  const expected = ["shutdown", "killed", "shutdown", "killed", "shutdown"];
  expect(seen).toEqual(expected.flatMap((kind, n) => [`${kind}#${n} absent`, "started"]));
  expect(table.stateOf(3)).toEqual({ count: 0 });
  expect(table.waitingCount).toBe(0);
});

test("P8 — a DOWN after its watcher ended is dropped; its next incarnation does not see it", async () => {
  const { clock, runtime, table, downs, handled, keptCount } = startWatchers();
  for (const watcher of [5, 6, 7]) {
    table.spawn(watcher + 10);
    table.cast(watcher, say(`watch ${watcher + 10}`));
  }
  await clock.settle();
  table.kill(5);
  table.cast(6, say("boom", { crash: true, asyncMs: 50 })); // thrown at once: it waits for its retry
  table.cast(7, say("busy", { asyncMs: 50 }));
  await clock.settle();
  for (const slot of [15, 16, 17]) table.kill(slot);
  await clock.settle();
  table.exit(7); // with the DOWN in its mailbox
  table.cast(7, say("next"));
  await clock.advance(5_000);
  expect(downs).toEqual([]);
  expect(handled.at(-1)).toBe("6:boom");
  expect(handled).toContain("7:next");
  expect([keptCount(), runtime.stats().waitingCount]).toEqual([0, 0]);
});

test("P8 — a watcher that throws, ends others, or stops the table harms nobody", async () => {
  const { clock, runtime, table, told, keptCount } = start();
  const seen: string[] = [];
  for (let slot = 0; slot < 4; slot++) table.spawn(slot);
  table.monitor(0, () => {
    throw new Error("watcher");
  });
  table.monitor(0, (down) => {
    seen.push(textOf(down));
    table.kill(1);
  });
  table.monitor(1, (down) => {
    seen.push(textOf(down));
    table.stop();
    table.monitor(3, (one) => seen.push(`late ${textOf(one)}`));
  });
  table.monitor(2, (down) => {
    seen.push(textOf(down));
    runtime.stop();
  });
  table.kill(0);
  await clock.advance(1_000);
  expect(seen).toEqual(["0#0 killed", "1#0 killed", "2#0 shutdown", "late 3#0 noproc"]);
  expect(told.filter((one) => one.startsWith("monitor"))).toEqual(["monitor: Error: watcher"]);
  expect([keptCount(), clock.timersCount]).toEqual([0, 0]);
});

test("P8 — an abandoned handler's monitor tells nothing and keeps nothing", async () => {
  const { clock, table, downs, keptCount } = startWatchers({
    behaviour: {
      onCast: async (context) => {
        await clock.sleep(20);
        context.monitor(table, 9);
      },
    },
  });
  table.cast(0, say("x"));
  await clock.advance(10);
  table.kill(0);
  table.spawn(9);
  await clock.advance(20);
  table.kill(9);
  await clock.advance(20);
  expect([downs, keptCount()]).toEqual([[], 0]);
});

test("P8, P14 — 1,000 DOWNs at once reach one watcher in the order of the ends, beside its full mailbox", async () => {
  const { clock, runtime, table, downs, keptCount } = startWatchers({ limits: { mailboxMax: 4 } });
  for (let slot = 1; slot <= 1_000; slot++) {
    table.spawn(slot);
    table.cast(0, say(`watch ${slot}`));
    await clock.settle();
  }
  table.cast(0, say("busy", { asyncMs: 100 }));
  await clock.settle();
  for (let count = 0; count < 4; count++) table.cast(0, say("full"));
  for (let slot = 1; slot <= 1_000; slot++) table.kill(slot);
  await clock.advance(200);
  expect(downs).toEqual(Array.from({ length: 1_000 }, (_, n) => `0 sees ${n + 1}#0 killed`));
  expect([keptCount(), runtime.stats().waitingCount]).toEqual([0, 0]);
});

test("P8 — a watcher that forgets its state, or passivates, keeps no monitor and is told of nothing", async () => {
  for (const isPassivated of [false, true]) {
    const { clock, table, downs, keptCount } = startWatchers({
      limits: { idleMs: 1_000 },
      behaviour: {
        mayPassivate: () => isPassivated,
        onCast: (context, { say: text }) => {
          if (text !== "watch") return;
          context.monitor(context.table, 2);
          if (!isPassivated) context.state = undefined;
        },
      },
    });
    table.cast(1, say("watch"));
    await clock.advance(2_000);
    expect([table.stateOf(1), keptCount()]).toEqual([undefined, 0]);
    table.spawn(2);
    table.kill(2);
    await clock.settle();
    expect([downs, table.residentCount]).toEqual([[], 0]);
  }
});

test("P8 — a table that stops takes its processes' monitors of other tables with it", async () => {
  const { clock, runtime, table, keptCount } = start();
  const told: string[] = [];
  const watchers = runtime.createTable<object, Step>({
    name: "watchers",
    behaviour: {
      init: () => ({}),
      onCast: (context) => void context.monitor(table, 7),
      onDown: () => void told.push("down"),
    },
  });
  watchers.cast(0, say("watch"));
  await clock.settle();
  expect(keptCount()).toBe(1);
  watchers.stop();
  expect(keptCount()).toBe(0);
  table.spawn(7);
  table.kill(7);
  await clock.settle();
  expect(told).toEqual([]);
});

test("P25 — a monitor of what is no slot is told as a bug, and nothing is kept", async () => {
  const { clock, table, crashes, keptCount } = startWatchers();
  for (const slot of [-1, 1.5, Number.NaN, 2 ** 24])
    expect(() => table.monitor(slot, () => undefined)).toThrow(BugError);
  expect(() => table.monitor(1, undefined as never)).toThrow(BugError);
  table.cast(0, say("watch -1"));
  await clock.settle();
  expect([keptCount(), crashes.length]).toEqual([0, 1]);
  expect(crashes[0]!.cause).toBeInstanceOf(BugError);
});
