// test/sim/mutants-main.ts
// npm run sim:mutants [-- --seeds 300] [-- --only early-202]
// Plants each mutant in a process of its own and looks for a seed that catches it: the one that did
// last time, then 1, 2, 3 …. Prints mutant → seed → invariant; fails when one is not caught.
import { parseArgs } from "node:util";
import { oneOf, reading, wholeNumber } from "./arguments.ts";
import { huntMutant } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants.ts";

const USAGE =
  "usage: npm run sim:mutants -- [--seeds <count>] [--only <mutant>] [--at-once <count>]";

const { values } = reading(USAGE, () =>
  parseArgs({
    options: {
      seeds: { type: "string", default: "300" },
      only: { type: "string" },
      "at-once": { type: "string", default: "2" },
    },
  }),
);
const asked = reading(USAGE, () => ({
  seedsCount: wholeNumber("seeds", values.seeds),
  atOnceCount: wholeNumber("at-once", values["at-once"]),
  only:
    values.only === undefined
      ? undefined
      : oneOf(
          "mutant",
          values.only,
          MUTANTS.map(({ id }) => id),
        ),
}));

const wanted = MUTANTS.filter(({ id }) => asked.only === undefined || id === asked.only);
const waiting = [...wanted];
let caughtCount = 0;

async function hunt(): Promise<void> {
  for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
    const found = await huntMutant(mutant, asked.seedsCount);
    if (found.kind === "caught") caughtCount++;
    const how =
      found.kind === "caught"
        ? `seed ${found.seed}: ${found.violation}`
        : `NOT CAUGHT: ${found.why}`;
    console.log(`${mutant.id.padEnd(20)} ${mutant.what.padEnd(66)} ${how.slice(0, 110)}`);
  }
}

await Promise.all(Array.from({ length: asked.atOnceCount }, hunt));
console.log(`${wanted.length} mutants, ${caughtCount} caught`);
if (wanted.length === 0 || caughtCount < wanted.length) process.exitCode = 1;
