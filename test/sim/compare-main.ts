// test/sim/compare-main.ts
// node test/sim/compare-main.ts [--mutant <id>] [--seeds 3]: compares the simulation's database with
// a real Postgres; with a mutant planted in a statement it must find a difference.
import { parseArgs } from "node:util";
import { plant } from "./mutant-hook.ts";

const { values } = parseArgs({
  options: {
    mutant: { type: "string" },
    seeds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});

if (values.mutant !== undefined) plant(values.mutant);
const { compareWithPostgres } = await import("./compare-postgres.ts");

const seeds = Array.from({ length: Number(values.seeds) }, (_, number) => number + 1);
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
