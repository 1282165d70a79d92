// test/sim/database.pg.test.ts
// Goal: SI6, what the simulation believes of a statement is what Postgres does. Method: the same
// random operations on packages/store against a real Postgres and on the simulation's database;
// statements that are wrong are told apart.
import { expect, test } from "vitest";
import { compareWithPostgres } from "./compare-postgres.ts";
import { huntMutant } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants.ts";

test("SI6, D4 — leases, fence, accept, ledger, outbox and control agree with Postgres", async () => {
  expect(await compareWithPostgres([1, 2])).toBeUndefined();
}, 600_000);

test("SI6 — and a fence that is dropped from the statement is seen", async () => {
  const mutant = MUTANTS.find(({ id }) => id === "sql-fence")!;
  expect(await huntMutant(mutant, 0)).toMatchObject({ kind: "caught" });
}, 600_000);
