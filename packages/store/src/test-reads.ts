// packages/store/src/test-reads.ts
// How many rows a statement looks at, as Postgres counts them: what a time would only hint at.
import { vi } from "vitest";
import type { Store } from "./store.ts";
import type { TestDatabase } from "./test-database.ts";

/** Rows of `table`, its parts included, and entries of its indexes, that `run` reads in a store of its own. At least one. */
export async function rowsRead(
  { sql, openStore }: TestDatabase,
  table: string,
  run: (store: Store) => Promise<unknown>,
): Promise<number> {
  const readCount = async (): Promise<number> => {
    const [row] = await sql<{ count: number }[]>`
      with parts as (
        select ${table}::regclass::oid as relid
        union all select inhrelid from pg_inherits where inhparent = ${table}::regclass
      )
      select (
        (select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables join parts using (relid))
        + (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes join parts using (relid))
      )::int as count`;
    return row?.count ?? 0;
  };
  const before = await readCount();
  const store = openStore({ poolMax: 1 });
  await run(store);
  await store.close(); // a connection that ends tells what it has counted
  await vi.waitUntil(async () => (await readCount()) > before, { timeout: 30_000 });
  return (await readCount()) - before;
}
