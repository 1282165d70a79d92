// packages/process/src/supervisor/restarts.test.ts
// Goal: strategies, restart attempts, windows and escalation (SV5–SV8, SV14). Method: scripted
// children. The cases of OTP's supervisor_SUITE that are kept here, by what they check:
//   one_for_one, one_for_all, rest_for_one and their escalation; another child failing during a
//   group restart; multiple restarts; a restart loop that must not hang terminate, delete, restart
//   or shutdown; the same with rest_for_one; non-significant, significant temporary and transient
//   children; significant bystanders; significant with escalation; order of children in a group.
// Long, as OTP's suite is.
import { describe, expect, test } from "vitest";
import { NORMAL, SHUTDOWN } from "../exit.ts";
import { AUTO_SHUTDOWN, CRASH, ESCALATED, Nursery, statuses, type Script } from "./harness.ts";
import type { Strategy } from "./spec.ts";

/** Starts that fail, by number. */
const failing =
  (...counts: number[]) =>
  (count: number): void => {
    if (counts.includes(count)) throw new Error("no");
  };
const failingFrom = (first: number) => (count: number) =>
  failing(count < first ? -1 : count)(count);

describe("strategies", () => {
  test.each<[Strategy, string]>([
    ["one_for_one", "+b"],
    ["one_for_all", "-d -c -a +a +b +c +d"],
    ["rest_for_one", "-d -c +b +c +d"],
  ])("SV6 SV1 — %s: %s", async (strategy, becomes) => {
    const nursery = new Nursery();
    const children = ["a", "b", "c", "d"].map((id) => nursery.child(id));
    const top = await nursery.start({ strategy, children });
    nursery.news();
    await nursery.exit("b");
    expect(nursery.news()).toBe(becomes);
    expect(statuses(top)).toBe("a running, b running, c running, d running");
    expect(nursery.running.size).toBe(4);
  });

  test("SV6 — a group restart forgets temporary siblings and starts whatever else is kept", async () => {
    const nursery = new Nursery();
    const children = [
      nursery.child("a"),
      nursery.child("done", { restart: "transient" }),
      nursery.child("temporary", { restart: "temporary" }),
      nursery.child("terminated"),
    ];
    const top = await nursery.start({ strategy: "one_for_all", children });
    await nursery.exit("done", NORMAL);
    await top.terminateChild("terminated");
    expect(statuses(top)).toBe("a running, done stopped, temporary running, terminated stopped");
    nursery.news();
    await nursery.exit("a");
    expect(nursery.news()).toBe("-temporary +a +done +terminated"); // as OTP does
    expect(statuses(top)).toBe("a running, done running, terminated running");
  });

  test.each<[Strategy, string]>([
    ["one_for_all", "-a +a +b +c"],
    ["rest_for_one", "+b +c"],
  ])(
    "SV6 SV7 — %s: a sibling that fails to start is tried again: %s",
    async (strategy, becomes) => {
      const nursery = new Nursery();
      const children = [
        nursery.child("a"),
        nursery.child("b", { onStart: failing(1) }),
        nursery.child("c"),
      ];
      const top = await nursery.start({ strategy, children });
      nursery.news();
      await nursery.exit("a");
      expect(nursery.news()).toBe("-c -b +a");
      expect(statuses(top)).toBe("a running, b restarting, c stopped");
      await nursery.clock.advance(0);
      expect(nursery.news()).toBe(becomes);
      expect(statuses(top)).toBe("a running, b running, c running");
    },
  );

  test("SV6 — the end of two at once is one after another, and of one stopped meanwhile nothing", async () => {
    const nursery = new Nursery();
    const children = ["a", "b"].map((id) => nursery.child(id));
    const top = await nursery.start({ strategy: "one_for_all", children });
    nursery.news();
    nursery.contexts.get("a")?.[0]?.exited(CRASH);
    await nursery.exit("b");
    expect(nursery.news()).toBe("+a +b"); // both had ended: nothing to stop, one restart
    expect(top.stats()).toMatchObject({ restartsTotal: 2, ignoredExitsTotal: 0 });
  });

  test("SV6 — a stop during a group restart starts nobody any more", async () => {
    const nursery = new Nursery();
    const slow = { onStop: () => nursery.clock.sleep(100) };
    const children = [nursery.child("a"), nursery.child("b", slow), nursery.child("c", slow)];
    const top = await nursery.start({ strategy: "one_for_all", children });
    nursery.news();
    await nursery.exit("a");
    const stopped = top.stop();
    await nursery.clock.advance(200);
    expect(await stopped).toEqual(SHUTDOWN);
    expect(nursery.news()).toBe("-c -b");
    expect([nursery.running.size, nursery.clock.timersCount]).toEqual([0, 0]);
  });
});

