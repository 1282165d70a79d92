// test/sim/mutant-hook.ts
// Plants one mutant in the modules that are loaded from now on. No source on disk changes.
import { registerHooks } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Mutant, MUTANTS } from "./mutants.ts";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Why the patch cannot be planted, in words; undefined: it can. */
export function mismatchOf({ file, from, to, timesCount = 1 }: Mutant): string | undefined {
  const path = join(ROOT, file);
  if (!existsSync(path)) return `${file} is gone`;
  const count = readFileSync(path, "utf8").split(from).length - 1;
  if (count === 0) return `${file} does not hold ${JSON.stringify(from)}`;
  if (count !== timesCount) return `${file} holds it ${count} times, not ${timesCount}`;
  return from === to ? "it changes nothing" : undefined;
}

/** Throws when the mutant is unknown or its text is not there. Before anything of ours is imported. */
export function plant(id: string): Mutant {
  const mutant = MUTANTS.find((one) => one.id === id);
  if (mutant === undefined) throw new Error(`no mutant ${id}`);
  const mismatch = mismatchOf(mutant);
  if (mismatch !== undefined) throw new Error(`mutant ${id}: ${mismatch}`);
  const url = pathToFileURL(join(ROOT, mutant.file)).href;
  registerHooks({
    load(wanted, context, nextLoad) {
      const loaded = nextLoad(wanted, context);
      if (wanted !== url) return loaded;
      const text = readFileSync(join(ROOT, mutant.file), "utf8");
      return { ...loaded, source: text.replaceAll(mutant.from, () => mutant.to) };
    },
  });
  return mutant;
}
