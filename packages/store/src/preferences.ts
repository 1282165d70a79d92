// packages/store/src/preferences.ts
// What recipients want to get, and when: a column of their row, at home only (D8, ADR 0024).
//   ST31 A change of preferences takes the next directory version of its partition, under its row's lock
//        (ADR 0005); what is stored already as given is not written again. Locks as ST13 says.
import { isWithoutPreferences, partitionOf, type Preferences } from "@carillon/contracts";
import { rejected } from "./faults.ts";
import type { Pool, Statements } from "./pool.ts";
import { unstorableFieldOf } from "./text.ts";

export interface PreferencesChange {
  readonly home: string;
  readonly tenantId: string;
  readonly recipientId: string;
  readonly preferences: Preferences;
}

export interface PreferencesStored {
  /** [partition, directoryVersion] if it changed: what a poke carries. */
  readonly partitions: [number, number][];
}

export class SqlPreferences {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Null: the recipient has none. Undefined: no such recipient here. */
  read(tenantId: string, recipientId: string): Promise<Preferences | null | undefined> {
    return this.#pool.run("preferences.read", async (sql) => {
      const [row] = await sql<{ preferences: Preferences | null }[]>`
        select preferences from recipient
        where tenant_id = ${tenantId} and recipient_id = ${recipientId}`;
      return row?.preferences;
    });
  }

  /** Replaces. Undefined: no such recipient here. */
  write(change: PreferencesChange): Promise<PreferencesStored | undefined> {
    return this.#pool.transaction("preferences.write", (sql) => writePreferences(sql, change));
  }
}

async function writePreferences(
  sql: Statements,
  { home, tenantId, recipientId, preferences }: PreferencesChange,
): Promise<PreferencesStored | undefined> {
  const field = unstorableFieldOf(preferences, "preferences");
  if (field !== undefined)
    throw rejected("preferences.write", `${field} holds NUL or half a surrogate pair`);
  const partition = partitionOf(tenantId, recipientId);
  const json = isWithoutPreferences(preferences) ? null : JSON.stringify(preferences);
  const [, rows] = await Promise.all([
    sql`
      select from partition where home = ${home} and n = ${partition}::int for no key update`,
    // Runs after the lock was got, so it sees what the holders before us committed.
    sql<{ is_same: boolean }[]>`
      select preferences is not distinct from ${json}::text::jsonb as is_same from recipient
      where tenant_id = ${tenantId} and recipient_id = ${recipientId} and home || '' = ${home}`,
  ]);
  const [row] = rows;
  if (row === undefined) return undefined;
  if (row.is_same) return { partitions: [] };
  const [head] = await sql<{ version: number }[]>`
    with bumped as (
      update partition set directory_version = directory_version + 1
      where home = ${home} and n = ${partition}::int returning directory_version
    )
    update recipient set preferences = ${json}::text::jsonb, version = bumped.directory_version,
      updated_at = now()
    from bumped where tenant_id = ${tenantId} and recipient_id = ${recipientId}
    returning version`;
  if (head === undefined) throw rejected("preferences.write", `home ${home} has no partitions`);
  return { partitions: [[partition, head.version]] };
}
