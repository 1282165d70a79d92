// test/sim/thread-main.ts
// One thread of `npm run sim -- --seeds …`: runs the seeds it is given, one after another (pool.ts).
import { parentPort, workerData } from "node:worker_threads";
import { loadAny } from "./load-any.ts";
import type { SeedJob } from "./pool.ts";

const { scenario, mutant, linesMax } = workerData as SeedJob;
const runAny = await loadAny(mutant);

parentPort?.on("message", (seed: number) => {
  const run = async (): Promise<void> => {
    const result = await runAny(seed, scenario);
    const lines = result.violations.length > 0 ? result.lines.slice(-linesMax) : [];
    parentPort?.postMessage({ ...result, lines }, []);
  };
  void run();
});
