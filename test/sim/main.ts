// test/sim/main.ts
// npm run sim -- --seeds 1000        seeds 1 to 1000, and how many a second
// npm run sim -- --seed 17 [--trace] one seed again, byte for byte; with everything that happened
// --scenario cut|lossy|clocks|reordered  one thing wrong instead of chaos (scenarios.ts)
// --mutant <id>                      with a fault planted (mutants.ts)
import { parseArgs } from "node:util";
import { plant } from "./mutant-hook.ts";
import type { SeedResult } from "./run-seed.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    seed: { type: "string" },
    from: { type: "string", default: "1" },
    scenario: { type: "string" },
    mutant: { type: "string" },
    trace: { type: "boolean", default: false },
    tail: { type: "string", default: "60" },
    json: { type: "boolean", default: false },
    "keep-going": { type: "boolean", default: false },
  },
});

if (values.mutant !== undefined) plant(values.mutant);
const { runAny } = await import("./run-any.ts"); // after the patch: it loads the product
const runSeed = (seed: number): Promise<SeedResult> => runAny(seed, values.scenario);

function report(result: SeedResult, tail: number): void {
  console.log(`seed ${result.seed} BROKEN`);
  for (const line of result.lines.slice(-tail)) console.log(line);
  for (const violation of result.violations) console.log(`  ${violation}`);
  const which = values.scenario === undefined ? "" : ` --scenario ${values.scenario}`;
  console.log(`again: npm run sim -- --seed ${result.seed}${which} --trace`);
}

async function one(seed: number): Promise<void> {
  const result = await runSeed(seed);
  if (values.trace) for (const line of result.lines) console.log(line);
  if (values.json) {
    const { lines: _, ...rest } = result;
    console.log(JSON.stringify(rest));
  } else if (result.violations.length > 0) report(result, values.trace ? 0 : Number(values.tail));
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
  for (let seed = from; seed < from + count; seed++) {
    const result = await runSeed(seed);
    doneCount++;
    events += result.eventsCount;
    simulatedMs += result.simulatedMs;
    if (result.violations.length === 0) continue;
    brokenCount++;
    if (values.json) {
      console.log(JSON.stringify({ seed, violations: result.violations }));
      break;
    }
    if (values["keep-going"]) console.log(`seed ${seed}: ${result.violations[0]}`);
    else {
      report(result, Number(values.tail));
      break;
    }
  }
  if (values.json) return void (process.exitCode = brokenCount > 0 ? 1 : 0);
  const seconds = (performance.now() - startedAtMs) / 1_000;
  console.log(
    `${doneCount} seeds, ${brokenCount} broken, ${(doneCount / seconds).toFixed(1)} seeds/s, ` +
      `${Math.round(events / seconds / 1_000)} K events/s, ` +
      `${Math.round(simulatedMs / 1_000 / seconds)} s simulated a second`,
  );
  if (brokenCount > 0) process.exitCode = 1;
}

if (values.seed !== undefined) await one(Number(values.seed));
else await many(Number(values.from), Number(values.seeds ?? "100"));
