// packages/process/src/watchdog/kept-thread.ts
// A thread that is started again when it dies.
//   WD5  It keeps no node alive, and after `stop` it is gone and is not started again.
//   WD6  A thread that dies is told and started again, at most `RESTART_MAX` times in a row.
import {
  MessageChannel,
  Worker,
  type MessagePort,
  type TransferListItem,
} from "node:worker_threads";
import type { Clock, Timer } from "@carillon/kernel";

/** So many deaths without a life of `FORGIVEN_MS` in between are no accident any more. */
const RESTART_MAX = 5;
const RESTART_DELAY_MS = 1_000;
const FORGIVEN_MS = 60_000;

export interface ThreadDeath {
  readonly thread: string;
  readonly fate: "restart" | "given_up";
  readonly cause: unknown;
}

/**
 * The thread's `workerData`. The inbox keeps its messages until the thread takes them; what comes by
 * `parentPort` while a thread still loads its modules is lost (Node 24.21).
 */
export interface ThreadData<Setup> {
  readonly setup: Setup;
  readonly inbox: MessagePort;
}

export interface KeptThreadOptions {
  readonly clock: Clock;
  readonly url: URL;
  readonly name: string;
  /** Structured-cloneable; the same for each start. */
  readonly setup: unknown;
  readonly heapMaxMb: number;
  /** Also after a restart; the place to post what the thread must know. */
  onStart?(): void;
  onMessage?(message: unknown): void;
  onDeath(death: ThreadDeath): void;
}

export class KeptThread {
  readonly #options: KeptThreadOptions;
  #worker: Worker | undefined;
  #outbox: MessagePort | undefined;
  #restartTimer: Timer | undefined;
  #restartCount = 0;
  #isStopped = false;

  constructor(options: KeptThreadOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, name } = this.#options;
    const startedAtMs = clock.monotonicMs();
    let worker: Worker;
    try {
      worker = this.#createWorker();
    } catch (failure) {
      return this.#onExit(failure); // no memory or no thread left
    }
    let cause: unknown;
    worker.on("error", (error) => (cause = error));
    worker.on("exit", (code) => {
      if (clock.monotonicMs() - startedAtMs >= FORGIVEN_MS) this.#restartCount = 0;
      this.#onExit(cause ?? new Error(`thread ${name} ended with code ${code}`));
    });
    worker.on("message", (message) => this.#options.onMessage?.(message));
    worker.unref(); // after the listeners: `on("message")` refs the thread again
    this.#worker = worker;
    this.#options.onStart?.();
  }

  /** A thread that is not there just now is told nothing: `onStart` will. */
  post(message: unknown, transfer: readonly TransferListItem[] = []): void {
    this.#outbox?.postMessage(message, transfer);
  }

  /** Resolves when the thread has ended. Safe to call twice. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#restartTimer?.cancel();
    await this.#worker?.terminate();
  }

  #createWorker(): Worker {
    const { url, name, setup, heapMaxMb } = this.#options;
    const { port1, port2 } = new MessageChannel();
    this.#outbox = port1;
    return new Worker(url, {
      name,
      workerData: { setup, inbox: port2 } satisfies ThreadData<unknown>,
      transferList: [port2],
      execArgv: [], // no preloads: they would hold up the start and fill the heap
      resourceLimits: { maxOldGenerationSizeMb: heapMaxMb, maxYoungGenerationSizeMb: 2 },
    });
  }

  #onExit(cause: unknown): void {
    this.#worker = undefined;
    this.#outbox?.close();
    this.#outbox = undefined;
    if (this.#isStopped) return;
    const { clock, name: thread } = this.#options;
    if (this.#restartCount === RESTART_MAX)
      return this.#options.onDeath({ thread, fate: "given_up", cause });
    this.#restartCount++;
    this.#restartTimer = clock.setTimer(RESTART_DELAY_MS, () => this.start());
    this.#options.onDeath({ thread, fate: "restart", cause });
  }
}
