// test/sim/compare-main.ts
// node test/sim/compare-main.ts [--mutant <id>] [--seeds 3]: compares the simulation's database with
// a real Postgres; with a mutant planted in a statement it must find a difference.
import { parseArgs } from "node:util";
import { oneOf, reading, wholeNumber } from "./arguments.ts";
import { plant } from "./mutant-hook.ts";
import { MUTANTS } from "./mutants.ts";

const USAGE = "usage: node test/sim/compare-main.ts [--seeds <count>] [--mutant <id>] [--json]";

const { values } = reading(USAGE, () =>
  parseArgs({
    options: {
      mutant: { type: "string" },
      seeds: { type: "string", default: "3" },
      json: { type: "boolean", default: false },
    },
  }),
);

const seedsCount = reading(USAGE, () => {
  if (values.mutant !== undefined)
    oneOf(
      "mutant",
      values.mutant,
      MUTANTS.map(({ id }) => id),
    );
  return wholeNumber("seeds", values.seeds);
});

if (values.mutant !== undefined) plant(values.mutant);
const { compareWithPostgres } = await import("./compare-postgres.ts");

const seeds = Array.from({ length: seedsCount }, (_, number) => number + 1);
const found = await compareWithPostgres(seeds);
if (found === undefined) {
  if (!values.json) console.log(`${seeds.length} seeds: Postgres and the simulation agree`);
} else {
  const { seed, step, operation } = found;
  const violation = `CONFORMANCE: step ${step}, ${operation}`;
  if (values.json) console.log(JSON.stringify({ seed, violations: [violation] }));
  else console.log(`seed ${seed}: ${violation}`, JSON.stringify(found, null, 1));
  process.exitCode = 1;
}