describe("restart window", () => {
  test("SV5 SV8 — by default the fourth restart in 5 s is one too many; told once", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({ children: [nursery.child("z"), nursery.child("a")] });
    nursery.news();
    for (let count = 0; count < 3; count++) {
      await nursery.exit("a");
      await nursery.clock.advance(1_000);
    }
    expect(nursery.news()).toBe("+a +a +a");
    nursery.reports.length = 0;
    await nursery.exit("a");
    expect(nursery.news()).toBe("-z");
    expect(nursery.exits).toEqual([ESCALATED]);
    expect(await top.stop()).toEqual(ESCALATED);
    expect(nursery.reports.map(({ kind }) => kind)).toEqual([
      "child_exited",
      "escalated",
      "child_stopped",
      "supervisor_exited",
    ]);
    expect(nursery.reports[1]).toMatchObject({ id: "a", intensity: 3, periodMs: 5_000 });
    expect([top.tree().status, top.tree().lastExit]).toEqual([
      "stopped",
      "shutdown: reached_max_restart_intensity",
    ]);
  });

  test.each([
    [5_000, false], // both ends count
    [5_001, true],
  ])("SV5 — the window slides: a restart %i ms later", async (laterMs, lives) => {
    const nursery = new Nursery();
    await nursery.start({ children: [nursery.child("a")], intensity: 2 });
    await nursery.exit("a");
    await nursery.clock.advance(laterMs - 1);
    await nursery.exit("a");
    await nursery.clock.advance(1);
    await nursery.exit("a");
    expect(nursery.exits.length === 0).toBe(lives);
  });

  test("SV5 — intensity 0 allows no restart; quiet ends of transient children are none", async () => {
    const nursery = new Nursery();
    const children = [nursery.child("t", { restart: "transient" }), nursery.child("a")];
    await nursery.start({ children, intensity: 0 });
    await nursery.exit("t", NORMAL);
    expect(nursery.exits).toEqual([]);
    await nursery.exit("a", NORMAL);
    expect(nursery.exits).toEqual([ESCALATED]);
  });

  test("SV5 — the restarts of all children count together, a group's once", async () => {
    const nursery = new Nursery();
    const children = ["a", "b"].map((id) => nursery.child(id));
    await nursery.start({ children, strategy: "one_for_all", intensity: 2 });
    await nursery.exit("a");
    await nursery.exit("b");
    expect(nursery.exits).toEqual([]);
    await nursery.exit("a");
    expect(nursery.exits).toEqual([ESCALATED]);
  });

  test("SV5 SV8 — failed attempts count: a child that cannot start again escalates", async () => {
    const nursery = new Nursery();
    const children = [
      nursery.child("z"),
      nursery.child("a", { onStart: failingFrom(1) }),
      nursery.child("y"),
    ];
    await nursery.start({ children });
    nursery.news();
    await nursery.exit("a");
    await nursery.clock.advance(0);
    expect(nursery.startsOf("a")).toBe(1 + 3);
    expect(nursery.exits).toEqual([ESCALATED]);
    expect(nursery.news()).toBe("-y -z");
    expect(nursery.clock.timersCount).toBe(0);
  });
});

