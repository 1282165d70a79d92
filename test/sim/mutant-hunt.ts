// test/sim/mutant-hunt.ts
// One mutant in processes of its own: is it caught, by which seed, and what was broken?
import { execFile } from "node:child_process";
import { join } from "node:path";
import { mismatchOf } from "./mutant-hook.ts";
import type { Mutant } from "./mutants.ts";

export type Hunt =
  | { readonly kind: "caught"; readonly seed: number; readonly violation: string }
  | { readonly kind: "missed"; readonly why: string };

const HUNT_MAX_MS = 900_000;

/** The seed that caught it before, then 1 to `seedsMax`. */
export async function huntMutant(mutant: Mutant, seedsMax: number): Promise<Hunt> {
  const mismatch = mismatchOf(mutant);
  if (mismatch !== undefined) return { kind: "missed", why: mismatch };
  if (mutant.by === "sql") return await run(mutant, "compare-main.ts", []);
  const where = mutant.scenario === undefined ? [] : ["--scenario", mutant.scenario];
  const once = [...where, "--threads", "1"]; // mutants are hunted side by side
  const from = ["--from", String(mutant.seed)];
  const known = await run(mutant, "main.ts", [...once, ...from, "--seeds", "1"]);
  if (known.kind === "caught" || seedsMax === 0) return known;
  return await run(mutant, "main.ts", [...once, "--seeds", String(seedsMax)]);
}

/** One in a statement, on an empty database of `urls` for each seed of the comparison from 1 on. */
export function huntOnDatabases(mutant: Mutant, urls: readonly string[]): Promise<Hunt> {
  return run(mutant, "mutants-sql-main.ts", urls);
}

function run(mutant: Mutant, main: string, args: readonly string[]): Promise<Hunt> {
  const script = join(import.meta.dirname, main);
  const options = { timeout: HUNT_MAX_MS, maxBuffer: 64 * 1_048_576 };
  return new Promise((resolve) => {
    const all = [script, "--mutant", mutant.id, "--json", ...args];
    execFile(process.execPath, all, options, (error, stdout, stderr) => {
      const [line = ""] = stdout.split("\n").filter((text) => text.startsWith('{"seed":'));
      if (line === "") {
        const why = error === null ? "no seed has caught it" : stderr.slice(-300);
        return resolve({ kind: "missed", why });
      }
      const { seed, violations } = JSON.parse(line) as { seed: number; violations: string[] };
      resolve({ kind: "caught", seed, violation: violations[0] ?? "" });
    });
  });
}
