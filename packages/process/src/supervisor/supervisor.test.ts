// packages/process/src/supervisor/supervisor.test.ts
// Goal: start, requests and answers (SV1–SV4, SV12, SV13, SV17–SV19). Method: scripted children.
// The cases of OTP's supervisor_SUITE that are kept here, by what they check:
//   start and terminate gracefully; ignore from a child at start, from startChild, and of a
//   temporary child; start error at init, from startChild and restartChild; faulty specs; default
//   values of a spec; child administration; two specs with one id; supervisor flags; permanent,
//   transient and temporary with normal, shutdown and abnormal exits; a temporary bystander;
//   children's order; counts with stopped, restarting and supervisor children; start's extra return
//   value; the spec of a temporary child is not saved.
// Long, as OTP's suite is.
import { describe, expect, test } from "vitest";
import { NORMAL, SHUTDOWN, type Exit } from "../exit.ts";
import type { ChildSpec } from "./child.ts";
import { CRASH, never, Nursery, statuses } from "./harness.ts";
import { DynamicSupervisor } from "./dynamic-supervisor.ts";
import type { SupervisorOptions } from "./spec.ts";

function raise(error: Error): never {
  throw error;
}

describe("start", () => {
  test("SV1 — one after another in the order of the specs; stop in reverse, one by one", async () => {
    const nursery = new Nursery();
    const slow = { onStart: () => nursery.clock.sleep(100), onStop: () => nursery.clock.sleep(50) };
    const top = nursery.create({ children: ["a", "b", "c"].map((id) => nursery.child(id, slow)) });
    const started = top.start();
    await nursery.clock.advance(150);
    expect(nursery.news()).toBe("+a");
    expect(statuses(top)).toBe("a running, b starting, c stopped");
    await nursery.clock.advance(150);
    expect(await started).toEqual({ kind: "started" });
    expect(nursery.news()).toBe("+b +c");
    const stopped = top.stop();
    await nursery.clock.advance(60);
    expect(nursery.news()).toBe("-c -b");
    expect(statuses(top)).toBe("a running, b stopping, c stopped");
    await nursery.clock.advance(90);
    expect(await stopped).toEqual(SHUTDOWN);
    expect(nursery.news()).toBe("-a");
    expect(nursery.exits).toEqual([SHUTDOWN]);
    expect(nursery.clock.timersCount).toBe(0);
  });

  test.each(["throws", "rejects"])(
    "SV2 — a start that %s stops those before it and is answered",
    async (how) => {
      const nursery = new Nursery();
      const error = new Error("no");
      const failing = nursery.child("c", {
        onStart: () => (how === "rejects" ? Promise.reject(error) : raise(error)),
      });
      const children = [nursery.child("a"), nursery.child("b"), failing, nursery.child("d")];
      const top = nursery.create({ children });
      expect(await top.start()).toEqual({ kind: "start_failed", id: "c", error });
      expect(nursery.news()).toBe("+a +b -b -a");
      expect(nursery.exits).toEqual([]); // it had not started
      expect(await top.startChild(nursery.child("e"))).toEqual({ kind: "stopped" });
      expect(top.stats().startFailuresTotal).toBe(1);
    },
  );

  test("SV2 — a start that gives neither a child nor ignore has failed", async () => {
    const top = new Nursery().create({ children: [{ id: "a", start: () => 7 as never }] });
    expect(await top.start()).toMatchObject({ kind: "start_failed", id: "a" });
  });

  test("SV18 — start and stop may be called twice; a stop before the start wins", async () => {
    const nursery = new Nursery();
    const top = nursery.create({ children: [nursery.child("a")] });
    expect(await Promise.all([top.start(), top.start()])).toEqual([
      { kind: "started" },
      { kind: "started" },
    ]);
    expect(await Promise.all([top.stop(), top.stop()])).toEqual([SHUTDOWN, SHUTDOWN]);
    expect(nursery.news()).toBe("+a -a");
    const late = nursery.create({ children: [nursery.child("b")] });
    await late.stop();
    expect(await late.start()).toEqual({ kind: "stopped" });
    expect(nursery.news()).toBe("");
  });

  test("SV18 — a stop interrupts a start under way and stops what has started", async () => {
    const nursery = new Nursery();
    const hanging = nursery.child("b", { onStart: () => never, shutdown: 700 });
    const top = nursery.create({ children: [nursery.child("a"), hanging, nursery.child("c")] });
    const started = top.start();
    await nursery.clock.advance(1);
    const stopped = top.stop();
    expect(await started).toEqual({ kind: "stopped" });
    await nursery.clock.settle();
    expect(nursery.contexts.get("b")?.[0]?.signal.reason).toEqual(SHUTDOWN);
    await nursery.clock.advance(700); // b has its shutdown time to give up its start
    expect(await stopped).toEqual(SHUTDOWN);
    expect(nursery.news()).toBe("+a -a");
    expect(nursery.clock.timersCount).toBe(0);
  });
});

