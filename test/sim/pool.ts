// test/sim/pool.ts
// Many seeds over several threads. A seed shares nothing with another, so the results are those of
// one thread, and come in the order of the seeds.
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { SeedResult } from "./run-seed.ts";

/** What every thread is told once. */
export interface SeedJob {
  readonly scenario: string | undefined;
  readonly mutant: string | undefined;
  /** Of a seed that breaks; the others' lines stay where they are. */
  readonly linesMax: number;
}

/**
 * Results of `from`, `from + 1`, …, `count` of them; the threads end with the loop. Results that came
 * before their turn wait without a limit: they are small but for the lines of seeds that broke. Throws
 * what a thread died of.
 */
export async function* runSeeds(
  job: SeedJob,
  seeds: { readonly from: number; readonly count: number; readonly threadsCount: number },
): AsyncGenerator<SeedResult> {
  const endSeed = seeds.from + seeds.count;
  const done = new Map<number, SeedResult>();
  let nextSeed = seeds.from;
  let failure: Error | undefined;
  let wake: () => void = () => undefined;
  const begin = (): Worker => {
    const worker = new Worker(join(import.meta.dirname, "thread-main.ts"), { workerData: job });
    const give = (): void => {
      if (nextSeed < endSeed) worker.postMessage(nextSeed++, []);
    };
    worker.on("message", (result: SeedResult) => {
      done.set(result.seed, result);
      give();
      wake();
    });
    worker.on("error", (cause) => {
      failure = cause instanceof Error ? cause : new Error(String(cause));
      wake();
    });
    give();
    return worker;
  };
  const workers = Array.from({ length: Math.min(seeds.threadsCount, seeds.count) }, begin);
  try {
    for (let seed = seeds.from; seed < endSeed; seed++) {
      while (!done.has(seed)) {
        if (failure !== undefined) throw failure;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const result = done.get(seed);
      done.delete(seed);
      if (result !== undefined) yield result;
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
