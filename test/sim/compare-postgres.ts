// test/sim/compare-postgres.ts
// A real Postgres for the comparison, and that comparison for some seeds.
import { systemClock } from "@carillon/kernel";
import { dropPostgres, startPostgres } from "@carillon/local";
import { createStore } from "@carillon/store";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compareStores, type Difference } from "./compare.ts";

const HOME = "fra";

/** The first difference over `seeds`, each on a new database; undefined: none. */
export async function compareWithPostgres(
  seeds: readonly number[],
): Promise<(Difference & { readonly seed: number }) | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "carillon-sim-"));
  const databases = seeds.map((seed) => `compare${seed}`);
  const server = await startPostgres({ folder, databases, isDurable: false });
  try {
    for (const [index, seed] of seeds.entries()) {
      const real = createStore({
        url: server.urlOf(databases[index] ?? ""),
        poolMax: 2,
        applicationName: "sim-compare",
        connectTimeoutMs: 20_000,
        statementTimeoutMs: 30_000,
      });
      try {
        await real.migrate();
        await real.ensureHome(HOME);
        const found = await compareStores(seed, {
          real,
          nowMs: () => systemClock.monotonicMs(),
          sleep: (ms) => systemClock.sleep(ms),
        });
        if (found !== undefined) return { ...found, seed };
      } finally {
        await real.close();
      }
    }
    return undefined;
  } finally {
    await server.stop();
    dropPostgres(folder);
  }
}