describe("specs", () => {
  const good: ChildSpec = { id: "good", start: () => "ignore" };
  test.each<[string, Partial<SupervisorOptions>]>([
    ["id", { id: "" }],
    ["strategy", { strategy: "two_for_one" as never }],
    ["intensity", { intensity: -1 }],
    ["intensity", { intensity: 1.5 }],
    ["periodMs", { periodMs: 0 }],
    ["periodMs", { periodMs: Number.NaN }],
    ["autoShutdown", { autoShutdown: "sometimes" as never }],
  ])("SV3 — options with a bad %s are rejected: %j", async (field, options) => {
    const nursery = new Nursery();
    const top = nursery.create({ children: [nursery.child("a")], ...options });
    expect(await top.start()).toMatchObject({
      kind: "rejected",
      problems: [{ childId: undefined, field }],
    });
    expect(nursery.startsOf("a")).toBe(0);
  });

  test.each([undefined, null, 7, "text"])(
    "SV3, SV12 — a spec that is %s is rejected, and the supervisor lives with its children",
    async (bad) => {
      const nursery = new Nursery();
      const rejected = { kind: "rejected", problems: [{ childId: undefined, field: "children" }] };
      const top = nursery.create({ children: [nursery.child("a"), bad as never] });
      expect(await top.start()).toMatchObject(rejected);
      expect(await nursery.create({ children: bad as never }).start()).toMatchObject(
        bad === undefined ? { kind: "started" } : rejected,
      );
      expect(nursery.startsOf("a")).toBe(0);
      const running = await nursery.start({ children: [nursery.child("a")] });
      expect(await running.startChild(bad as never)).toMatchObject(rejected);
      expect([statuses(running), nursery.exits]).toEqual(["a running", []]);
      const dynamic = new DynamicSupervisor({ ...nursery.observed, id: "d", child: bad as never });
      expect(await dynamic.start()).toMatchObject(rejected);
    },
  );

  test.each<[string, Partial<ChildSpec>]>([
    ["id", { id: "" }],
    ["id", { id: 7 as never }],
    ["start", { start: undefined as never }],
    ["restart", { restart: "sometimes" as never }],
    ["type", { type: "boss" as never }],
    ["shutdown", { shutdown: -1 }],
    ["shutdown", { shutdown: Number.NaN }],
    ["shutdown", { shutdown: 2 ** 31 }],
    ["shutdown", { shutdown: "infinity" }],
    ["startMaxMs", { startMaxMs: -1 }],
    ["significant", { significant: true, restart: "transient" }], // autoShutdown is never
    ["significant", { significant: "yes" as never }],
  ])("SV3 — a child with a bad %s starts nothing: %j", async (field, bad) => {
    const nursery = new Nursery();
    const top = nursery.create({ children: [nursery.child("a"), { ...good, ...bad }] });
    const rejected = { kind: "rejected", problems: [{ field, problem: expect.any(String) }] };
    expect(await top.start()).toMatchObject(rejected);
    expect(nursery.startsOf("a")).toBe(0);
    const running = await nursery.start({});
    expect(await running.startChild({ ...good, ...bad })).toMatchObject(rejected);
    expect(running.whichChildren()).toEqual([]);
  });

  test("SV3 — an id that is there twice, and all problems at once", async () => {
    const nursery = new Nursery();
    const children = [nursery.child("a"), nursery.child("a", { shutdown: -5 })];
    const answer = await nursery.create({ children, intensity: -1 }).start();
    expect(answer.kind === "rejected" && answer.problems.map(({ field }) => field)).toEqual([
      "intensity",
      "shutdown",
      "id",
    ]);
    expect(nursery.startsOf("a")).toBe(0);
  });

  test("SV12 — getChildSpec gives the spec with its defaults", async () => {
    const nursery = new Nursery();
    const children: ChildSpec[] = [
      nursery.child("a"),
      nursery.child("b", { shutdown: "kill", restart: "temporary" }),
      nursery.child("c", { type: "supervisor" }),
      nursery.child("d", { shutdown: "infinity", mayWaitForever: true }),
    ];
    const top = await nursery.start({ children });
    expect(top.getChildSpec("a")).toEqual({
      kind: "found",
      spec: {
        id: "a",
        start: expect.any(Function),
        restart: "permanent",
        shutdown: 5_000,
        type: "worker",
        significant: false,
        startMaxMs: 30_000,
      },
    });
    expect(top.getChildSpec("b")).toMatchObject({
      spec: { shutdown: "kill", restart: "temporary" },
    });
    expect(top.getChildSpec("c")).toMatchObject({
      spec: { shutdown: "infinity", type: "supervisor", startMaxMs: "infinity" },
    });
    expect(top.getChildSpec("e")).toEqual({ kind: "not_found" });
  });
});

