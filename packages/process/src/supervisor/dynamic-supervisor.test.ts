// packages/process/src/supervisor/dynamic-supervisor.test.ts
// Goal: SV15, SV16, and SV4–SV14 where a dynamic supervisor differs. Method: scripted children.
// The cases of OTP's supervisor_SUITE that are kept here, by what they check:
//   simple_one_for_one, its escalation, shutdown, extra return value and child administration;
//   ignore and start errors from startChild; the child's spec; a time-out and brutal kill for many;
//   children that end otherwise than asked; arguments of temporary children are not saved; counts
//   with restarting children; a restart loop that must not hang; one child's failed restart does
//   not disturb another's; scaling with many temporary children.
import { expect, test } from "vitest";
import { KILLED, NORMAL, SHUTDOWN, type Exit } from "../exit.ts";
import type { ChildContext, ChildSpec, Started } from "./child.ts";
import { DynamicSupervisor } from "./dynamic-supervisor.ts";
import { AUTO_SHUTDOWN, CRASH, ESCALATED, never, Nursery, statuses } from "./harness.ts";
import type { DynamicSupervisorOptions } from "./spec.ts";

interface Greeter extends Started {
  readonly name: string;
}
type Options = Partial<Omit<DynamicSupervisorOptions<[string, number?], Greeter>, "child">>;
type Traits = Partial<ChildSpec<[string, number?], Greeter>>;

/** Children log their names; those called "bad" throw, "ignore" ignore. */
async function start(traits: Traits = {}, options: Options = {}) {
  const nursery = new Nursery();
  const contexts = new Map<string, ChildContext>();
  const child: ChildSpec<[string, number?], Greeter> = {
    id: "greeter",
    start: (context, name, count = 1) => {
      if (name === "bad") throw new Error("bad");
      if (name === "ignore") return name;
      contexts.set(name, context);
      nursery.log.push(`+${name}${count}`);
      return { name, stop: () => void nursery.log.push(`-${name}`) };
    },
    ...traits,
  };
  const top = new DynamicSupervisor({ ...nursery.observed, id: "top", child, ...options });
  await top.start();
  const exit = async (name: string, reason: Exit = CRASH): Promise<void> => {
    contexts.get(name)?.exited(reason);
    await nursery.clock.settle();
  };
  return { nursery, top, exit };
}

test("SV15 — children get their own arguments and ids, at the start and at a restart", async () => {
  const { nursery, top, exit } = await start();
  const started = await top.startChild("ada", 7);
  expect(started).toMatchObject({ kind: "started", id: "greeter:1", child: { name: "ada" } });
  expect(await top.startChild("bob")).toMatchObject({ kind: "started", id: "greeter:2" });
  await exit("ada");
  expect(nursery.news()).toBe("+ada7 +bob1 +ada7");
  expect(statuses(top)).toBe("greeter:1 running, greeter:2 running");
  expect(top.tree().children[0]).toMatchObject({ restartsCount: 1, lastExit: "error: crash" });
});

test("SV15 — a child is found by its id, and forgotten when it is terminated", async () => {
  const { nursery, top } = await start();
  await top.startChild("ada");
  expect(top.getChildSpec("greeter:1")).toMatchObject({ kind: "found", spec: { id: "greeter" } });
  expect(top.getChildSpec("greeter")).toEqual({ kind: "not_found" });
  expect(await top.terminateChild("greeter")).toEqual({ kind: "not_found" });
  expect(await top.terminateChild("greeter:1")).toEqual({ kind: "terminated" });
  expect(await top.terminateChild("greeter:1")).toEqual({ kind: "not_found" });
  expect(nursery.news()).toBe("+ada1 -ada");
  expect(top.countChildren()).toEqual({ specs: 1, active: 0, supervisors: 0, workers: 0 });
});

test("SV15 — maxChildren is answered, and a place is free again after an end", async () => {
  const { top, exit } = await start({ restart: "transient" }, { maxChildren: 2 });
  await top.startChild("ada");
  await top.startChild("bob");
  expect(await top.startChild("eve")).toEqual({ kind: "max_children", maxChildren: 2 });
  await exit("ada", NORMAL);
  expect(await top.startChild("eve")).toMatchObject({ kind: "started", id: "greeter:3" });
});

