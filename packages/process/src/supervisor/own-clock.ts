// packages/process/src/supervisor/own-clock.ts
// Time as one run of a child sees it (OR1, OR2 of own-run.ts).
import type { Clock, Scheduler, Timer } from "@carillon/kernel";
import type { OwnRun } from "./own-run.ts";

/**
 * The same clock. A callback that throws is the run's crash; with the run its timers are cancelled.
 * A sleep that is under way then never ends, so that what waits for it goes no further.
 */
export function ownClock(run: OwnRun, clock: Clock): Clock {
  const timers = new Set<Timer>();
  run.onOver(() => {
    for (const timer of timers) timer.cancel();
    timers.clear();
  });
  return {
    wallClockMs: () => clock.wallClockMs(),
    monotonicMs: () => clock.monotonicMs(),
    setTimer(delayMs, callback) {
      if (!run.isCurrent) return NO_TIMER;
      const fire = run.guarded(callback);
      const timer = clock.setTimer(delayMs, () => {
        timers.delete(own);
        fire();
      });
      const own: Timer = {
        cancel() {
          timers.delete(own);
          timer.cancel();
        },
      };
      timers.add(own);
      return own;
    },
    sleep: (delayMs) =>
      new Promise((resolve) => {
        void clock.sleep(delayMs).then(run.guarded(() => resolve()));
      }),
  };
}

/** The same scheduler; what was deferred is not called after the run. */
export function ownScheduler(run: OwnRun, scheduler: Scheduler): Scheduler {
  return { defer: (callback) => scheduler.defer(run.guarded(callback)) };
}

const NO_TIMER: Timer = { cancel: () => undefined };
