// test/sim/scenario-names.ts
// By themselves, so that who only asks for them does not load the product (scenarios.ts does).
export const SCENARIO_NAMES = [
  "cut",
  "lossy",
  "clocks",
  "reordered",
  "fenced",
  "revoked",
  "unheard",
  "crowded",
  "isolated",
  "neighbours",
  "shelved",
  "deferred",
  "controlled",
  "capped",
] as const;
export type ScenarioName = (typeof SCENARIO_NAMES)[number];
