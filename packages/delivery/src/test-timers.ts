// packages/delivery/src/test-timers.ts
// One owner of durable timers for tests: a fake clock, and the table in memory.
import { FakeClock } from "@carillon/testkit";
import { DELIVERY_DEFAULTS, type TimerLimits } from "./delivery-limits.ts";
import { DurableTimers } from "./durable-timers.ts";
import { FakeTimerStore } from "./fake-timer-store.ts";
import type { ClaimedTimer, HeldPartition, TimerDue } from "./ports.ts";

export const HELD: HeldPartition = { partition: 0, epoch: 1 };
export const placeOf = (key: string) => ({ kind: "k", key });
export const setting = (key: string, due: TimerDue, payload: unknown = key) => ({
  ...placeOf(key),
  tenantId: "acme",
  due,
  payload,
});

/** One owner. `fire` answers as the handler does; default: done at once. */
export function owner(
  options: {
    clock?: FakeClock;
    store?: FakeTimerStore;
    limits?: Partial<TimerLimits>;
    fire?: (timer: ClaimedTimer) => Promise<void> | void;
  } = {},
) {
  const clock = options.clock ?? new FakeClock();
  const store = options.store ?? new FakeTimerStore(clock, new Map([[0, 1]]));
  const fired: string[] = [];
  const events: string[] = [];
  const lateMs: number[] = [];
  const held = new Map<number, number>();
  const timers = new DurableTimers<string>({
    home: "fra",
    store,
    clock,
    random: { next: () => 0.5, bytes: (count) => new Uint8Array(count) }, // no jitter
    limits: { ...DELIVERY_DEFAULTS.timers, ...options.limits },
    storeRetry: DELIVERY_DEFAULTS.retry,
    handlers: [
      {
        kind: "k",
        fire(timer, served) {
          fired.push(`${timer.key} ${served}`);
          return options.fire?.(timer);
        },
      },
    ],
    servedOf: (partition) => (held.has(partition) ? `of ${partition}` : undefined),
    isHeld: ({ partition, epoch }) => held.get(partition) === epoch,
    onFenced: (refused) => {
      for (const { partition, epoch } of refused) events.push(`fenced ${partition}/${epoch}`);
      for (const { partition } of refused) lose(partition);
    },
    onFault: () => void events.push("fault"),
    onCrash: (cause) => void events.push(`crash ${String(cause)}`),
    observer: {
      onTimerFired: (_, late) => void lateMs.push(late),
      onTimerFailed: ({ key, attemptCount }, cause) =>
        void events.push(`failed ${key} ${attemptCount}: ${String(cause)}`),
      onTimerBuried: ({ key }, reason) => void events.push(`buried ${key}: ${reason}`),
    },
  });
  const own = (one: HeldPartition = HELD): void => {
    held.set(one.partition, one.epoch);
    timers.serve(one);
  };
  const lose = (partition: number): void => {
    held.delete(partition);
    timers.drop(partition);
  };
  return { clock, store, timers, fired, events, lateMs, own, lose };
}

export const keysOf = ({ memory }: FakeTimerStore) =>
  [...memory.rows.values()].map(({ key }) => key);
