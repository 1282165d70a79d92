// test/sim/mutants-main.ts
// npm run sim:mutants [-- --seeds 300] [-- --only early-202]
// Plants each mutant in a process of its own and looks for a seed that catches it: the one that did
// last time, then 1, 2, 3 …. Prints mutant → seed → invariant; fails when one is not caught.
import { parseArgs } from "node:util";
import { huntMutant } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "300" },
    only: { type: "string" },
    "at-once": { type: "string", default: "2" },
  },
});

const wanted = MUTANTS.filter(({ id }) => values.only === undefined || id === values.only);
const waiting = [...wanted];
let missedCount = 0;

async function hunt(): Promise<void> {
  for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
    const found = await huntMutant(mutant, Number(values.seeds));
    if (found.kind !== "caught") missedCount++;
    const how =
      found.kind === "caught"
        ? `seed ${found.seed}: ${found.violation}`
        : `NOT CAUGHT: ${found.why}`;
    console.log(`${mutant.id.padEnd(20)} ${mutant.what.padEnd(66)} ${how.slice(0, 110)}`);
  }
}

await Promise.all(Array.from({ length: Number(values["at-once"]) }, hunt));
console.log(`${wanted.length} mutants, ${wanted.length - missedCount} caught`);
if (missedCount > 0) process.exitCode = 1;
