// test/sim/main.ts
// npm run sim -- --seeds 1000        seeds 1 to 1000, and how many a second
// npm run sim -- --seed 17 [--trace] one seed again, byte for byte; with everything that happened
// --scenario <name>                  one thing wrong instead of chaos (scenarios.ts)
// --mutant <id>                      with a fault planted (mutants.ts)
// --threads <count>                  of --seeds; default: the machine's cores
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { oneOf, reading, SEED_MAX, UsageError, wholeNumber } from "./arguments.ts";
import { loadAny } from "./load-any.ts";
import { MUTANTS } from "./mutants.ts";
import { runSeeds } from "./pool.ts";
import type { SeedResult } from "./run-seed.ts";
import { SCENARIO_NAMES } from "./scenario-names.ts";

const USAGE =
  "usage: npm run sim -- [--seeds <count>] [--from <seed>] [--keep-going] [--threads <count>] | " +
  "--seed <seed> [--trace]; " +
  "with either [--scenario <name>] [--mutant <id>] [--tail <lines>] [--json]";

/** How often a check had something to look at, which other faults may leave it without. */
const CHECKED = [
  "ownWhileCut",
  "othersAfterCut",
  "besides",
  "shelfReads",
  "released",
  "moved",
  "again",
  "inTime",
  "capped",
  "collapsed",
  "capAsked",
] as const;

const { values } = reading(USAGE, () =>
  parseArgs({
    options: {
      seeds: { type: "string" },
      seed: { type: "string" },
      from: { type: "string" },
      threads: { type: "string" },
      scenario: { type: "string" },
      mutant: { type: "string" },
      trace: { type: "boolean", default: false },
      tail: { type: "string", default: "60" },
      json: { type: "boolean", default: false },
      "keep-going": { type: "boolean", default: false },
    },
  }),
);

const asked = reading(USAGE, () => {
  const { seed, seeds, from, threads } = values;
  if (seed !== undefined && (seeds ?? from ?? threads) !== undefined)
    throw new UsageError("--seed is one seed: without --seeds, --from and --threads");
  if (seed !== undefined && values["keep-going"])
    throw new UsageError("--keep-going is for --seeds <count>: --seed is one seed");
  if (seed === undefined && values.trace)
    throw new UsageError("--trace is of one seed: with --seed <seed>");
  if (values.mutant !== undefined)
    oneOf(
      "mutant",
      values.mutant,
      MUTANTS.map(({ id }) => id),
    );
  if (values.scenario !== undefined) oneOf("scenario", values.scenario, SCENARIO_NAMES);
  const first = wholeNumber("from", from ?? "1");
  const seedsCount = wholeNumber("seeds", seeds ?? "100");
  const lastFrom = SEED_MAX - seedsCount + 1;
  if (first > lastFrom)
    throw new UsageError(`--from ${first} with --seeds ${seedsCount}: at most ${lastFrom}`);
  return {
    seed: seed === undefined ? undefined : wholeNumber("seed", seed),
    from: first,
    seedsCount,
    tailCount: wholeNumber("tail", values.tail),
    threadsCount: wholeNumber("threads", threads ?? String(availableParallelism())),
  };
});

function report(result: SeedResult, tail: number): void {
  console.log(`seed ${result.seed} BROKEN`);
  for (const line of tail > 0 ? result.lines.slice(-tail) : []) console.log(line);
  for (const violation of result.violations) console.log(`  ${violation}`);
  const which = values.scenario === undefined ? "" : ` --scenario ${values.scenario}`;
  const mutant = values.mutant === undefined ? "" : ` --mutant ${values.mutant}`;
  console.log(`again: npm run sim -- --seed ${result.seed}${which}${mutant} --trace`);
}

async function one(seed: number): Promise<void> {
  const runAny = await loadAny(values.mutant);
  const result = await runAny(seed, values.scenario);
  if (values.trace) for (const line of result.lines) console.log(line);
  if (values.json) {
    const { lines: _, ...rest } = result;
    console.log(JSON.stringify(rest));
  } else if (result.violations.length > 0) report(result, values.trace ? 0 : asked.tailCount);
  else
    console.log(
      `seed ${seed} holds: ${(result.simulatedMs / 1_000).toFixed(1)} s simulated, ` +
        `${result.eventsCount} events, trace ${result.traceHash}, ${JSON.stringify(result.counts)}`,
    );
  if (result.violations.length > 0) process.exitCode = 1;
}

async function many(from: number, count: number): Promise<void> {
  const startedAtMs = performance.now();
  let brokenCount = 0;
  let events = 0;
  let simulatedMs = 0;
  let doneCount = 0;
  const checked = new Map<string, number>();
  const { threadsCount, tailCount: linesMax } = asked;
  const job = { scenario: values.scenario, mutant: values.mutant, linesMax };
  for await (const result of runSeeds(job, { from, count, threadsCount })) {
    const { seed } = result;
    doneCount++;
    events += result.eventsCount;
    simulatedMs += result.simulatedMs;
    for (const name of CHECKED)
      if (result.counts[name] !== undefined)
        checked.set(name, (checked.get(name) ?? 0) + result.counts[name]);
    if (result.violations.length === 0) continue;
    brokenCount++;
    if (values.json) console.log(JSON.stringify({ seed, violations: result.violations }));
    else if (values["keep-going"]) console.log(`seed ${seed}: ${result.violations[0]}`);
    else report(result, asked.tailCount);
    if (!values["keep-going"]) break;
  }
  if (brokenCount > 0) process.exitCode = 1;
  const seconds = (performance.now() - startedAtMs) / 1_000;
  const [applied, counted] = [Object.fromEntries(checked), { seedsCount: doneCount, brokenCount }];
  if (values.json) return console.log(JSON.stringify({ ...counted, checked: applied, seconds }));
  console.log(
    `${doneCount} seeds, ${brokenCount} broken, ${(doneCount / seconds).toFixed(1)} seeds/s, ` +
      `${Math.round(events / seconds / 1_000)} K events/s, ` +
      `${Math.round(simulatedMs / 1_000 / seconds)} s simulated a second`,
  );
  const text = [...checked].map(([name, times]) => `${name} ${times}`).join(", ");
  if (text !== "") console.log(`checked: ${text}`);
}

if (asked.seed !== undefined) await one(asked.seed);
else await many(asked.from, asked.seedsCount);
