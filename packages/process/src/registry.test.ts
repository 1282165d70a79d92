// Goal: processes by key: one slot per key, keys are free when their process is over (RG1, RG2, P3–P8).
// Long: a table's guarantees are tried again by name, where slots go from one to the next.
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Behaviour, type Down, IGNORE } from "./behaviour.ts";
import { type Counted, noteOutcomes, say, type Step } from "./harness.ts";
import type { RuntimeLimits } from "./limits.ts";
import { Registry, type RegistryOptions } from "./registry.ts";
import { createRuntime } from "./runtime.ts";

type Options = Partial<Omit<RegistryOptions<Counted, Step, unknown>, "behaviour">> & {
  readonly behaviour?: Partial<Behaviour<Counted, Step>>;
  readonly limits?: Partial<RuntimeLimits>;
};

function startRegistry({ behaviour = {}, limits = {}, ...options }: Options = {}) {
  const clock = new FakeClock();
  const handled: string[] = [];
  const keys: string[] = [];
  const runtime = createRuntime({
    clock,
    scheduler: clock,
    random: createSeededRandom(1),
    limits,
    onCrash: (report) => keys.push(report.key),
  });
  const registry = new Registry<Counted, Step>(runtime, {
    name: "sessions",
    ...options,
    behaviour: (self) => ({
      init: () => ({ count: 0 }),
      onCast: (context, step) => {
        if (step.crash === true) throw new Error(step.say);
        handled.push(`${self.keyOf(context.slot)}:${step.say}`);
        context.state = step.forget === true ? undefined : { count: 1 };
      },
      onCall: (context, step) => `${self.keyOf(context.slot)} ${step.say}`,
      ...behaviour,
    }),
  });
  return { clock, runtime, registry, handled, keys };
}

test("RG1 — on demand: the first message begins the process under its key, with one slot", async () => {
  const { clock, registry, handled, keys } = startRegistry();
  const { outcomes, note } = noteOutcomes(clock);
  for (const key of ["ann", "bob", "ann"]) registry.cast(key, say("x"));
  note(registry.call("cleo", say("call")));
  await clock.settle();
  expect(handled.toSorted()).toEqual(["ann:x", "ann:x", "bob:x"]);
  expect(outcomes).toEqual(["reply cleo call@0"]);
  expect([registry.size, [...registry.keys()]]).toEqual([3, ["ann", "bob", "cleo"]]);
  expect(registry.inspect("bob")).toMatchObject({ key: "bob", phase: "idle" });
  registry.cast("bob", say("boom", { crash: true }));
  await clock.settle();
  expect(keys).toEqual(["bob"]);
});

test("P3 — spawned: cast and call of an unknown key are noproc at once and name nobody", async () => {
  const { clock, registry } = startRegistry({ activation: "spawned" });
  const { outcomes, note } = noteOutcomes(clock);
  expect(registry.cast("ann", say("x"))).toBe("noproc");
  note(registry.call("ann", say("x")));
  await clock.settle();
  expect([outcomes, registry.size, registry.whereis("ann")]).toEqual([
    ["exit noproc@0"],
    0,
    undefined,
  ]);
  const nobody = [registry.inspect("ann"), registry.exit("ann"), registry.kill("ann")];
  expect(nobody).toEqual([undefined, false, 0]);
});

test("P8 — a monitor of a name that nobody has, or has any more, tells noproc, in a later slice", async () => {
  const { clock, registry } = startRegistry({ activation: "spawned" });
  const seen: Down[] = [];
  const watch = (key: string) => registry.monitor(key, (down) => seen.push(down));
  registry.spawn("ann");
  registry.kill("ann");
  await clock.settle();
  watch("ann");
  watch("bob").demonitor();
  expect(seen).toEqual([]);
  await clock.settle();
  const noproc = { table: "sessions", slot: -1, generation: 0, exit: { kind: "noproc" } };
  expect([seen, registry.size]).toEqual([[noproc], 0]);
});

