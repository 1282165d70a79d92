// packages/store/src/directory.ts
// Who lives here, and which region is everybody's home (DESIGN §4).
import type { HomesBatch, RecipientChange } from "@carillon/contracts";
import {
  claimHomes,
  learnHomes,
  upsertRecipients,
  type UpsertRequest,
  type UpsertResult,
} from "./directory-upsert.ts";
import { DIRECTORY_COLUMNS, type DirectoryRow } from "./ledger.ts";
import type { Pool } from "./pool.ts";

export interface StoredRecipient extends RecipientChange {
  readonly updatedAtMs: number;
}

/** A recipient's place in its home region. */
export interface RecipientPlace {
  readonly partition: number;
  readonly index: number;
}

export class SqlDirectory {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  upsert(request: UpsertRequest): Promise<UpsertResult> {
    if (request.changes.length === 0)
      return Promise.resolve({ created: 0, updated: 0, partitions: [] });
    return this.#pool.transaction("directory.upsert", (sql) => upsertRecipients(sql, request));
  }

  /** Home region by id; ids that are unknown here are left out. */
  homesOf(tenantId: string, recipientIds: readonly string[]): Promise<Map<string, string>> {
    return this.#pool.run("directory.homesOf", async (sql) => {
      const rows = await sql<{ recipient_id: string; home: string }[]>`
        select h.recipient_id, h.home from unnest(${recipientIds}::text[]) as wanted(recipient_id)
        join recipient_home h on h.tenant_id = ${tenantId}
          and h.recipient_id = wanted.recipient_id`;
      return new Map(rows.map((row) => [row.recipient_id, row.home]));
    });
  }

  /** How many ids are known to live there: at most so many can be meant there. Cost: all of the tenant. */
  countOf(tenantId: string, home: string): Promise<number> {
    return this.#pool.run("directory.countOf", async (sql) => {
      const [row] = await sql<{ count: number }[]>`
        select count(*)::int as count from recipient_home
        where tenant_id = ${tenantId} and home = ${home}`;
      return row?.count ?? 0;
    });
  }

  /** Idempotent; returns how many of the ids were noted with another home before. */
  learnHomes(batch: HomesBatch): Promise<number> {
    return this.#pool.run("directory.learnHomes", (sql) => learnHomes(sql, batch));
  }

  /**
   * Settles where ids live that are new: what is noted already stays. Answers every id's home;
   * durable when it answers, whichever of several callers was first.
   */
  claimHomes(tenantId: string, wishes: ReadonlyMap<string, string>): Promise<Map<string, string>> {
    if (wishes.size === 0) return Promise.resolve(new Map());
    return this.#pool.transaction("directory.claimHomes", (sql) =>
      claimHomes(sql, tenantId, wishes),
    );
  }

  /** Undefined when its home is not here. */
  read(tenantId: string, recipientId: string): Promise<StoredRecipient | undefined> {
    return this.#pool.run("directory.read", async (sql) => {
      const [row] = await sql<StoredRecipient[]>`
        select recipient_id as "recipientId", locale, time_zone as "timeZone", attributes,
          floor(extract(epoch from updated_at) * 1000)::bigint as "updatedAtMs"
        from recipient where tenant_id = ${tenantId} and recipient_id = ${recipientId}`;
      return row;
    });
  }

  /** As an owner has it in its index; undefined when its home is not here. */
  rowOf(
    home: string,
    tenantId: string,
    recipientId: string,
  ): Promise<(DirectoryRow & { readonly partition: number }) | undefined> {
    return this.#pool.run("directory.rowOf", async (sql) => {
      const [row] = await sql<(DirectoryRow & { partition: number })[]>`
        select r.partition, ${sql.unsafe(DIRECTORY_COLUMNS)} from recipient r
        where r.tenant_id = ${tenantId} and r.recipient_id = ${recipientId}
          and r.home || '' = ${home}`;
      return row;
    });
  }

  /** Partition and index of those whose home this is; the others are left out. */
  locate(
    home: string,
    tenantId: string,
    recipientIds: readonly string[],
  ): Promise<Map<string, RecipientPlace>> {
    return this.#pool.run("directory.locate", async (sql) => {
      const rows = await sql<{ recipient_id: string; partition: number; index: number }[]>`
        select r.recipient_id, r.partition, r.idx as index
        from unnest(${recipientIds}::text[]) as wanted(recipient_id)
        join recipient r on r.tenant_id = ${tenantId} and r.recipient_id = wanted.recipient_id
        where r.home || '' = ${home}`; // by the primary key: see accept-audience.ts
      return new Map(
        rows.map(({ recipient_id, partition, index }) => [recipient_id, { partition, index }]),
      );
    });
  }
}
