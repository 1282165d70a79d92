// test/sim/mutants-sql-main.ts
// node test/sim/mutants-sql-main.ts --mutant <id> <url>…: the comparison of compare-main.ts for one mutant on
// databases that are there already, an empty one for each seed from 1 on. For mutants.pg.test.ts, whose
// processes share a server.
import { parseArgs } from "node:util";
import { systemClock } from "@carillon/kernel";
import { plant } from "./mutant-hook.ts";

const HOME = "fra"; // as in compare.ts

const { values, positionals: urls } = parseArgs({
  options: { mutant: { type: "string", default: "" }, json: { type: "boolean" } },
  allowPositionals: true,
});
plant(values.mutant);
const { createStore } = await import("@carillon/store");
const { compareStores } = await import("./compare.ts");

for (const [index, url] of urls.entries()) {
  const limits = { poolMax: 2, connectTimeoutMs: 20_000, statementTimeoutMs: 30_000 };
  const real = createStore({ url, applicationName: "sim-mutants", ...limits });
  await real.migrate();
  await real.ensureHome(HOME);
  const found = await compareStores(index + 1, {
    real,
    nowMs: () => systemClock.monotonicMs(),
    sleep: (ms) => systemClock.sleep(ms),
  });
  await real.close();
  if (found === undefined) continue;
  const violation = `CONFORMANCE: step ${found.step}, ${found.operation}`;
  console.log(JSON.stringify({ seed: index + 1, violations: [violation] }));
  break;
}
