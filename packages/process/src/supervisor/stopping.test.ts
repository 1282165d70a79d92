// packages/process/src/supervisor/stopping.test.ts
// Goal: starts and stops have limits, ends count once (SV9–SV11, SV18). Method: scripted children.
// The cases of OTP's supervisor_SUITE that are kept here, by what they check:
//   stop with infinity, a time-out and brutal kill; a child that ends while it is stopped; a stop
//   that ends with another reason; a faulty shutdown; a child that detached itself (unlinked).
// Long, as OTP's suite is.
import { describe, expect, test } from "vitest";
import { KILLED, NORMAL, SHUTDOWN } from "../exit.ts";
import { CRASH, never, Nursery, statuses } from "./harness.ts";

describe("stop", () => {
  test.each([
    [true, "+a -a !a"],
    [false, "+a -a"],
  ])(
    "SV9 — after the shutdown time the child is killed and given up; has kill: %s",
    async (canKill, log) => {
      const nursery = new Nursery();
      const children = [nursery.child("a", { shutdown: 1_000, onStop: () => never, canKill })];
      const top = await nursery.start({ children });
      const stopped = top.stop();
      await nursery.clock.advance(999);
      expect(nursery.exits).toEqual([]);
      await nursery.clock.advance(1);
      expect(await stopped).toEqual(SHUTDOWN);
      expect(nursery.news()).toBe(log);
      expect(nursery.reports.slice(1)).toEqual([
        { kind: "child_killed", supervisor: "top", id: "a", shutdownMs: 1_000 },
        { kind: "child_stopped", supervisor: "top", id: "a", exit: KILLED },
        { kind: "supervisor_exited", supervisor: "top", exit: SHUTDOWN },
      ]);
      expect(top.stats().killedTotal).toBe(1);
      expect(top.tree().children[0]?.lastExit).toBe("killed");
    },
  );

  test("SV9 SV1 — each child has its own time; one that hangs delays, the others stop as usual", async () => {
    const nursery = new Nursery();
    const hangs = { shutdown: 300, onStop: () => never };
    const children = [
      nursery.child("a"),
      nursery.child("b", hangs),
      nursery.child("c", { onStop: () => nursery.clock.sleep(100) }),
      nursery.child("d", hangs),
    ];
    const top = await nursery.start({ children });
    nursery.news();
    void top.stop();
    await nursery.clock.advance(300);
    expect(nursery.news()).toBe("-d -c");
    await nursery.clock.advance(100);
    expect(nursery.news()).toBe("-b");
    await nursery.clock.advance(300);
    expect(nursery.news()).toBe("-a");
    expect(nursery.exits).toEqual([SHUTDOWN]);
  });

  test("SV9 — kill asks nobody: kill is called, or stop without waiting for it", async () => {
    const nursery = new Nursery();
    const children = [
      nursery.child("a", { shutdown: "kill", onStop: () => never }),
      nursery.child("b", { shutdown: "kill", canKill: true }),
    ];
    const top = await nursery.start({ children });
    nursery.news();
    await top.stop();
    expect(nursery.news()).toBe("!b -a");
    expect(nursery.contexts.get("b")?.[0]?.signal.reason).toEqual(KILLED);
    expect(top.stats().killedTotal).toBe(0); // as told, not for lateness
  });

  test("SV9 — infinity waits, when it is meant", async () => {
    const nursery = new Nursery();
    const endless = { shutdown: "infinity", mayWaitForever: true } as const;
    const onStop = (): Promise<void> => nursery.clock.sleep(86_400_000);
    const top = await nursery.start({ children: [nursery.child("a", { ...endless, onStop })] });
    void top.stop();
    await nursery.clock.advance(86_399_999);
    expect(nursery.exits).toEqual([]);
    await nursery.clock.advance(1);
    expect(nursery.exits).toEqual([SHUTDOWN]);
  });

  test.each(["throws", "rejects"])(
    "SV9 — a stop that %s is reported, and killed to be sure",
    async (how) => {
      const nursery = new Nursery();
      const error = new Error("stuck");
      const onStop = (): Promise<void> => {
        if (how === "throws") throw error;
        return Promise.reject(error);
      };
      const children = [nursery.child("a"), nursery.child("b", { onStop, canKill: true })];
      const top = await nursery.start({ children });
      await top.stop();
      expect(nursery.news()).toBe("+a +b -b !b -a");
      expect(nursery.reports).toContainEqual({
        kind: "stop_failed",
        supervisor: "top",
        id: "b",
        error,
      });
    },
  );

  test("SV9 — a child that says exited while it stops has ended, whatever its promise does", async () => {
    const nursery = new Nursery();
    const children = [nursery.child("a", { onStop: () => never })];
    const top = await nursery.start({ children });
    const stopped = top.stop();
    await nursery.clock.settle();
    await nursery.exit("a", CRASH);
    await stopped;
    expect(nursery.kinds()).toEqual([
      "child_started",
      "stop_failed",
      "child_stopped",
      "supervisor_exited",
    ]);
    expect(nursery.clock.timersCount).toBe(0);
  });

  test("SV9 — a child that ended before its turn to stop is not asked", async () => {
    const nursery = new Nursery();
    const children = [
      nursery.child("a"),
      nursery.child("b", { onStop: () => nursery.clock.sleep(10) }),
    ];
    const top = await nursery.start({ children });
    const stopped = top.stop();
    await nursery.clock.settle();
    await nursery.exit("a");
    await nursery.clock.advance(10);
    await stopped;
    expect(nursery.news()).toBe("+a +b -b");
  });

  test("SV9 — the signal aborts before stop is called", async () => {
    const nursery = new Nursery();
    let isAborted: boolean | undefined;
    const onStop = (): void => {
      isAborted = nursery.contexts.get("a")?.[0]?.signal.aborted;
    };
    const top = await nursery.start({ children: [nursery.child("a", { onStop })] });
    expect(nursery.contexts.get("a")?.[0]?.signal.aborted).toBe(false);
    await top.stop();
    expect(isAborted).toBe(true);
  });
});