test("SV13 SV15 — ignored children and failed starts leave nothing", async () => {
  const { nursery, top } = await start();
  expect(await top.startChild("ignore")).toEqual({ kind: "ignored" });
  expect(await top.startChild("bad")).toEqual({ kind: "start_failed", error: new Error("bad") });
  expect(top.whichChildren()).toEqual([]);
  await nursery.clock.advance(60_000);
  expect(nursery.news()).toBe("");
});

test("SV3 — a rejected spec or option is named", async () => {
  const child: ChildSpec = { id: "", start: () => "ignore" };
  const { clock } = new Nursery();
  const top = new DynamicSupervisor({ id: "top", clock, child, maxChildren: -1 });
  expect(await top.start()).toMatchObject({
    kind: "rejected",
    problems: [{ field: "maxChildren" }, { childId: "", field: "id" }],
  });
  expect(await top.startChild()).toEqual({ kind: "stopped" });
});

test.each([
  ["permanent", NORMAL, 1],
  ["transient", NORMAL, 0],
  ["transient", CRASH, 1],
  ["temporary", CRASH, 0],
] as const)("SV4 — %s after %j", async (restart, exit, activeCount) => {
  const family = await start({ restart });
  await family.top.startChild("ada");
  await family.exit("ada", exit);
  expect(family.top.countChildren()).toMatchObject({ active: activeCount, workers: activeCount });
});

test("SV4 — a temporary child's arguments are forgotten once it has started", async () => {
  const clock = new Nursery().clock;
  const child: ChildSpec<[object]> = {
    id: "a",
    restart: "temporary",
    start: () => ({ stop: () => {} }),
  };
  const top = new DynamicSupervisor({ id: "top", clock, child });
  await top.start();
  let payload: object | undefined = { big: true };
  const kept = new WeakRef(payload);
  await top.startChild(payload);
  payload = undefined;
  await collectGarbage();
  expect(kept.deref()).toBeUndefined();
  expect(top.countChildren().active).toBe(1);
});

test("SV5 SV8 — too many restarts stop all children and escalate", async () => {
  const { nursery, top, exit } = await start();
  for (const name of ["ada", "bob", "eve"]) await top.startChild(name);
  for (let count = 0; count < 3; count++) await exit("ada");
  nursery.news();
  await exit("bob");
  expect(nursery.news()).toBe("-eve -ada");
  expect(nursery.exits).toEqual([ESCALATED]);
  expect(top.countChildren()).toMatchObject({ active: 0, workers: 0 });
});

test("SV7 SV17 — a child that cannot restart disturbs nobody, counts exactly, can be terminated", async () => {
  let mayStart = true;
  const begin = (_: ChildContext, name: string): Greeter => {
    if (name === "ada" && !mayStart) throw new Error("no");
    return { name, stop: () => {} };
  };
  const contexts: ChildContext[] = [];
  const { nursery, top } = await start(
    { start: (context, name) => (contexts.push(context), begin(context, name)) },
    { intensity: 1_000, restartDelayMs: () => 10 },
  );
  await top.startChild("ada");
  await top.startChild("bob");
  mayStart = false;
  contexts[0]?.exited(CRASH);
  await nursery.clock.advance(55);
  expect(statuses(top)).toBe("greeter:1 restarting, greeter:2 running");
  expect(top.countChildren()).toEqual({ specs: 1, active: 1, supervisors: 0, workers: 2 });
  expect(await top.startChild("eve")).toMatchObject({ kind: "started" });
  expect(await top.terminateChild("greeter:1")).toEqual({ kind: "terminated" });
  expect(top.countChildren()).toEqual({ specs: 1, active: 2, supervisors: 0, workers: 2 });
  expect(nursery.clock.timersCount).toBe(0);
});

test("SV13 — a child that ignores its restart is forgotten", async () => {
  let count = 0;
  const { nursery, top } = await start({
    start: (context, name) => {
      if (count++ > 0) return "ignore";
      queueMicrotask(() => context.exited(CRASH));
      return { name, stop: () => {} };
    },
  });
  await top.startChild("ada");
  await nursery.clock.settle();
  expect(top.countChildren()).toMatchObject({ active: 0, workers: 0 });
});