test("P5, P6 — failed, ignored, already_started: the name is free, or the same ref", async () => {
  let answer: Counted | typeof IGNORE | "throw" = "throw";
  const { registry } = startRegistry({
    activation: "spawned",
    behaviour: {
      init: () => {
        if (answer === "throw") throw new Error("init");
        return answer;
      },
    },
  });
  expect([registry.spawn("ann").kind, registry.whereis("ann")]).toEqual(["failed", undefined]);
  answer = IGNORE;
  expect([registry.spawn("ann").kind, registry.size]).toEqual(["ignored", 0]);
  answer = { count: 7 };
  const first = registry.spawn("ann");
  const again = registry.spawn("ann");
  expect([first.kind, again.kind]).toEqual(["started", "already_started"]);
  expect("ref" in first && "ref" in again && first.ref).toEqual("ref" in again && again.ref);
  registry.table.stop();
  expect([registry.spawn("bob").kind, registry.whereis("bob")]).toEqual(["stopped", undefined]);
});

test("P5 — an init that spawns other names, which fail, keeps its own", async () => {
  const { clock, registry, handled } = startRegistry({
    activation: "spawned",
    behaviour: {
      init: (slot) => {
        if (registry.keyOf(slot) !== "outer") throw new Error("inner");
        registry.spawn("inner");
        return { count: 0 };
      },
    },
  });
  expect(registry.spawn("outer").kind).toBe("started");
  registry.cast("outer", say("x"));
  await clock.settle();
  expect([handled, [...registry.keys()]]).toEqual([["outer:x"], ["outer"]]);
});

test("P7, RG2 — the name is free when DOWN is seen, by exit, kill and from the ready queue", async () => {
  const { clock, registry, handled } = startRegistry({ activation: "spawned" });
  const seen: string[] = [];
  const watch = (): void =>
    void registry.monitor("ann", ({ exit }) => {
      seen.push(
        `${exit.kind} ${registry.cast("ann", say("nobody"))} ${registry.spawn("ann").kind}`,
      );
      if (seen.length < 4) watch();
    });
  registry.spawn("ann");
  watch();
  const ends = [
    () => registry.exit("ann"),
    () => registry.kill("ann"),
    () => (registry.cast("ann", say("lost")), registry.exit("ann")),
  ];
  for (const end of ends) {
    await clock.settle();
    end();
  }
  await clock.settle();
  registry.cast("ann", say("fine"));
  await clock.settle();
  expect(seen).toEqual([
    "shutdown noproc started",
    "killed noproc started",
    "shutdown noproc started",
  ]);
  expect(handled).toEqual(["ann:fine"]);
});

test("RG2 — keys of processes that are over are not kept, whatever the way", async () => {
  const { clock, registry, runtime } = startRegistry({ activation: "spawned" });
  for (const key of ["exits", "killed", "queued", "fanned"]) registry.spawn(key);
  registry.exit("exits");
  registry.kill("killed");
  registry.cast("queued", say("lost"));
  registry.exit("queued");
  registry.table.castEach([registry.whereis("fanned")!], say("lost"));
  registry.exit("fanned");
  await clock.settle();
  expect([registry.size, runtime.stats().waitingCount]).toEqual([0, 0]);
});

test("RG2 — on demand: a key is free when its process has nothing left, its slot used again", async () => {
  const { clock, registry, runtime } = startRegistry({
    behaviour: {
      init: (slot) => (registry.keyOf(slot)?.startsWith("s") ? undefined : { count: 0 }),
    },
  });
  registry.cast("forgets", say("x", { forget: true }));
  registry.cast("stays", say("x"));
  await clock.settle();
  expect([...registry.keys()]).toEqual(["stays"]);
  const slot = registry.whereis("stays")!;
  const { generation } = registry.inspect("stays")!;
  registry.cast("stays", say("go", { forget: true }));
  await clock.settle();
  registry.cast("next", say("x"));
  registry.cast("after", say("x"));
  expect([registry.whereis("next"), registry.whereis("after")]).toContain(slot);
  expect(registry.table.generationOf(slot)).toBeGreaterThan(generation);
  await clock.settle();
  expect([registry.size, runtime.stats().residentCount]).toEqual([2, 2]);
});