describe("start", () => {
  test("SV10 — a start that does not settle has failed after its limit", async () => {
    const nursery = new Nursery();
    const hanging = nursery.child("b", { onStart: () => never, startMaxMs: 800 });
    const top = nursery.create({ children: [nursery.child("a"), hanging] });
    const started = top.start();
    await nursery.clock.advance(800);
    expect(await started).toMatchObject({
      kind: "start_failed",
      id: "b",
      error: { code: "start_timeout" },
    });
    expect(nursery.news()).toBe("+a -a");
    expect(nursery.contexts.get("b")?.[0]).toMatchObject({ isCurrent: false });
    expect(nursery.contexts.get("b")?.[0]?.signal.aborted).toBe(true);
  });

  test.each([
    [true, "!b"],
    [false, "-b"],
  ])("SV10 — what starts after that is ended at once; has kill: %s", async (canKill, end) => {
    const nursery = new Nursery();
    const onStart = (count: number): unknown =>
      count === 0 ? nursery.clock.sleep(900) : undefined;
    const top = await nursery.start({});
    const spec = nursery.child("b", { onStart, startMaxMs: 800, canKill });
    const failed = top.startChild(spec);
    await nursery.clock.advance(800);
    expect(await failed).toMatchObject({ kind: "start_failed" });
    expect(await top.startChild(spec)).toMatchObject({ kind: "started" });
    expect(nursery.news()).toBe("+b");
    await nursery.clock.advance(100);
    expect(nursery.news()).toBe(`+b ${end}`);
    expect(statuses(top)).toBe("b running"); // the newer one
    expect(nursery.kinds()).toEqual(["start_failed", "child_started", "late_start"]);
  });

  test("SV10 SV18 — a start that is stopped has its shutdown time to settle, then is stopped", async () => {
    const nursery = new Nursery();
    const onStart = (): Promise<void> => nursery.clock.sleep(200);
    const top = await nursery.start({});
    const answer = top.startChild(nursery.child("a", { onStart, shutdown: 500 }));
    await nursery.clock.advance(10);
    const stopped = top.stop();
    await nursery.clock.advance(189);
    expect(nursery.exits).toEqual([]);
    await nursery.clock.advance(1);
    expect(await answer).toEqual({ kind: "stopped" });
    expect(await stopped).toEqual(SHUTDOWN);
    expect(nursery.news()).toBe("+a -a");
    expect(nursery.clock.timersCount).toBe(0);
  });

  test("SV10 SV18 — its start limit does not count any more then", async () => {
    const nursery = new Nursery();
    const onStart = (): Promise<void> => nursery.clock.sleep(400);
    const top = await nursery.start({});
    void top.startChild(nursery.child("a", { onStart, startMaxMs: 300, shutdown: 500 }));
    await nursery.clock.settle();
    void top.stop();
    await nursery.clock.advance(400);
    expect(nursery.news()).toBe("+a -a");
    expect(nursery.kinds()).toEqual(["child_stopped", "supervisor_exited"]);
  });

  test("SV10 SV18 — a start that rejects when it is stopped is no failure", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({});
    const answer = top.startChild({
      id: "a",
      start: ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(new Error("aborted")));
        }),
    });
    await nursery.clock.settle();
    await top.stop();
    expect(await answer).toEqual({ kind: "stopped" });
    expect(nursery.kinds()).toEqual(["child_stopped", "supervisor_exited"]);
  });
});

