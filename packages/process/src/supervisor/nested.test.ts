// packages/process/src/supervisor/nested.test.ts
// Goal: supervisors below supervisors (SV20, SV8, SV18). Method: scripted children, two levels.
// Kept from OTP's supervisor_SUITE: tree; counts with supervisors that have ended.
import { describe, expect, test } from "vitest";
import { KILLED, SHUTDOWN } from "../exit.ts";
import type { ChildSpec } from "./child.ts";
import { DynamicSupervisor } from "./dynamic-supervisor.ts";
import { CRASH, ESCALATED, never, Nursery, statuses } from "./harness.ts";
import { supervisorChild, type StartedSupervisor, type SupervisorChildSpec } from "./nested.ts";
import { Supervisor } from "./supervisor.ts";

type Traits = Partial<Omit<SupervisorChildSpec<Supervisor>, "create">>;

function below(nursery: Nursery, children: readonly ChildSpec[], traits: Traits = {}): ChildSpec {
  const { clock, onReport } = nursery.observed;
  return supervisorChild({
    id: "sub",
    ...traits,
    create: (onExit) => new Supervisor({ id: "sub", clock, children, onExit, onReport }),
  });
}

describe("a supervisor below another", () => {
  test("SV20 SV1 — starts in its place and stops in its place", async () => {
    const nursery = new Nursery();
    const sub = below(nursery, [nursery.child("b"), nursery.child("c")]);
    const top = await nursery.start({ children: [nursery.child("a"), sub, nursery.child("d")] });
    await top.stop();
    expect(nursery.news()).toBe("+a +b +c +d -d -c -b -a");
    expect(nursery.exits).toEqual([SHUTDOWN]);
  });

  test("SV20 — the tree shows all levels; counts tell supervisors and workers apart", async () => {
    const nursery = new Nursery();
    const top = await nursery.start({
      children: [nursery.child("a"), below(nursery, [nursery.child("b")])],
    });
    await nursery.exit("b");
    expect(top.countChildren()).toEqual({ specs: 2, active: 2, supervisors: 1, workers: 1 });
    expect(top.tree()).toMatchObject({
      id: "top",
      children: [
        { id: "a", type: "worker" },
        {
          id: "sub",
          type: "supervisor",
          status: "running",
          childrenCount: 1,
          children: [{ id: "b", restartsCount: 1, lastExit: "error: crash" }],
        },
      ],
    });
  });

  test("SV20 SV8 — escalation: the parent restarts it with all its children, then gives up too", async () => {
    const nursery = new Nursery();
    const sub = below(nursery, [nursery.child("b"), nursery.child("c")]);
    const top = await nursery.start({ children: [sub], intensity: 1 });
    nursery.news();
    for (let count = 0; count < 4; count++) await nursery.exit("c");
    expect(nursery.news()).toBe("+c +c +c -b +b +c");
    expect(top.tree().children[0]).toMatchObject({
      status: "running",
      restartsCount: 1,
      lastExit: "shutdown: reached_max_restart_intensity",
    });
    for (let count = 0; count < 4; count++) await nursery.exit("c");
    expect(nursery.exits).toEqual([ESCALATED]);
    expect(nursery.running.size).toBe(0);
  });

  test("SV20 — transient and escalated it stays down, since it ended with shutdown (as OTP)", async () => {
    const nursery = new Nursery();
    const sub = below(nursery, [nursery.child("b")], { restart: "transient" });
    const top = await nursery.start({ children: [sub] });
    for (let count = 0; count < 4; count++) await nursery.exit("b");
    expect(statuses(top)).toBe("sub stopped");
    expect(top.countChildren()).toEqual({ specs: 1, active: 0, supervisors: 1, workers: 0 });
  });

  test("SV20 SV2 — its failed start is the parent's, and names the child", async () => {
    const nursery = new Nursery();
    const failing = nursery.child("c", {
      onStart: () => {
        throw new Error("no port");
      },
    });
    const sub = below(nursery, [nursery.child("b"), failing]);
    const top = nursery.create({ children: [nursery.child("a"), sub] });
    expect(await top.start()).toMatchObject({
      kind: "start_failed",
      id: "sub",
      error: { message: "supervisor sub did not start: child c: error: no port" },
    });
    expect(nursery.news()).toBe("+a +b -b -a");
  });

  test("SV20 SV18 — a stop during its start stops what it has started", async () => {
    const nursery = new Nursery();
    const hanging = nursery.child("c", { onStart: () => never, shutdown: 400 });
    const sub = below(nursery, [nursery.child("b"), hanging]);
    const top = nursery.create({ children: [nursery.child("a"), sub] });
    void top.start();
    await nursery.clock.settle();
    const stopped = top.stop();
    await nursery.clock.advance(400);
    expect(await stopped).toEqual(SHUTDOWN);
    expect(nursery.news()).toBe("+a +b -b -a");
    expect(nursery.clock.timersCount).toBe(0);
  });

  test("SV20 SV18 — its parent is killed while it starts: it is killed with what it has started", async () => {
    const nursery = new Nursery();
    const canKill = { shutdown: 60_000, onStop: () => never, canKill: true };
    const hanging = nursery.child("c", { onStart: () => never, shutdown: 60_000 });
    const sub = below(nursery, [nursery.child("b", canKill), hanging]);
    const top = nursery.create({ children: [sub] });
    void top.start();
    await nursery.clock.settle();
    top.kill();
    await nursery.clock.settle();
    expect(nursery.news()).toBe("+b !b"); // b is not asked
    expect([nursery.running.size, nursery.clock.timersCount]).toEqual([0, 0]);
  });

  test("SV20 SV9 — with a shutdown time its children that hang are killed with it", async () => {
    const nursery = new Nursery();
    const hangs = { shutdown: 60_000, onStop: () => never, canKill: true };
    const sub = below(nursery, [nursery.child("b", hangs), nursery.child("c", hangs)], {
      shutdown: 1_000,
    });
    const top = await nursery.start({ children: [sub] });
    const stopped = top.stop();
    await nursery.clock.advance(1_000);
    await stopped;
    expect(nursery.news()).toBe("+b +c -c !c !b");
    expect(nursery.clock.timersCount).toBe(0);
    expect(nursery.reports).toContainEqual({
      kind: "supervisor_exited",
      supervisor: "sub",
      exit: KILLED,
    });
  });

  test("SV20 — a dynamic supervisor is found again through whichChildren after its restart", async () => {
    const nursery = new Nursery();
    const { clock } = nursery;
    const child: ChildSpec<[string]> = { id: "session", start: () => ({ stop: () => {} }) };
    const sessions = supervisorChild({
      id: "sessions",
      create: (onExit) => new DynamicSupervisor({ id: "sessions", clock, child, onExit }),
    });
    const top = await nursery.start({
      children: [nursery.child("a"), sessions],
      strategy: "one_for_all",
    });
    const dynamic = (): DynamicSupervisor<[string]> => {
      const started = top.whichChildren()[1]?.child;
      return (started as StartedSupervisor<DynamicSupervisor<[string]>>).supervisor;
    };
    const first = dynamic();
    await first.startChild("x");
    expect(top.tree().children[1]).toMatchObject({ childrenCount: 1 });
    await nursery.exit("a", CRASH);
    expect(dynamic()).not.toBe(first);
    expect(await first.startChild("y")).toEqual({ kind: "stopped" });
    expect(await dynamic().startChild("y")).toMatchObject({ kind: "started" });
  });
});
