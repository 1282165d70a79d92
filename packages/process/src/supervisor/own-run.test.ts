// Goal: OR1–OR3 of own-run.ts and own-clock.ts. Method: a part that does as it is told, under a
// supervisor on a fake clock.
import { BugError, type Clock } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { ownClock, ownScheduler } from "./own-clock.ts";
import { ownChild, type OwnPart, type OwnRun } from "./own-run.ts";
import { exitText } from "./report.ts";
import { Supervisor } from "./supervisor.ts";

interface Begun {
  readonly run: OwnRun;
  readonly clock: Clock;
}

async function start(part: (begun: Begun) => Partial<OwnPart> = () => ({})) {
  const clock = new FakeClock();
  const log: string[] = [];
  const runs: Begun[] = [];
  const top = new Supervisor({
    id: "top",
    clock,
    onReport(report) {
      if (report.kind === "child_exited") log.push(`exited ${exitText(report.exit)}`);
      if (report.kind === "child_started") log.push("started");
      if (report.kind === "child_killed") log.push("killed");
      if (report.kind === "stop_failed") log.push(`failed ${String(report.error)}`);
    },
    children: [
      ownChild({
        id: "part",
        clock,
        shutdown: 1_000,
        abandonMaxMs: 500,
        start(run) {
          const begun = { run, clock: ownClock(run, clock) };
          runs.push(begun);
          run.onOver(() => log.push("over"));
          return { stop: () => void log.push("stop"), ...part(begun) };
        },
      }),
    ],
  });
  await top.start();
  return { clock, log, runs, top };
}

test("OR1, OR2 — a timer that throws is the run's crash; its other timers never fire", async () => {
  const fired: string[] = [];
  const { clock, log, runs } = await start();
  const [first] = runs;
  first!.clock.setTimer(10, () => {
    throw new Error("bug");
  });
  first!.clock.setTimer(20, () => fired.push("later"));
  void first!.clock.sleep(20).then(() => fired.push("slept"));
  ownScheduler(first!.run, clock).defer(() => fired.push("deferred"));
  await clock.advance(9);
  expect(fired.splice(0)).toEqual(["deferred"]);
  await clock.advance(1);
  expect(log).toEqual(["started", "over", "stop", "exited error: bug", "started"]);
  expect(runs.map(({ run }) => run.isCurrent)).toEqual([false, true]);
  first!.clock.setTimer(5, () => fired.push("armed after the end"));
  await clock.advance(1_000);
  expect(fired).toEqual([]);
  expect(clock.timersCount).toBe(0);
});

test("OR1 — a loop that is rejected and a callback that throws crash the run, the first one counts", async () => {
  const { clock, log, runs } = await start();
  runs[0]!.run.watch(Promise.reject(new Error("loop")));
  await clock.settle();
  const called = runs[1]!.run.guarded((what: string) => {
    throw new BugError(what);
  });
  called("one");
  called("two");
  await clock.settle();
  expect(log.filter((line) => line.startsWith("exited"))).toEqual([
    "exited error: loop",
    "exited error: one",
  ]);
});

test("OR3 — the next run begins when the last one has been abandoned, or its time is over", async () => {
  const gone = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let count = 0;
  const { clock, log, runs } = await start(() => {
    const { promise } = gone[count++] ?? Promise.withResolvers<void>();
    return { abandon: () => promise };
  });
  runs[0]!.run.crashed(new Error("first"));
  await clock.advance(400);
  expect(runs.length).toBe(1);
  gone[0]!.resolve();
  await clock.settle();
  expect(runs.length).toBe(2);
  runs[1]!.run.crashed(new Error("second"));
  await clock.advance(499);
  expect(runs.length).toBe(2);
  await clock.advance(1);
  expect(runs.length).toBe(3);
  expect(log.filter((line) => line.startsWith("exited"))).toEqual([
    "exited error: first",
    "exited error: Error: second; abandoning it: Fault: not gone after 500 ms",
  ]);
  expect(clock.timersCount).toBe(0);
});

test("OR3 — a stop that comes while it is abandoned waits for that, and stops nothing twice", async () => {
  const gone = Promise.withResolvers<void>();
  const { clock, log, runs, top } = await start(() => ({ abandon: () => gone.promise }));
  runs[0]!.run.crashed(new Error("bug"));
  let isStopped = false;
  void top.stop().then(() => (isStopped = true));
  await clock.advance(100);
  expect(isStopped).toBe(false);
  gone.resolve();
  await clock.settle();
  expect([isStopped, log]).toEqual([true, ["started", "over", "failed Error: bug"]]);
});

test("OR2, OR3 — timers live while it stops; when that takes too long it is abandoned", async () => {
  const { clock, log, runs, top } = await start(({ clock: own }) => ({
    stop: async () => {
      await own.sleep(600);
      log.push("half-way");
      await own.sleep(600);
      log.push("never");
    },
    abandon: () => void log.push("abandoned"),
  }));
  let isStopped = false;
  void top.stop().then(() => (isStopped = true));
  await clock.advance(2_000);
  expect(log).toEqual(["started", "half-way", "killed", "over", "abandoned"]);
  expect([isStopped, runs[0]!.run.isCurrent]).toEqual([true, false]);
});

test("OR3 — a start that throws, or crashes before it has settled, leaves nothing behind", async () => {
  const clock = new FakeClock();
  const log: string[] = [];
  const starts: ((run: OwnRun) => OwnPart)[] = [
    () => {
      throw new Error("no port");
    },
    (run) => {
      run.crashed(new Error("at once"));
      return { stop: () => undefined, abandon: () => void log.push("abandoned") };
    },
  ];
  for (const begin of starts) {
    const child = ownChild({
      id: "part",
      clock,
      abandonMaxMs: 500,
      start(run) {
        run.onOver(() => log.push("over"));
        return begin(run);
      },
    });
    const top = new Supervisor({ id: "top", clock, children: [child] });
    const answer = await top.start();
    log.push(answer.kind === "start_failed" ? String(answer.error) : answer.kind);
  }
  expect(log).toEqual(["over", "Error: no port", "over", "abandoned", "Error: at once"]);
});

test("SV9, OR3 — an abandon that fails after a late stop is reported, and ends nothing else", async () => {
  const { clock, log, top } = await start(() => ({
    stop: () => new Promise<void>(() => {}),
    abandon: () => Promise.reject(new Error("cannot close")),
  }));
  const stopped = top.stop();
  await clock.advance(1_000);
  expect((await stopped).kind).toBe("shutdown");
  expect(log).toEqual(["started", "killed", "over", "failed Error: cannot close"]);
});

test("OR3 — a run that crashed with what has no text is told to its supervisor, and restarted", async () => {
  const bare: unknown = Object.create(null);
  const { clock, log, runs, top } = await start(() => ({ stop: () => Promise.reject(bare) }));
  runs[0]!.run.crashed(bare);
  await clock.settle();
  const text = "an object without a text";
  expect(log).toEqual([
    "started",
    "over",
    `exited error: ${text}; abandoning it: ${text}`,
    "started",
  ]);
  expect(top.countChildren().active).toBe(1);
});