test("RG2 — on demand: processes without state, dead calls and refused messages keep no key", async () => {
  const { clock, registry, runtime, handled } = startRegistry({
    behaviour: {
      init: () => undefined,
      onCast: (context) => void handled.push(registry.keyOf(context.slot) ?? "nobody"),
    },
    limits: { mailboxMaxBytes: 10 },
  });
  for (let n = 0; n < 100; n++) registry.cast(`key ${n}`, say("x"));
  await clock.settle();
  expect([registry.size, handled.length]).toEqual([0, 100]);
  const { outcomes, note } = noteOutcomes(clock);
  note(registry.call("called", say("x"), { timeoutMs: 10 }));
  clock.block(20);
  await clock.settle();
  note(registry.call("called", say("x"), { timeoutMs: 0 }));
  await clock.settle();
  expect([outcomes, registry.size]).toEqual([["timeout@20", "timeout@20"], 0]);
  const drained = runtime.drain(10);
  expect([registry.cast("late", say("x")), registry.size]).toEqual(["stopped", 0]);
  await clock.settle();
  expect(await drained).toEqual({ kind: "drained" });
  runtime.stop();
  expect([registry.cast("later", say("x")), registry.size]).toEqual(["stopped", 0]);
});

test("P7, RG2 — nobody has the name any more when DOWN is seen, also when a message waited at the kill", async () => {
  for (const hasWaiting of [false, true]) {
    const { clock, registry, handled } = startRegistry({ activation: "spawned" });
    const seen: unknown[] = [];
    registry.spawn("ann");
    await clock.settle();
    registry.monitor("ann", () => seen.push(registry.whereis("ann"), registry.size));
    if (hasWaiting) registry.cast("ann", say("lost"));
    registry.kill("ann");
    // Whoever gets the slot next is not kept from its turn by what the ready queue holds still.
    await clock.settle();
    expect(seen).toEqual([undefined, 0]);
    registry.spawn("bob");
    registry.cast("bob", say("x"));
    await clock.settle();
    expect([handled, [...registry.keys()]]).toEqual([["bob:x"], ["bob"]]);
  }
});

test("P7, RG2 — a slot whose old entry is in the ready queue still serves its next name at once", async () => {
  const { clock, registry, handled } = startRegistry({ activation: "spawned" });
  const { outcomes, note } = noteOutcomes(clock);
  registry.spawn("ann");
  await clock.settle();
  registry.monitor("ann", () => {
    registry.spawn("bob");
    registry.cast("bob", say("x"));
    note(registry.call("bob", say("call")));
  });
  registry.cast("ann", say("lost"));
  registry.kill("ann");
  await clock.settle();
  expect([handled, outcomes]).toEqual([["bob:x"], ["reply bob call@0"]]);
});

test("RG2 — a monitored key stays its process's until nobody watches any more", async () => {
  const { clock, registry } = startRegistry();
  registry.cast("ann", say("x"));
  await clock.settle();
  const monitor = registry.monitor("ann", () => undefined);
  registry.cast("ann", say("go", { forget: true }));
  await clock.settle();
  expect(registry.size).toBe(1);
  monitor.demonitor();
  registry.cast("bob", say("x"));
  await clock.settle();
  expect([...registry.keys()]).toEqual(["bob"]);
});

test("RG1, RG2 — for any traffic a key's messages reach its own process only, and keys come free", async () => {
  const keys = ["a", "b", "c", "d"];
  const step = fc.record({
    kind: fc.constantFrom("cast", "cast", "cast", "forget", "exit", "kill", "spawn", "wait"),
    key: fc.constantFrom(...keys),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 80 }),
      fc.constantFrom("spawned", "on_demand" as const),
      async (steps, activation) => {
        const { clock, runtime, registry, handled } = startRegistry({ activation });
        for (const [n, { kind, key }] of steps.entries()) {
          if (kind === "wait") await clock.settle();
          else if (kind === "cast") registry.cast(key, say(`${key}${n}`));
          else if (kind === "forget") registry.cast(key, say(`${key}${n}`, { forget: true }));
          else registry[kind](key);
          const slots = keys.map((one) => registry.whereis(one)).filter((one) => one !== undefined);
          expect(new Set(slots).size).toBe(slots.length);
        }
        await clock.settle();
        for (const one of handled) expect(one[0]).toBe(one[2]);
        for (const key of keys) registry.kill(key);
        await clock.settle();
        expect([registry.size, runtime.stats().waitingCount]).toEqual([0, 0]);
      },
    ),
    { numRuns: 200 },
  );
});
