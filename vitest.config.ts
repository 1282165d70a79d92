// vitest.config.ts
// Two projects: `unit` (all but the system tests) in parallel, then `e2e` one file after another,
// since each of its files runs whole regions and two cores are all there may be.
import { configDefaults, defineConfig } from "vitest/config";

const E2E = ["test/e2e/**/*.test.ts", "test/chaos/**/*.test.ts", "test/load/**/*.test.ts"];
const exclude = [...configDefaults.exclude, "**/dist/**", "**/.carillon/**"];
// Generous: a test waits for an event, and a slow machine is not a failure (STYLE §7).
const limits = { testTimeout: 60_000, hookTimeout: 120_000, teardownTimeout: 30_000 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...limits,
          name: "unit",
          include: [
            "packages/**/src/**/*.test.ts",
            "apps/**/src/**/*.test.ts",
            "test/**/*.test.ts",
          ],
          exclude: [...exclude, ...E2E],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...limits,
          name: "e2e",
          include: E2E,
          exclude,
          testTimeout: 180_000,
          hookTimeout: 300_000,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