describe("between restart attempts", () => {
  const loop: Script = { onStart: failingFrom(1) };
  const start = async (more: Script = loop) => {
    const nursery = new Nursery();
    const children = [nursery.child("a", more), nursery.child("b")];
    const options = { strategy: "rest_for_one" as const, children, intensity: 1_000_000 };
    const top = await nursery.start({ ...options, restartDelayMs: () => 10 });
    await nursery.exit("a");
    await nursery.clock.advance(95);
    expect(nursery.startsOf("a")).toBe(1 + 10); // at once, then every 10 ms
    return { nursery, top };
  };

  test("SV7 — requests are answered", async () => {
    const { nursery, top } = await start();
    expect(await top.startChild(nursery.child("a"))).toEqual({ kind: "already_present" });
    expect(await top.restartChild("a")).toEqual({ kind: "restarting" });
    expect(await top.deleteChild("a")).toEqual({ kind: "restarting" });
    expect(await top.restartChild("b")).toMatchObject({ kind: "started" });
    expect(await top.startChild(nursery.child("c"))).toMatchObject({ kind: "started" });
    expect(top.countChildren()).toMatchObject({ specs: 3, active: 2 });
  });

  test("SV7 — terminateChild ends the loop; the child may be started again or deleted", async () => {
    const { nursery, top } = await start({ onStart: failing(1, 2, 3, 4, 5, 6, 7, 8, 9, 10) });
    expect(await top.terminateChild("a")).toEqual({ kind: "terminated" });
    expect(nursery.clock.timersCount).toBe(0);
    await nursery.clock.advance(1_000);
    expect(nursery.startsOf("a")).toBe(11);
    expect(await top.restartChild("a")).toMatchObject({ kind: "started" });
    await top.terminateChild("a");
    expect(await top.deleteChild("a")).toEqual({ kind: "deleted" });
  });

  test("SV7 SV18 — the supervisor can be stopped", async () => {
    const { nursery, top } = await start();
    expect(await top.stop()).toEqual(SHUTDOWN);
    await nursery.clock.advance(1_000);
    expect(nursery.startsOf("a")).toBe(11);
    expect(nursery.clock.timersCount).toBe(0);
  });

  test("SV7 — without a delay the next attempt is the clock's next turn, not this one", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({ children: [nursery.child("a", { onStart: failing(1) })] });
    await nursery.exit("a");
    expect([nursery.startsOf("a"), statuses(top)]).toEqual([2, "a restarting"]);
    await nursery.clock.advance(0);
    expect([nursery.startsOf("a"), statuses(top)]).toEqual([3, "a running"]);
  });

  test("SV7 — the delay is told how many attempts have failed, anew after a success", async () => {
    const nursery = new Nursery();
    const asked: number[] = [];
    const restartDelayMs = (failedAttempts: number): number => {
      asked.push(failedAttempts);
      return 100;
    };
    const onStart = failing(1, 2, 3, 5);
    await nursery.start({
      children: [nursery.child("a", { onStart })],
      restartDelayMs,
      intensity: 9,
    });
    await nursery.exit("a");
    await nursery.clock.advance(300);
    await nursery.exit("a");
    await nursery.clock.advance(100);
    expect(asked).toEqual([1, 2, 3, 1]);
    expect(nursery.running.size).toBe(1);
  });
});

describe("a restart that is overtaken", () => {
  const delayed = { restartDelayMs: () => 10, intensity: 100 };

  test("SV7 SV12 — by a termination that was asked for first: the child stays down", async () => {
    const nursery = new Nursery();
    const children = [
      nursery.child("a", { onStart: failing(1) }),
      nursery.child("b", { onStop: () => nursery.clock.sleep(100) }),
    ];
    const top = await nursery.start({ children, ...delayed });
    await nursery.exit("a");
    const terminated = [top.terminateChild("b"), top.terminateChild("a")];
    await nursery.clock.advance(100); // a's attempt is due at 10, and has its turn after both
    expect(await Promise.all(terminated)).toEqual([{ kind: "terminated" }, { kind: "terminated" }]);
    expect([nursery.startsOf("a"), statuses(top)]).toEqual([2, "a stopped, b stopped"]);
  });

  test("SV18 — by a kill from within: nothing waits any more", async () => {
    const nursery = new Nursery();
    const onStart = (count: number): void => {
      if (count === 0) return;
      top.kill();
      throw new Error("no");
    };
    const top = nursery.create({ children: [nursery.child("a", { onStart })], ...delayed });
    await top.start();
    await nursery.exit("a");
    expect([top.tree().status, nursery.clock.timersCount]).toEqual(["stopped", 0]);
  });

  test("SV18 — by a bug of its own: all children are killed and the exit is the error", async () => {
    const nursery = new Nursery();
    const error = new Error("bug");
    const restartDelayMs = (): never => {
      throw error;
    };
    const children = [nursery.child("a", { onStart: failing(1) }), nursery.child("b")];
    const top = await nursery.start({ children, restartDelayMs });
    await nursery.exit("a");
    expect(nursery.exits).toEqual([{ kind: "error", error }]);
    expect(nursery.running.size).toBe(0);
    expect(await top.startChild(nursery.child("c"))).toEqual({ kind: "stopped" });
  });
});

