// packages/process/src/watchdog/watch-thread.ts
// The thread that looks at the pulse and ends the node. It runs no foreign code and has no event
// loop: a look, then a blocking wait, so that nothing in it is late unless the thread itself is.
//   WD2  An event loop that is stuck for `endMs` ends the whole node within two seconds more,
//        whatever the last words do: they run in another thread and are waited for a second.
import {
  parentPort,
  receiveMessageOnPort,
  workerData,
  type MessagePort,
} from "node:worker_threads";
import { systemClock } from "@carillon/kernel";
import { endNode, writeLastLine } from "./end-node.ts";
import type { ThreadData } from "./kept-thread.ts";
import { PulseView, slotOfRunning, tableIdOfRunning, type SpokenOutcome } from "./pulse.ts";
import {
  culpritOf,
  StallMeter,
  type Look,
  type MeteredStall,
  type Stall,
  type StallLimits,
} from "./stall.ts";

/** Last words may take so long: a connection and one write. Source: P16's 7 s less `endMs`. */
const LAST_WORDS_MAX_MS = 1_000;

export interface WatchSetup {
  readonly buffer: SharedArrayBuffer;
  readonly limits: StallLimits;
}

/** `name` undefined: the table is gone. `port` leads to the thread of the last words. */
export type WatchOrder =
  | { readonly kind: "table"; readonly tableId: number; readonly name: string | undefined }
  | { readonly kind: "speaker"; readonly port: MessagePort };

if (parentPort !== null) watch(workerData as ThreadData<WatchSetup>, parentPort);

function watch({ setup, inbox }: ThreadData<WatchSetup>, main: MessagePort): void {
  const { buffer, limits } = setup;
  const pulse = new PulseView(buffer);
  const meter = new StallMeter(limits);
  const names = new Map<number, string>();
  let speaker: MessagePort | undefined;
  const obey = (order: WatchOrder): void => {
    if (order.kind === "speaker") speaker = order.port;
    else if (order.name === undefined) names.delete(order.tableId);
    else names.set(order.tableId, order.name);
  };
  const told = ({ running, blockedMs }: MeteredStall): Stall => {
    const culprit = culpritOf(running, (value) => {
      const tableId = tableIdOfRunning(value);
      return { table: names.get(tableId) ?? `#${tableId}`, slot: slotOfRunning(value) };
    });
    return { culprit, blockedMs };
  };
  while (!pulse.isStopped) {
    const step = meter.look(lookAt(pulse));
    if (step.kind === "over") main.postMessage(told(step), []);
    if (step.kind === "end") return end(told(step), pulse, speaker);
    // After the look: a table that is forgotten right after the stall must still have its name.
    for (let order = receive(inbox); order !== undefined; order = receive(inbox)) obey(order);
    pulse.pause(limits.tickMs);
  }
}

function lookAt({ beatCount, running, isDebuggerOpen }: PulseView): Look {
  return { nowMs: systemClock.monotonicMs(), beatCount, running, isDebuggerOpen };
}

function receive(inbox: MessagePort): WatchOrder | undefined {
  return receiveMessageOnPort(inbox)?.message as WatchOrder | undefined;
}

/** Decided: the main thread may come back meanwhile, the node ends all the same. */
function end(stall: Stall, pulse: PulseView, speaker: MessagePort | undefined): void {
  let lastWords: SpokenOutcome | "none" = "none";
  if (speaker !== undefined) {
    speaker.postMessage(stall.culprit, []);
    lastWords = pulse.waitSpoken(LAST_WORDS_MAX_MS);
  }
  writeLastLine(stall, lastWords, pulse);
  endNode(pulse);
}
