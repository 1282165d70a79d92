// Goal: DV4 and DV5. Method: processes that the test ends, on a fake clock.
import { createSeededRandom } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { Kept, type KeptProcess, type ProcessExit } from "./kept.ts";

interface FakeProcess extends KeptProcess {
  end(exit?: ProcessExit): void;
}

function setUp(startMs = 0) {
  const clock = new FakeClock();
  const startsAtMs: number[] = [];
  const exits: boolean[] = [];
  const faults: unknown[] = [];
  const failures: string[] = []; // what the next starts throw
  let runningCount = 0;
  const kept = new Kept<FakeProcess>(
    {
      async start() {
        startsAtMs.push(clock.monotonicMs());
        if (startMs > 0) await clock.sleep(startMs);
        const failure = failures.shift();
        if (failure !== undefined) throw new Error(failure);
        const exited = Promise.withResolvers<ProcessExit>();
        runningCount++;
        void exited.promise.then(() => runningCount--);
        const end = (exit: ProcessExit = { code: 1, signal: null }): void => exited.resolve(exit);
        const stop = (): Promise<void> => Promise.resolve(end({ code: 0, signal: null }));
        return { pid: startsAtMs.length, exited: exited.promise, kill: () => end(), stop, end };
      },
      onExit: (_exit, isWanted) => exits.push(isWanted),
      onRestarted: () => undefined,
      onFault: (cause) => faults.push(cause),
    },
    // A random of 0.5 is the middle of the jitter: delays are plain.
    { clock, random: { ...createSeededRandom(1), next: () => 0.5 } },
  );
  return { clock, kept, startsAtMs, exits, faults, failures, runningCount: () => runningCount };
}

test("DV4 — starts again after 0.2 s, then ever later up to 5 s, and anew after 10 s of running", async () => {
  const { clock, kept, startsAtMs } = setUp();
  await kept.start();
  for (const delayMs of [200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
    const startCount = startsAtMs.length;
    kept.running?.end();
    await clock.advance(delayMs - 1);
    expect(startsAtMs).toHaveLength(startCount);
    await clock.advance(1);
    expect(startsAtMs).toHaveLength(startCount + 1);
  }
  await clock.advance(10_000);
  kept.running?.end();
  await clock.advance(200);
  expect(startsAtMs).toHaveLength(9);
});

test("DV4 — a restart that fails is told and tried again", async () => {
  const { clock, kept, startsAtMs, failures, faults } = setUp();
  await kept.start();
  failures.push("port taken", "port taken");
  kept.running?.end();
  await clock.advance(200 + 400 + 800);
  expect(startsAtMs).toEqual([0, 200, 600, 1_400]);
  expect(faults.map(String)).toEqual(["Error: port taken", "Error: port taken"]);
  expect(kept.running?.pid).toBe(4);
});

test("DV5 — what was stopped stays down until it is started", async () => {
  const { clock, kept, startsAtMs, exits } = setUp();
  await kept.start();
  await kept.stop();
  await clock.advance(60_000);
  expect({ startsAtMs, exits, running: kept.running }).toEqual({
    startsAtMs: [0],
    exits: [false],
    running: undefined,
  });
  await kept.start();
  expect(kept.running?.pid).toBe(2);
});

test("DV5 — started again while it still stops: one process, after the old one's end", async () => {
  const { kept, startsAtMs, exits, runningCount } = setUp();
  await kept.start();
  await Promise.all([kept.stop(), kept.start()]);
  expect({ starts: startsAtMs.length, exits, running: runningCount() }).toEqual({
    starts: 2,
    exits: [false],
    running: 1,
  });
});

test("DV5 — stopped while it starts, while it waits for a restart, and while that starts", async () => {
  const { clock, kept, startsAtMs, runningCount } = setUp(100);
  await Promise.all([kept.start(), kept.stop()]);
  expect(startsAtMs).toEqual([]); // stopped before anything began

  const starting = kept.start();
  await clock.settle();
  const stopping = kept.stop();
  await clock.advance(100);
  await Promise.all([starting, stopping]);
  expect(runningCount()).toBe(0);

  const again = kept.start();
  await clock.advance(100);
  await again;
  kept.running?.end();
  await clock.advance(150);
  await kept.stop(); // waits for its restart
  await clock.advance(60_000);
  expect(startsAtMs).toEqual([0, 100]);

  const third = kept.start();
  await clock.advance(100);
  await third;
  kept.running?.end();
  await clock.advance(250); // 200 of back-off, 50 of the start
  const last = kept.stop();
  await clock.advance(60_000);
  await last;
  expect({ starts: startsAtMs.length, running: runningCount() }).toEqual({ starts: 4, running: 0 });
});

test("a first start that fails is the caller's to handle", async () => {
  const { clock, kept, failures, startsAtMs } = setUp();
  failures.push("no such program");
  await expect(kept.start()).rejects.toThrow("no such program");
  await clock.advance(60_000);
  expect(startsAtMs).toEqual([0]);
});

test("whenRunning answers at the restart, or says after its limit that there was none", async () => {
  const { clock, kept, failures } = setUp();
  await kept.start();
  kept.running?.end();
  await clock.settle();
  const soon = kept.whenRunning(1_000);
  await clock.advance(200);
  expect((await soon).pid).toBe(2);
  failures.push("down", "down", "down");
  kept.running?.end();
  await clock.settle();
  const never = kept.whenRunning(500).catch((cause: unknown) => cause);
  await clock.advance(500);
  expect(await never).toMatchObject({ code: "not_running" });
});