describe("exits", () => {
  test("SV11 — an end counts once; what an old run says is ignored and counted", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({ children: [nursery.child("a")] });
    const first = nursery.contexts.get("a")?.[0];
    await nursery.exit("a");
    expect([nursery.startsOf("a"), first?.isCurrent]).toEqual([2, false]);
    first?.exited(CRASH);
    first?.exited(NORMAL);
    await nursery.clock.settle();
    expect(nursery.startsOf("a")).toBe(2);
    expect(top.stats()).toMatchObject({ ignoredExitsTotal: 2, restartsTotal: 1 });
    expect(nursery.contexts.get("a")?.[1]?.isCurrent).toBe(true);
  });

  test("SV11 — an end said before the start has settled counts right after it", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({});
    const spec = nursery.child("a", {
      restart: "temporary",
      onStart: (_, { exited }) => {
        exited(NORMAL);
        return nursery.clock.sleep(10);
      },
    });
    const answer = top.startChild(spec);
    await nursery.clock.advance(10);
    expect(await answer).toMatchObject({ kind: "started" });
    expect(top.whichChildren()).toEqual([]);
    expect(nursery.kinds()).toEqual(["child_started", "child_exited"]);
  });

  test("SV11 — a child given up at its shutdown time cannot touch the one that replaced it", async () => {
    const nursery = new Nursery();
    const children = [nursery.child("a", { shutdown: 50, onStop: () => never })];
    const top = await nursery.start({ children });
    const terminated = top.terminateChild("a");
    await nursery.clock.advance(50);
    expect(await terminated).toEqual({ kind: "terminated" });
    await top.restartChild("a");
    nursery.contexts.get("a")?.[0]?.exited(CRASH);
    await nursery.clock.settle();
    expect([nursery.startsOf("a"), statuses(top)]).toEqual([2, "a running"]);
    expect(top.stats().ignoredExitsTotal).toBe(1);
  });

  test("SV11 — an end and a termination at the same time: the end was first, the child stays down", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({ children: [nursery.child("a", { restart: "transient" })] });
    const terminated = top.terminateChild("a");
    nursery.contexts.get("a")?.[0]?.exited(CRASH);
    expect(await terminated).toEqual({ kind: "terminated" });
    await nursery.clock.settle();
    expect([nursery.news(), statuses(top)]).toEqual(["+a", "a stopped"]);
  });
});

describe("kill of a supervisor", () => {
  test("SV8 — a kill during a stop ends it once: the exit is told once, when the stop's own end comes too", async () => {
    const nursery = new Nursery();
    const slow = nursery.child("a", { onStop: () => nursery.clock.sleep(100) });
    const top = await nursery.start({ children: [slow] });
    const stopped = top.stop();
    await nursery.clock.advance(50);
    top.kill();
    top.kill();
    expect(nursery.exits).toEqual([KILLED]);
    await nursery.clock.advance(1_000);
    expect([await stopped, nursery.exits]).toEqual([KILLED, [KILLED]]);
    expect(nursery.kinds().filter((kind) => kind === "supervisor_exited").length).toBe(1);
  });

  test("SV18 — ends all children at once, in reverse, whatever is under way", async () => {
    const nursery = new Nursery();
    const children = [
      nursery.child("a", { canKill: true }),
      nursery.child("b", { onStop: () => never }),
      nursery.child("c", { canKill: true, onStop: () => never }),
    ];
    const top = await nursery.start({ children });
    nursery.news();
    const stopped = top.stop();
    const starting = top.startChild(nursery.child("d"));
    await nursery.clock.settle();
    expect(nursery.news()).toBe("-c");
    top.kill();
    expect(nursery.news()).toBe("!c -b !a");
    expect(nursery.exits).toEqual([KILLED]);
    expect([await stopped, await starting]).toEqual([KILLED, { kind: "stopped" }]);
    expect(nursery.clock.timersCount).toBe(0);
  });

  test("SV18 — a start under way is given up, and ended when it comes", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({});
    const onStart = (): Promise<void> => nursery.clock.sleep(100);
    const answer = top.startChild(nursery.child("a", { onStart, canKill: true }));
    await nursery.clock.settle();
    top.kill();
    expect(await answer).toEqual({ kind: "stopped" });
    await nursery.clock.advance(100);
    expect(nursery.news()).toBe("+a !a");
  });
});
