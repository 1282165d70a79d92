// Goal: the comparison with Postgres bites: every fault that is planted in a statement is caught. Method: each
// in a process of its own, all on one server; without a server they fail.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dropPostgres, type PostgresServer, startPostgres } from "@carillon/local";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { huntOnDatabases } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants.ts";

const SEEDS = [1, 2, 3];
const inStatements = MUTANTS.filter(({ by }) => by === "sql");
const databasesOf = (id: string): string[] => SEEDS.map((seed) => `${id}-${seed}`);

// At once: most of their time they wait for rows of the outbox to become due.
describe.concurrent("faults in statements", () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-sim-"));
  let server: PostgresServer;
  beforeAll(async () => {
    const databases = inStatements.flatMap(({ id }) => databasesOf(id));
    server = await startPostgres({ folder, databases, isDurable: false });
  });
  afterAll(async () => {
    await server.stop();
    dropPostgres(folder);
  });

  test.each(inStatements)(
    "SI6 — $id is caught: $what",
    async (mutant) => {
      const urls = databasesOf(mutant.id).map((database) => server.urlOf(database));
      const hunt = await huntOnDatabases(mutant, urls);
      expect(hunt.kind === "missed" ? hunt.why : hunt.kind).toBe("caught");
    },
    600_000,
  );

  test("SI6 — there are some", () => {
    expect(inStatements.length).toBeGreaterThanOrEqual(9);
  });
});
