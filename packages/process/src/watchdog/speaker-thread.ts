// packages/process/src/watchdog/speaker-thread.ts
// The thread of the last words: has the app's module loaded and waits. It is not the watch thread,
// since what is foreign may hang, block or run out of memory, and the node must still be ended.
//   WD7  The last words are spoken once, with the culprit, before the node is ended.
import { isMainThread, workerData, type MessagePort } from "node:worker_threads";
import type { ThreadData } from "./kept-thread.ts";
import { PulseView } from "./pulse.ts";
import type { Culprit } from "./stall.ts";

/**
 * Exported as `lastWords` by the app's module. Runs while the main thread is stuck: nothing of it
 * may need the main thread (no console, no messages). It has one second. Answers whether anything was
 * written down.
 */
export type LastWords = (culprit: Culprit, data: unknown) => Promise<"done" | "nothing">;

export interface SpeakerSetup {
  readonly buffer: SharedArrayBuffer;
  readonly moduleUrl: string;
  readonly data: unknown;
}

if (!isMainThread) await listen(workerData as ThreadData<SpeakerSetup>);

async function listen({ setup, inbox }: ThreadData<SpeakerSetup>): Promise<void> {
  const { buffer, moduleUrl, data } = setup;
  const { lastWords } = (await import(moduleUrl)) as { lastWords?: LastWords };
  if (typeof lastWords !== "function") throw new TypeError(`${moduleUrl} has no lastWords`);
  const pulse = new PulseView(buffer);
  const speak = async (culprit: Culprit): Promise<void> => {
    try {
      pulse.tellSpoken(await lastWords(culprit, data));
    } catch {
      pulse.tellSpoken("failed"); // the watch thread writes it down
    }
  };
  // A new port comes when the watch thread was started again.
  inbox.on("message", (watch: MessagePort) =>
    watch.on("message", (culprit: Culprit) => void speak(culprit)),
  );
}