test("SV14 — all_significant ends with the last child, any_significant with the first", async () => {
  const traits = { significant: true, restart: "transient" } as const;
  const all = await start(traits, { autoShutdown: "all_significant" });
  await all.top.startChild("ada");
  await all.top.startChild("bob");
  await all.top.terminateChild("greeter:2"); // told to end: ends nobody
  expect(all.nursery.exits).toEqual([]);
  await all.exit("ada", NORMAL);
  expect(all.nursery.exits).toEqual([AUTO_SHUTDOWN]);
  const any = await start(traits, { autoShutdown: "any_significant" });
  await any.top.startChild("ada");
  await any.top.startChild("bob");
  await any.exit("ada", NORMAL);
  expect(any.nursery.exits).toEqual([AUTO_SHUTDOWN]);
});

test("SV15 SV9 — children stop together, with one timer for all that are late", async () => {
  const nursery = new Nursery();
  const stopTimesMs = [10, 900, Infinity, Infinity];
  const child: ChildSpec<[number]> = {
    id: "slow",
    shutdown: 1_000,
    start: (_, stopMs) => ({
      stop: () => (stopMs === Infinity ? never : nursery.clock.sleep(stopMs)),
      kill: () => void nursery.log.push(`!${stopMs}`),
    }),
  };
  const top = new DynamicSupervisor({ ...nursery.observed, id: "top", child });
  await top.start();
  for (const stopMs of stopTimesMs) await top.startChild(stopMs);
  const stopped = top.stop();
  await nursery.clock.settle();
  expect(nursery.clock.timersCount).toBe(2 + 1); // two sleeps and the shared timer
  await nursery.clock.advance(999);
  expect(nursery.news()).toBe("");
  expect(top.countChildren().active).toBe(2);
  await nursery.clock.advance(1);
  expect(await stopped).toEqual(SHUTDOWN);
  expect(nursery.news()).toBe("!Infinity !Infinity");
  expect(top.stats().killedTotal).toBe(2);
  const ends = nursery.reports.filter((report) => report.kind === "child_stopped");
  expect(ends.map(({ exit }) => exit)).toEqual([KILLED, KILLED, SHUTDOWN, SHUTDOWN]);
});

test("SV15 — with shutdown kill nobody is waited for", async () => {
  const { nursery, top } = await start({
    shutdown: "kill",
    start: (_, name) => ({ name, stop: () => never }),
  });
  await top.startChild("ada");
  expect(await top.stop()).toEqual(SHUTDOWN);
  expect(nursery.clock.timersCount).toBe(0);
});

test("SV18 — requests after the end, and those that wait when it ends, are answered stopped", async () => {
  const { nursery, top } = await start();
  const first = top.startChild("ada");
  const stopped = top.stop();
  const second = top.startChild("bob");
  expect([(await first).kind, (await second).kind]).toEqual(["stopped", "stopped"]);
  await stopped;
  expect(await top.terminateChild("greeter:1")).toEqual({ kind: "stopped" });
  expect(nursery.news()).toBe("");
});

/**
 * Milliseconds for `count` children: start, count, end or terminate a tenth, stop the others. CPU time
 * of this thread: what else runs on the machine does not count.
 */
async function lifeMs(count: number): Promise<number> {
  const { clock } = new Nursery();
  const contexts: ChildContext[] = [];
  let running = 0;
  const child: ChildSpec<[number]> = {
    id: "many",
    restart: "transient",
    start: (context) => {
      contexts.push(context);
      running++;
      return { stop: () => void running-- };
    },
  };
  const top = new DynamicSupervisor({ id: "top", clock, child, intensity: 1_000_000 });
  await top.start();
  const begun = process.threadCpuUsage();
  for (let number = 0; number < count; number++) await top.startChild(number);
  for (let number = 0; number < count / 10; number++) {
    contexts[number]?.exited(number % 2 === 0 ? NORMAL : CRASH);
    running--;
    await top.terminateChild(`many:${count - number}`);
    top.countChildren();
  }
  const left = count - count / 10 - count / 20;
  expect(top.countChildren()).toEqual({ specs: 1, active: left, supervisors: 0, workers: left });
  expect(running).toBe(left);
  await top.stop();
  expect(running).toBe(0);
  const { user, system } = process.threadCpuUsage(begun);
  return (user + system) / 1_000;
}

test("SV16 — 100,000 children start, end and stop in the time of ten times 10,000", async () => {
  await lifeMs(10_000); // warm
  const smallMs = Math.min(await lifeMs(10_000), await lifeMs(10_000));
  const largeMs = await lifeMs(100_000);
  expect(largeMs).toBeLessThan(10_000);
  expect(largeMs / smallMs).toBeLessThan(40); // quadratic would be 100
});

async function collectGarbage(): Promise<void> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
}
