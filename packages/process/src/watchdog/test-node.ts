// packages/process/src/watchdog/test-node.ts
// For watchdog.test.ts: a node with a runtime-like loop, which blocks as its scenario says. It tells
// what happens as lines of JSON on stdout.
import { readFileSync, writeSync } from "node:fs";
import { systemClock } from "@carillon/kernel";
import { Pulse } from "./pulse.ts";
import { startWatchdog } from "./watchdog.ts";

export interface Scenario {
  /** Where it blocks: in a turn, in none, in turns of many processes, in native code in a turn. */
  readonly block: "turn" | "outside" | "several" | "native" | "none";
  /** Infinity is written as null in JSON: for ever. */
  readonly blockMs: number | null;
  readonly endMs?: number;
  readonly lastWords?: { readonly moduleUrl: string; readonly data: unknown };
  /** Then: it stops the watchdog, or does nothing more, or goes on until it is killed. */
  readonly after: "stop" | "nothing" | "go_on";
}

/** A pipe that nobody writes. */
const STDIN = 0;
/** Named before the watchdog starts. */
const EARLY_TABLE_ID = 1;
const TABLE_ID = 7;
const scenario = JSON.parse(process.argv[2] ?? "") as Scenario;

/** Written at once, also when the loop blocks right afterwards. */
function tell(event: string, fields: object = {}): void {
  writeSync(1, `${JSON.stringify({ event, ...fields })}\n`);
}

function spin(ms: number): void {
  for (const endMs = systemClock.monotonicMs() + ms; systemClock.monotonicMs() < endMs;);
}

function turn(slot: number, work: () => void, tableId = TABLE_ID): void {
  pulse.enter(tableId, slot);
  work();
  pulse.leave();
}

function blockNow(): void {
  const blockMs = scenario.blockMs ?? Number.POSITIVE_INFINITY;
  tell("blocking");
  const startMs = systemClock.monotonicMs();
  if (scenario.block === "turn") turn(42, () => spin(blockMs));
  if (scenario.block === "outside") spin(blockMs);
  if (scenario.block === "several")
    for (let slot = 0; slot < 5; slot++) turn(slot, () => spin(blockMs / 5));
  if (scenario.block === "native") turn(42, () => void readFileSync(STDIN), EARLY_TABLE_ID);
  tell("unblocked", { afterMs: systemClock.monotonicMs() - startMs });
}

const pulse = new Pulse();
pulse.nameTable(EARLY_TABLE_ID, "fra/1");
const watchdog = startWatchdog({
  clock: systemClock,
  pulse,
  ...(scenario.endMs === undefined ? {} : { endMs: scenario.endMs }),
  ...(scenario.lastWords === undefined ? {} : { lastWords: scenario.lastWords }),
  onStall: (stall) => tell("stall", stall),
  onError: ({ thread, fate }) => tell("error", { thread, fate }),
});
pulse.nameTable(TABLE_ID, "fra/17");
tell("started");

// Small turns of slot 3 now and then, as an idle node has them.
for (let count = 0; count < 20; count++) {
  turn(3, () => spin(1));
  await systemClock.sleep(20);
}
blockNow();
if (scenario.after === "stop") {
  const startMs = systemClock.monotonicMs();
  await watchdog.stop();
  tell("stopped", { afterMs: systemClock.monotonicMs() - startMs });
}
while (scenario.after === "go_on") {
  turn(3, () => spin(1));
  await systemClock.sleep(20);
}
