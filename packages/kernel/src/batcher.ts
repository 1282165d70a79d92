// packages/kernel/src/batcher.ts
// Group commit: single items become batches, each item gets its own answer.
//   BT1  A batch leaves when it has `itemsMax` items or `waitMs` after its first one, whichever is
//        first, as soon as fewer than `concurrencyMax` batches are under way.
//   BT2  Items keep the order of `add`, inside a batch and from batch to batch.
//   BT3  At most `queueMax` items wait; the next one is refused, not kept.
//   BT4  Every item that was taken is settled exactly once.
import { BugError } from "./assert.ts";
import type { Clock, Timer } from "./clock.ts";
import { Ring } from "./ring.ts";

/** In the place of an item's result: that item alone fails, with `cause`. */
export class ItemFailure {
  readonly cause: unknown;
  constructor(cause: unknown) {
    this.cause = cause;
  }
}

export interface BatcherOptions<Item, Result> {
  /** Results in the order of the items. A rejection fails every item of the batch. */
  readonly run: (items: readonly Item[]) => Promise<readonly (Result | ItemFailure)[]>;
  readonly itemsMax: number;
  readonly waitMs: number;
  readonly concurrencyMax: number;
  readonly queueMax: number;
}

export interface BatcherFull {
  readonly kind: "full";
}

export interface Batcher<Item, Result> {
  /** `await` gives the item's result, or `{ kind: "full" }`; rejects with the item's failure. */
  add(item: Item): Promise<Result> | BatcherFull;
  /** Items that wait for their batch. */
  readonly waitingCount: number;
  /** Batches under way. */
  readonly runningCount: number;
  /** Sends what waits without delay; resolves when nothing waits or is under way. */
  drain(): Promise<void>;
}

interface Entry<Item, Result> {
  readonly item: Item;
  readonly dueAtMs: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (cause: unknown) => void;
}

const FULL: BatcherFull = { kind: "full" };

export function createBatcher<Item, Result>(
  options: BatcherOptions<Item, Result>,
  clock: Clock,
): Batcher<Item, Result> {
  const queue = new Ring<Entry<Item, Result>>(options.queueMax);
  let runningCount = 0;
  let timer: Timer | undefined;
  let drained: (() => void)[] = [];

  const mayLeave = (): boolean => {
    const first = queue.peek();
    if (first === undefined || runningCount >= options.concurrencyMax) return false;
    if (queue.length >= options.itemsMax || drained.length > 0) return true;
    return first.dueAtMs <= clock.monotonicMs();
  };

  const pump = (): void => {
    while (mayLeave()) void runBatch();
    const first = queue.peek();
    if (first !== undefined && timer === undefined && runningCount < options.concurrencyMax)
      timer = clock.setTimer(Math.max(0, first.dueAtMs - clock.monotonicMs()), () => {
        timer = undefined;
        pump();
      });
    if (first === undefined && runningCount === 0) {
      for (const tell of drained) tell();
      drained = [];
    }
  };

  const runBatch = async (): Promise<void> => {
    const batch: Entry<Item, Result>[] = [];
    while (batch.length < options.itemsMax) {
      const entry = queue.shift();
      if (entry === undefined) break;
      batch.push(entry);
    }
    timer?.cancel(); // it was the first item's, which leaves now
    timer = undefined;
    runningCount++;
    try {
      settle(batch, await options.run(batch.map((entry) => entry.item)));
    } catch (cause) {
      for (const entry of batch) entry.reject(cause);
    }
    runningCount--;
    pump();
  };

  return {
    add(item) {
      if (queue.length >= options.queueMax) return FULL;
      return new Promise<Result>((resolve, reject) => {
        queue.push({ item, dueAtMs: clock.monotonicMs() + options.waitMs, resolve, reject });
        pump();
      });
    },
    get waitingCount() {
      return queue.length;
    },
    get runningCount() {
      return runningCount;
    },
    drain: () =>
      new Promise((resolve) => {
        drained.push(resolve);
        pump();
      }),
  };
}

function settle<Item, Result>(
  batch: readonly Entry<Item, Result>[],
  results: readonly (Result | ItemFailure)[],
): void {
  if (results.length !== batch.length)
    throw new BugError(`BT4 ${batch.length} items, ${results.length} results`);
  for (const [index, entry] of batch.entries()) {
    const result = results[index] as Result | ItemFailure; // same length, checked above
    if (result instanceof ItemFailure) entry.reject(result.cause);
    else entry.resolve(result);
  }
}