describe("significant children", () => {
  const significant = { significant: true, restart: "transient" } as const;
  const start = async (
    autoShutdown: "any_significant" | "all_significant",
    ...scripts: Script[]
  ) => {
    const nursery = new Nursery();
    const children = scripts.map((script, index) => nursery.child("abcd"[index] ?? "", script));
    const top = await nursery.start({ autoShutdown, children });
    nursery.news();
    return { nursery, top };
  };

  test("SV14 — any_significant: the first one's own end is the supervisor's", async () => {
    const { nursery } = await start("any_significant", {}, significant, {});
    await nursery.exit("b", NORMAL);
    expect(nursery.news()).toBe("-c -a");
    expect(nursery.exits).toEqual([AUTO_SHUTDOWN]);
  });

  test("SV14 — all_significant: the last one's, ignored and terminated ones aside", async () => {
    const temporary = { significant: true, restart: "temporary" } as const;
    const ignored = { ...significant, onStart: () => "ignore" };
    const { nursery, top } = await start("all_significant", significant, temporary, ignored, {});
    await nursery.exit("b");
    expect(nursery.exits).toEqual([]);
    await nursery.exit("a", { kind: "shutdown", detail: "done" });
    expect(nursery.exits).toEqual([AUTO_SHUTDOWN]);
    expect(await top.stop()).toEqual(AUTO_SHUTDOWN);
  });

  test("SV14 — a transient one that crashes is restarted, and nothing ends", async () => {
    const { nursery } = await start("any_significant", significant);
    await nursery.exit("a");
    expect(nursery.news()).toBe("+a");
    expect(nursery.exits).toEqual([]);
  });

  test("SV14 — one that waits for its restart still counts as there", async () => {
    const looping = { ...significant, onStart: failingFrom(1) };
    const { nursery, top } = await start("all_significant", significant, looping);
    await nursery.exit("b");
    expect(statuses(top)).toBe("a running, b restarting");
    await nursery.exit("a", NORMAL);
    expect(nursery.exits).toEqual([]);
  });

  test.each([{ restart: "transient" }, { restart: "temporary" }] as const)(
    "SV14 — ends of others do nothing: %j",
    async (script) => {
      const { nursery } = await start("any_significant", significant, script);
      await nursery.exit("b", NORMAL);
      expect(nursery.exits).toEqual([]);
    },
  );

  test("SV14 — a significant child that is told to end ends nobody: terminated, or a bystander", async () => {
    const nursery = new Nursery();
    const temporary = { significant: true, restart: "temporary" } as const;
    const children = [
      nursery.child("a"),
      nursery.child("b", temporary),
      nursery.child("c", significant),
    ];
    const options = { strategy: "one_for_all", autoShutdown: "any_significant" } as const;
    const top = await nursery.start({ ...options, children });
    await nursery.exit("a");
    expect(statuses(top)).toBe("a running, c running");
    await top.terminateChild("c");
    expect(nursery.exits).toEqual([]);
  });

  test("SV14 SV8 — its crashes escalate as any other's", async () => {
    const { nursery } = await start("any_significant", significant);
    for (let count = 0; count < 4; count++) await nursery.exit("a");
    expect(nursery.exits).toEqual([ESCALATED]);
  });
});
