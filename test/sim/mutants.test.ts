// test/sim/mutants.test.ts
// Goal: the simulation bites. Method: every patch still matches its file, and those that one of the
// first seeds catches are planted; `npm run sim:mutants` plants all of them. Those in statements:
// mutants.pg.test.ts.
import { expect, test } from "vitest";
import { mismatchOf } from "./mutant-hook.ts";
import { huntMutant } from "./mutant-hunt.ts";
import { MUTANTS, QUICK_SEED_MAX } from "./mutants.ts";

test("every mutant's text is in the product, and none is there twice", () => {
  expect(MUTANTS.flatMap((mutant) => mismatchOf(mutant) ?? [])).toEqual([]);
  expect(new Set(MUTANTS.map(({ id }) => id)).size).toBe(MUTANTS.length);
  expect(MUTANTS.length).toBeGreaterThanOrEqual(10);
});

// Which seed catches one moves when the product or the faults change: then another is found.
const SEEDS_MAX = 40;
const quick = MUTANTS.filter(({ by, seed }) => by === "simulation" && seed <= QUICK_SEED_MAX);

test.each(quick)(
  "$id is caught: $what",
  async (mutant) => {
    expect((await huntMutant(mutant, SEEDS_MAX)).kind).toBe("caught");
  },
  600_000,
);
