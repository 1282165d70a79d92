// packages/process/src/watchdog/end-node.ts
// Ends the whole node from a thread while the main thread is stuck. All that it needs is loaded.
import { write } from "node:fs";
import { Session } from "node:inspector";
import { setFlagsFromString } from "node:v8";
import { runInThisContext } from "node:vm";
import type { PulseView, SpokenOutcome } from "./pulse.ts";
import type { Stall } from "./stall.ts";

const STDERR = 2;
/** A line takes microseconds; a stderr that nobody reads must not hold up the end. */
const LINE_MAX_MS = 50;
/** How long to see whether one way of ending the node has worked. */
const END_MAX_MS = 200;

/** In the form of a log line (STYLE §6). Written by libuv's threads: this one may not block. */
export function writeLastLine(
  { culprit, blockedMs }: Stall,
  lastWords: SpokenOutcome | "none",
  pulse: PulseView,
): void {
  const { kind, ...process } = culprit;
  const line = { level: "error", event: "node.stuck", culprit: kind, ...process };
  write(STDERR, `${JSON.stringify({ ...line, blockedMs, lastWords })}\n`, () => undefined);
  pulse.pause(LINE_MAX_MS);
}

/**
 * SIGKILL, which no handler and no exit hook can delay. Process 1 of a container is immune to
 * signals from within; there the main thread is interrupted by the inspector and told to exit, and
 * if it is stuck in native code, this thread runs into a breakpoint trap, which ends process 1 too.
 * Source: measured with Node 24.21 on Linux, `unshare --pid`.
 */
export function endNode(pulse: PulseView): void {
  process.kill(process.pid, "SIGKILL");
  pulse.pause(END_MAX_MS);
  const session = new Session();
  session.connectToMainThread();
  session.post("Runtime.evaluate", { expression: "process.reallyExit(137)" });
  pulse.pause(END_MAX_MS);
  setFlagsFromString("--allow-natives-syntax");
  runInThisContext("%SystemBreak()");
}
