// Goal: RN10, and RN5 and RN6 beside it. Method: a node that only tells what is asked of it;
// node-uncaught.test.ts has the real process.
import { createLogger } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { runUntilAsked } from "./node-command.ts";
import type { NodeReady } from "./node-messages.ts";
import type { RegionNode } from "./region-node.ts";

const READY: NodeReady = {
  kind: "ready",
  memberId: "m",
  ingestPort: 1,
  gatewayPort: 2,
  metricsPort: 3,
};
const never = new Promise<never>(() => {});

type Parts = Partial<RegionNode> & { asked?: Promise<string>; uncaught?: Promise<void> };

async function run(parts: Parts) {
  const clock = new FakeClock();
  const told: string[] = [];
  const stream = {
    write: (line: string) => void told.push((JSON.parse(line) as { event: string }).event),
  };
  const about = { region: "fra", node: "m", component: "node", level: "info" } as const;
  const node = {
    start: () => Promise.resolve(READY),
    stop: () => Promise.resolve(void told.push("stop")),
    gaveUp: never,
    ...parts,
  } as RegionNode;
  let exitCode: number | undefined;
  void runUntilAsked(node, {
    asked: parts.asked ?? never,
    uncaught: parts.uncaught ?? never,
    log: createLogger({ ...about, stream }),
    clock,
    giveUpMaxMs: 1_000,
    onReady: () => told.push("ready"),
  }).then((code) => (exitCode = code));
  await clock.advance(999);
  return { clock, told, exitCode: () => exitCode };
}

test("RN10 — a node that gives up is stopped and ends with 1", async () => {
  const { told, exitCode } = await run({ gaveUp: Promise.resolve("too many restarts of roles") });
  expect([told, exitCode()]).toEqual([["ready", "node.gave_up", "stop"], 1]);
});

test("RN10 — one whose stop does not end then is cut off", async () => {
  const { clock, exitCode } = await run({ gaveUp: Promise.resolve("why"), stop: () => never });
  expect(exitCode()).toBe(undefined);
  await clock.advance(1);
  expect(exitCode()).toBe(1);
});

test("RN5 — asked to stop, also while it starts: in order, 0", async () => {
  const asked = Promise.resolve("SIGTERM");
  const first = await run({ asked });
  expect(first.exitCode()).toBe(0);
  const { told, exitCode } = await run({ asked, start: () => never });
  expect([told, exitCode()]).toEqual([["node.stopping", "stop", "node.stopped"], 0]);
});

test("RN6 — what does not start is told, stopped, and ends with 1", async () => {
  const { told, exitCode } = await run({ start: () => Promise.reject(new Error("no port")) });
  expect([told, exitCode()]).toEqual([["node.start_failed", "stop"], 1]);
});

test("RN6 — what is not caught stops the node in order, also while it starts: 1", async () => {
  const uncaught = Promise.resolve();
  const running = await run({ uncaught });
  expect([running.told, running.exitCode()]).toEqual([["ready", "stop"], 1]); // told by who noticed
  const starting = await run({ uncaught, start: () => never });
  expect([starting.told, starting.exitCode()]).toEqual([["stop"], 1]);
  const failing = await run({ uncaught, stop: () => Promise.reject(new Error("half")) });
  expect([failing.told, failing.exitCode()]).toEqual([["ready", "node.stop_failed"], 1]);
});

test("RN6 — one that is not sound and whose stop does not end is cut off", async () => {
  const { clock, exitCode } = await run({ uncaught: Promise.resolve(), stop: () => never });
  expect(exitCode()).toBe(undefined);
  await clock.advance(1);
  expect(exitCode()).toBe(1);
});

test("RN5, RN6 — what is not caught while it stops: the stop gets its limit, and it ends with 1", async () => {
  const bug = Promise.withResolvers<void>();
  const asked = Promise.resolve("SIGTERM");
  const { clock, told, exitCode } = await run({ asked, uncaught: bug.promise, stop: () => never });
  await clock.advance(10_000); // in order it may take as long as its parts may
  expect([told, exitCode()]).toEqual([["ready", "node.stopping"], undefined]);
  bug.resolve();
  await clock.advance(1_000);
  expect([told, exitCode()]).toEqual([["ready", "node.stopping"], 1]);

  const late = Promise.withResolvers<void>();
  const stop = (): Promise<void> => Promise.resolve(late.resolve());
  const quick = await run({ asked, uncaught: late.promise, stop });
  expect([quick.told, quick.exitCode()]).toEqual([["ready", "node.stopping"], 1]);
});