describe("administration", () => {
  test("SV12 — start, terminate, restart and delete answer what is so", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({});
    const spec = nursery.child("a");
    const started = await top.startChild(spec);
    expect(started).toMatchObject({ kind: "started", child: { stop: expect.any(Function) } });
    expect(await top.startChild(spec)).toEqual({ ...started, kind: "already_started" });
    expect(await top.restartChild("a")).toEqual({ kind: "running" });
    expect(await top.deleteChild("a")).toEqual({ kind: "running" });
    expect(await top.terminateChild("a")).toEqual({ kind: "terminated" });
    expect(await top.terminateChild("a")).toEqual({ kind: "terminated" }); // as OTP: ok again
    expect(await top.startChild(spec)).toEqual({ kind: "already_present" });
    expect(statuses(top)).toBe("a stopped");
    expect(await top.restartChild("a")).toMatchObject({ kind: "started" });
    expect(await top.terminateChild("a")).toEqual({ kind: "terminated" });
    expect(await top.deleteChild("a")).toEqual({ kind: "deleted" });
    expect(await top.deleteChild("a")).toEqual({ kind: "not_found" });
    expect(await top.restartChild("a")).toEqual({ kind: "not_found" });
    expect(await top.terminateChild("a")).toEqual({ kind: "not_found" });
    expect(await top.startChild(spec)).toMatchObject({ kind: "started" });
    expect(nursery.news()).toBe("+a -a +a -a +a");
  });

  test("SV12 — what start gave is in the answer", async () => {
    const top = await new Nursery().start({});
    const child = { stop: () => {}, port: 4711 };
    expect(await top.startChild({ id: "a", start: () => child })).toEqual({
      kind: "started",
      child,
    });
    expect(top.whichChildren()[0]?.child).toBe(child);
  });

  test("SV12 — a start that fails leaves no new spec, and keeps an old one", async () => {
    const nursery = new Nursery();
    const error = new Error("no");
    const onStart = (count: number): void => {
      if (count !== 1) throw error;
    };
    const top = await nursery.start({});
    const spec = nursery.child("a", { onStart });
    expect(await top.startChild(spec)).toEqual({ kind: "start_failed", error });
    expect(top.whichChildren()).toEqual([]);
    expect(await top.startChild(spec)).toMatchObject({ kind: "started" });
    await top.terminateChild("a");
    expect(await top.restartChild("a")).toEqual({ kind: "start_failed", error });
    expect(statuses(top)).toBe("a stopped");
    await nursery.clock.advance(10_000);
    expect(nursery.startsOf("a")).toBe(3); // a request's failure is not retried
  });

  test("SV12 — requests are answered one after another, in the order they were made", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({});
    const slow = nursery.child("a", { onStart: () => nursery.clock.sleep(100) });
    const answers = [
      top.startChild(slow),
      top.startChild(slow),
      top.terminateChild("a"),
      top.deleteChild("a"),
      top.deleteChild("a"),
    ];
    await nursery.clock.advance(100);
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual([
      "started",
      "already_started",
      "terminated",
      "deleted",
      "not_found",
    ]);
  });

  test("SV18 — after its end every request is answered stopped", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({ children: [nursery.child("a")] });
    await top.stop();
    expect(await top.startChild(nursery.child("b"))).toEqual({ kind: "stopped" });
    expect(await top.restartChild("a")).toEqual({ kind: "stopped" });
    expect(await top.terminateChild("a")).toEqual({ kind: "stopped" });
    expect(await top.deleteChild("a")).toEqual({ kind: "stopped" });
    expect(nursery.news()).toBe("+a -a");
  });
});

