// test/sim/run-any.ts
// A seed of the scenario that was asked for by name; without a name, of chaos.
import { runSeed, type SeedResult } from "./run-seed.ts";
import { SCENARIO_NAMES, type ScenarioName } from "./scenario-names.ts";
import { runScenario } from "./scenarios.ts";

/** Throws when there is no such scenario. */
export async function runAny(seed: number, scenario: string | undefined): Promise<SeedResult> {
  if (scenario === undefined) return await runSeed(seed);
  const isKnown = (name: string): name is ScenarioName =>
    SCENARIO_NAMES.some((one) => one === name);
  if (!isKnown(scenario))
    throw new Error(`no scenario ${scenario}; there are ${SCENARIO_NAMES.join(", ")}`);
  return await runScenario(scenario, seed);
}
