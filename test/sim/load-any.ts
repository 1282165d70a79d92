// test/sim/load-any.ts
// Loads the product, with one mutant or none, for the one process or thread that runs seeds of it.
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { plant } from "./mutant-hook.ts";
import type { SeedResult } from "./run-seed.ts";

type RunAny = (seed: number, scenario: string | undefined) => Promise<SeedResult>;

/**
 * Loading costs as much as a seed, and the fixed set has some fifty processes: Node keeps what it has
 * compiled, each file with its text's checksum, so a mutant's is not taken for the product's.
 */
const COMPILED_IN = join(import.meta.dirname, "../../node_modules/.cache/carillon-sim");

export async function loadAny(mutant: string | undefined): Promise<RunAny> {
  enableCompileCache(COMPILED_IN); // where it cannot be written nothing is kept, and all is as without
  if (mutant !== undefined) plant(mutant);
  const { runAny } = await import("./run-any.ts"); // after the patch
  return runAny;
}