describe("ignore", () => {
  test("SV13 — an ignored child is kept as not running, a temporary one is forgotten", async () => {
    const nursery = new Nursery();
    const onStart = (count: number): unknown => (count === 0 ? "ignore" : undefined);
    const gone = nursery.child("gone", { onStart, restart: "temporary" });
    const top = await nursery.start({ children: [gone, nursery.child("a", { onStart })] });
    const late = { onStart: () => "ignore" };
    expect(await top.startChild(nursery.child("b", late))).toEqual({ kind: "ignored" });
    expect(await top.startChild(nursery.child("c", { ...late, restart: "temporary" }))).toEqual({
      kind: "ignored",
    });
    expect(statuses(top)).toBe("a ignored, b ignored");
    expect(top.countChildren()).toEqual({ specs: 2, active: 0, supervisors: 0, workers: 2 });
    expect(await top.startChild(nursery.child("b"))).toEqual({ kind: "already_present" });
    expect(await top.terminateChild("b")).toEqual({ kind: "terminated" });
    expect(await top.deleteChild("b")).toEqual({ kind: "deleted" });
    expect(await top.restartChild("a")).toMatchObject({ kind: "started" });
    expect(top.tree().children).toMatchObject([{ status: "running", lastExit: undefined }]);
  });

  test("SV13 — a child that ignores its restart stays away and is not counted against it", async () => {
    const nursery = new Nursery();
    const onStart = (count: number): unknown => (count === 1 ? "ignore" : undefined);
    const top = await nursery.start({ children: [nursery.child("a", { onStart })] });
    await nursery.exit("a");
    expect(statuses(top)).toBe("a ignored");
    await nursery.clock.advance(60_000);
    expect(nursery.startsOf("a")).toBe(2);
  });
});

describe("restart types", () => {
  const error: Exit = CRASH;
  const detailed: Exit = { kind: "shutdown", detail: "done" };
  test.each<[ChildSpec["restart"] & string, Exit, string]>([
    ["permanent", NORMAL, "running"],
    ["permanent", SHUTDOWN, "running"],
    ["permanent", error, "running"],
    ["transient", NORMAL, "stopped"],
    ["transient", SHUTDOWN, "stopped"],
    ["transient", detailed, "stopped"],
    ["transient", { kind: "killed" }, "running"],
    ["transient", { kind: "noconnection" }, "running"],
    ["transient", error, "running"],
    ["temporary", NORMAL, "forgotten"],
    ["temporary", SHUTDOWN, "forgotten"],
    ["temporary", error, "forgotten"],
  ])("SV4 — %s after %j: %s", async (restart, exit, becomes) => {
    const nursery = new Nursery();
    const children = [nursery.child("a", { restart }), nursery.child("b")];
    const top = await nursery.start({ children });
    await nursery.exit("a", exit);
    expect(nursery.startsOf("a")).toBe(becomes === "running" ? 2 : 1);
    expect(statuses(top)).toBe(becomes === "forgotten" ? "b running" : `a ${becomes}, b running`);
    expect(nursery.startsOf("b")).toBe(1);
    const next = { running: "restart", stopped: "kept", forgotten: "forgotten" }[becomes];
    expect(nursery.reports).toContainEqual({
      kind: "child_exited",
      supervisor: "top",
      id: "a",
      exit,
      next,
    });
  });

  test("SV4 — a temporary child is forgotten when it is terminated, and its id is free", async () => {
    const nursery = new Nursery();
    const temporary = nursery.child("a", { restart: "temporary" });
    const top = await nursery.start({ children: [temporary] });
    expect(await top.terminateChild("a")).toEqual({ kind: "terminated" });
    expect(await top.restartChild("a")).toEqual({ kind: "not_found" });
    expect(top.getChildSpec("a")).toEqual({ kind: "not_found" });
    expect(await top.startChild(temporary)).toMatchObject({ kind: "started" });
  });
});

