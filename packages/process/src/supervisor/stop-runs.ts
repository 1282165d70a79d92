// packages/process/src/supervisor/stop-runs.ts
// Stops runs together, within one shutdown time for all of them (SV9, SV15).
import type { Clock } from "@carillon/kernel";
import type { Shutdown, Started } from "./child.ts";
import type { ChildRun } from "./run.ts";

export interface StopOptions<Child extends Started> {
  readonly shutdown: Shutdown;
  readonly clock: Clock;
  /** It did not stop in time and is killed now. */
  readonly onLate: (run: ChildRun<Child>, shutdownMs: number) => void;
}

/** Afterwards all runs have ended. */
export async function stopRuns<Child extends Started>(
  runs: readonly ChildRun<Child>[],
  { shutdown, clock, onLate }: StopOptions<Child>,
): Promise<void> {
  if (shutdown === "kill") for (const run of runs) run.kill();
  const waits = runs.flatMap((run) => run.requestStop() ?? []);
  if (waits.length === 0) return;
  const killLate = (shutdownMs: number): void => {
    for (const run of runs) {
      if (!run.isCurrent) continue;
      onLate(run, shutdownMs);
      run.kill();
    }
  };
  const timer =
    typeof shutdown === "number" ? clock.setTimer(shutdown, () => killLate(shutdown)) : undefined;
  await Promise.all(waits);
  timer?.cancel();
}
