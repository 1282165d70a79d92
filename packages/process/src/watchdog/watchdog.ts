// packages/process/src/watchdog/watchdog.ts
// Sees a stuck event loop, names the process that blocks it and ends the node (P16). Two threads:
// one watches and ends; the other, if the app has last words, has them loaded and speaks them.
//   WD5  It keeps no node alive, and `stop` is prompt.
import { url as inspectorUrl } from "node:inspector";
import { MessageChannel } from "node:worker_threads";
import { assert, type Clock, type Timer } from "@carillon/kernel";
import { KeptThread, type ThreadDeath } from "./kept-thread.ts";
import { Pulse } from "./pulse.ts";
import type { SpeakerSetup } from "./speaker-thread.ts";
import type { Stall } from "./stall.ts";
import type { WatchOrder, WatchSetup } from "./watch-thread.ts";

/** Between two looks and between two beats: a stall's length is exact to about this. */
const TICK_MS = 100;
const WARN_MS = 1_000;
/** With a second of last words and the slack of a loaded machine it stays below P16's 7 s. */
const END_MS = 5_000;
/** Measured with Node 24.21: stripping types alone takes 11 MB in a thread. */
const WATCH_HEAP_MAX_MB = 32;
/** A database driver and its connection; more is not spoken, and the node is ended all the same. */
const SPEAKER_HEAP_MAX_MB = 96;

export interface WatchdogOptions {
  /** A real one: the threads measure real time against its beats. */
  readonly clock: Clock;
  /** The runtime's; else a new one. */
  readonly pulse?: Pulse;
  /** A stall from this on is told when it is over. */
  readonly warnMs?: number;
  /** A stall of this length ends the node, at the latest two seconds later (WD2). */
  readonly endMs?: number;
  /**
   * `moduleUrl` names a module that exports `lastWords: LastWords`; absolute. It is loaded at the
   * start, in a thread of its own, and spoken right before the node is ended (WD7).
   */
  readonly lastWords?: {
    readonly moduleUrl: string | URL;
    /** Structured-cloneable. */
    readonly data: unknown;
  };
  /** Must not throw. */
  onStall(stall: Stall): void;
  /** `watchdog` has died: until it is back the node is not watched. `last-words`: not spoken. */
  onError(death: ThreadDeath): void;
}

export interface Watchdog {
  /** For the runtime. */
  readonly pulse: Pulse;
  /** Resolves when the threads have ended. Safe to call twice. */
  stop(): Promise<void>;
}

export function startWatchdog(options: WatchdogOptions): Watchdog {
  const { clock, pulse = new Pulse(), warnMs = WARN_MS, endMs = END_MS } = options;
  assert(warnMs >= TICK_MS && endMs > warnMs, "WD1 tick ≤ warnMs < endMs");
  const watchSetup: WatchSetup = {
    buffer: pulse.buffer,
    limits: { tickMs: TICK_MS, warnMs, endMs },
  };
  const tellTable = (tableId: number, name: string | undefined): void =>
    watch.post({ kind: "table", tableId, name } satisfies WatchOrder);
  const watch = new KeptThread({
    clock,
    url: new URL("./watch-thread.ts", import.meta.url),
    name: "watchdog",
    setup: watchSetup,
    heapMaxMb: WATCH_HEAP_MAX_MB,
    onStart: () => {
      for (const [tableId, name] of pulse.tables) tellTable(tableId, name);
      if (speaker !== undefined) introduce(watch, speaker);
    },
    onMessage: (stall) => options.onStall(stall as Stall),
    onDeath: (death) => options.onError(death),
  });
  const speaker = createSpeaker(options, pulse, (itself) => introduce(watch, itself));
  const unfollow = pulse.followTables(tellTable);
  const stopBeating = keepBeating(clock, pulse);
  pulse.arm();
  speaker?.start();
  watch.start();
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    unfollow();
    stopBeating();
    pulse.requestStop();
    await Promise.all([watch.stop(), speaker?.stop()]);
  };
  return { pulse, stop: () => (stopped ??= stop()) };
}

function createSpeaker(
  options: WatchdogOptions,
  { buffer }: Pulse,
  onStart: (speaker: KeptThread) => void,
): KeptThread | undefined {
  const { clock, lastWords } = options;
  if (lastWords === undefined) return undefined;
  const moduleUrl = String(lastWords.moduleUrl);
  const speaker: KeptThread = new KeptThread({
    clock,
    url: new URL("./speaker-thread.ts", import.meta.url),
    name: "last-words",
    setup: { buffer, moduleUrl, data: lastWords.data } satisfies SpeakerSetup,
    heapMaxMb: SPEAKER_HEAP_MAX_MB,
    onStart: () => onStart(speaker),
    onDeath: (death) => options.onError(death),
  });
  return speaker;
}

/** The threads talk without the main thread, which is stuck when they do. Again at each restart. */
function introduce(watch: KeptThread, speaker: KeptThread): void {
  const { port1, port2 } = new MessageChannel();
  watch.post({ kind: "speaker", port: port1 } satisfies WatchOrder, [port1]);
  speaker.post(port2, [port2]);
}

/** A loop that is stuck outside of any turn is seen, too. Returns what ends it. */
function keepBeating(clock: Clock, pulse: Pulse): () => void {
  let timer: Timer | undefined;
  const beat = (): void => {
    pulse.beat(inspectorUrl() !== undefined);
    timer = clock.setTimer(TICK_MS, beat);
  };
  beat();
  return () => timer?.cancel();
}