describe("inspection", () => {
  test("SV17 — counts and tree are exact through stop, exit, restart and removal", async () => {
    const nursery = new Nursery();
    const onStart = (count: number): void => {
      if (count === 1) throw new Error("not yet");
    };
    const children = [
      nursery.child("a", { onStart }),
      nursery.child("b", { type: "supervisor" }),
      nursery.child("c", { restart: "temporary" }),
    ];
    const top = await nursery.start({ children, restartDelayMs: () => 100 });
    expect(top.countChildren()).toEqual({ specs: 3, active: 3, supervisors: 1, workers: 2 });
    nursery.contexts.get("a")?.[0]?.exited(CRASH);
    expect(top.countChildren()).toMatchObject({ specs: 3, active: 2 }); // at once
    expect(statuses(top)).toBe("a restarting, b running, c running");
    await nursery.clock.settle();
    await top.terminateChild("b");
    await nursery.exit("c", NORMAL);
    expect(top.countChildren()).toEqual({ specs: 2, active: 0, supervisors: 1, workers: 1 });
    expect(top.tree()).toEqual({
      id: "top",
      type: "supervisor",
      status: "running",
      restartsCount: 0,
      lastExit: undefined,
      childrenCount: 2,
      children: [
        {
          id: "a",
          type: "worker",
          status: "restarting",
          restartsCount: 0,
          lastExit: "error: not yet",
          childrenCount: 0,
          children: [],
        },
        expect.objectContaining({ id: "b", status: "stopped", lastExit: "shutdown" }),
      ],
    });
    await nursery.clock.advance(100);
    expect(top.countChildren()).toMatchObject({ specs: 2, active: 1 });
    expect(top.tree(1)).toMatchObject({
      childrenCount: 2,
      children: [{ status: "running", restartsCount: 1 }],
    });
    await top.deleteChild("b");
    await top.stop();
    expect(top.countChildren()).toMatchObject({ specs: 1, active: 0 });
    expect(top.tree()).toMatchObject({ status: "stopped", lastExit: "shutdown" });
    expect(structuredClone(top.tree())).toEqual(top.tree()); // plain data
  });

  test("SV17 — whatever a child has ended with: the tree shows it", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({ intensity: 9, children: [nursery.child("a")] });
    const odd = Object.assign(new Error("x"), { message: { code: 7 } });
    const texts: (string | undefined)[] = [];
    for (const error of [Object.create(null), odd, Symbol("s"), undefined, null]) {
      await nursery.exit("a", { kind: "error", error });
      texts.push(top.tree().children[0]?.lastExit);
    }
    expect(texts).toEqual([
      "error: an object without a text",
      "error: [object Object]",
      "error: Symbol(s)",
      "error: undefined",
      "error: null",
    ]);
  });

  test("SV17 — children are listed in the order of their start, new ones last", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({ children: ["b", "a"].map((id) => nursery.child(id)) });
    await top.startChild(nursery.child("0"));
    expect(top.whichChildren().map(({ id }) => id)).toEqual(["b", "a", "0"]);
    await top.stop();
    expect(nursery.news()).toBe("+b +a +0 -0 -a -b");
  });

  test("SV19 — one report for each event, in its order", async () => {
    const nursery = new Nursery();
    const onStart = (count: number): unknown => {
      if (count === 1) throw new Error("no");
      return count === 3 ? "ignore" : undefined;
    };
    const top = await nursery.start({ children: [nursery.child("a", { onStart })] });
    await nursery.exit("a");
    await nursery.clock.advance(0);
    await nursery.exit("a");
    await top.stop();
    expect(nursery.kinds()).toEqual([
      "child_started",
      "child_exited",
      "start_failed",
      "child_started",
      "child_exited",
      "child_ignored",
      "supervisor_exited",
    ]);
  });

  test("SV19 — an observer that throws is counted and does no harm", async () => {
    const nursery = new Nursery();
    const boom = (): never => {
      throw new Error("boom");
    };
    const children = [nursery.child("a")];
    const top = await nursery.start({ children, onReport: boom, onExit: boom });
    await nursery.exit("a");
    expect(statuses(top)).toBe("a running");
    await top.stop();
    expect(nursery.news()).toBe("+a +a -a");
    expect(top.stats().callbackErrorsTotal).toBe(6); // start, exit, start, stop, end, onExit
  });
});
