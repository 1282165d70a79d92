// packages/store/src/migrate.ts
// Brings a database to this build's schema.
//   ST6  Each migration is applied once, in order, by one node at a time; several nodes may start at
//        once. One that was applied is never edited: its hash is compared.
// Migrations only add (STYLE §5): a node of the previous build keeps working beside them.
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { rejected } from "./faults.ts";
import type { Pool, Statements } from "./pool.ts";

const FOLDER = new URL("./migrations/", import.meta.url);
const LOCK_KEY = 0x6361_7269; // "cari"; any constant that nobody else uses
const MIGRATION_MAX_MS = 600_000;

export interface Migration {
  readonly name: string; // NNNN-name
  readonly text: string;
}

export async function readMigrations(): Promise<Migration[]> {
  const files = (await readdir(FOLDER)).filter((file) => file.endsWith(".sql")).toSorted();
  return Promise.all(
    files.map(async (file) => ({
      name: file.slice(0, -".sql".length),
      text: await readFile(new URL(file, FOLDER), "utf8"),
    })),
  );
}

/** Returns the names of those it applied; none when the schema was up to date. */
export async function migrate(pool: Pool): Promise<string[]> {
  const migrations = await readMigrations();
  return pool.transaction("schema.migrate", async (sql) => {
    await sql.unsafe(`set local statement_timeout = ${MIGRATION_MAX_MS}`);
    await sql`select pg_advisory_xact_lock(${LOCK_KEY}::bigint)`;
    await sql`
      create table if not exists schema_migration (
        name text primary key,
        hash text not null,
        applied_at timestamptz not null default now()
      )`;
    return applyMissing(sql, migrations);
  });
}

async function applyMissing(sql: Statements, migrations: readonly Migration[]): Promise<string[]> {
  const rows = await sql<{ name: string; hash: string }[]>`select name, hash from schema_migration`;
  const appliedHashes = new Map(rows.map((row) => [row.name, row.hash]));
  const added: string[] = [];
  for (const { name, text } of migrations) {
    const hash = createHash("sha256").update(text).digest("hex");
    const appliedHash = appliedHashes.get(name);
    if (appliedHash === hash) continue;
    if (appliedHash !== undefined)
      throw rejected("schema.migrate", `migration ${name} was edited after it was applied`);
    // oxlint-disable-next-line no-await-in-loop -- each builds on the one before
    await sql.unsafe(text);
    // oxlint-disable-next-line no-await-in-loop
    await sql`insert into schema_migration (name, hash) values (${name}, ${hash})`;
    added.push(name);
  }
  return added;
}
