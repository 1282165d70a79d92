// packages/store/src/retention.ts
// What is kept for how long, and how it goes (ADR 0027). A sweep is many small transactions; any node may
// begin one at any time, and one does a step at a time.
//   RT1  A row of the ledger that is not closed is never dropped, whatever its age; nor is a notification
//        that a row of the ledger or of the outbox names (D1 outranks retention).
//   RT2  Offsets that are kept are contiguous in each partition, and what begins below them is too far.
//   RT3  A group commit never fails for want of a part, and waits for a sweep a bounded time.
//   RT4  A key lives its 24 hours, and goes soon after; what else goes row by row goes in small batches.
//   RT5  In a fenced home a sweep changes nothing.
// Time is the database's, read once per sweep.
import type { Pool } from "./pool.ts";
import { addParts, openLedgerPart } from "./retention-ahead.ts";
import { dropDetached, dropLedgerPart, dropTimeParts } from "./retention-drop.ts";
import {
  CUT_BY_TIME,
  type CutTable,
  type HeldPart,
  type RetentionPolicy,
} from "./retention-policy.ts";
import { deleteOld, type RowTable } from "./retention-rows.ts";

export interface RetentionReport {
  /** Parts that were added ahead of their time, or opened. */
  readonly added: readonly string[];
  /** Parts that nobody sees any more. */
  readonly dropped: readonly string[];
  /** Parts over their time that stay: of a row that is not closed, or that is named. */
  readonly held: readonly HeldPart[];
  /** By table. */
  readonly deleted: Readonly<Partial<Record<RowTable, number>>>;
  /** Rows for which there was no part, up to REST_COUNT_MAX of a table; they go row by row. */
  readonly restCount: number;
  readonly parts: readonly { readonly table: CutTable; readonly count: number }[];
  /** So long there are parts for what is to come, of the table that has fewest. */
  readonly aheadSeconds: number;
  /** Others held a lock for too long: to be tried again, in a while. */
  readonly isBusy: boolean;
  /** There is more to delete: to be tried again at once. */
  readonly hasMore: boolean;
}

const REST_COUNT_MAX = 10_000;

export class SqlRetention {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Adds the parts to come, and removes what is over its time as far as nothing is in the way. Errors:
   * Fault, and then what was done stands. `asOf`: instead of the database's clock, for tests.
   */
  async sweep(policy: RetentionPolicy, asOf?: Date): Promise<RetentionReport> {
    const pool = this.#pool;
    const at = asOf?.toISOString() ?? (await this.#now());
    const ahead = await addParts(pool, policy, at);
    const opened = await openLedgerPart(pool, policy, at);
    const ledger = await dropLedgerPart(pool, policy, at);
    const timeParts = await dropTimeParts(pool, policy, at); // after the ledger, which names them
    await dropDetached(pool);
    const rows = await deleteOld(pool, policy, at);
    const steps = [ahead, opened, ledger, timeParts];
    return {
      added: steps.flatMap(({ added }) => added),
      dropped: steps.flatMap(({ dropped }) => dropped),
      held: steps.flatMap(({ held }) => held),
      deleted: rows.deleted,
      isBusy: steps.some(({ isBusy }) => isBusy),
      hasMore: rows.isMore,
      ...(await this.#look(at)),
    };
  }

  #now(): Promise<string> {
    return this.#pool.run("retention.now", async (sql) => {
      const [row] = await sql<{ now: string }[]>`select now()::text as now`;
      return row?.now ?? "";
    });
  }

  #look(at: string): Promise<Pick<RetentionReport, "restCount" | "parts" | "aheadSeconds">> {
    return this.#pool.run("retention.look", async (sql) => {
      const parts = await sql<{ table: CutTable; count: number; ahead: number }[]>`
        select parent as table, count(*) as count,
          extract(epoch from max(until_at) - ${at}::timestamptz)::float8 as ahead
        from table_part where detached_at is null group by parent order by parent`;
      const rests = CUT_BY_TIME.map(
        ({ table }) => `(select from ${table}_rest limit ${REST_COUNT_MAX})`,
      );
      const [rest] = await sql.unsafe<{ count: number }[]>(
        `select count(*) from (${rests.join(" union all ")}) as r`,
      );
      return {
        restCount: rest?.count ?? 0,
        parts: parts.map(({ table, count }) => ({ table, count })),
        aheadSeconds: Math.min(
          ...parts.flatMap(({ table, ahead }) => (table === "ledger" ? [] : ahead)),
        ),
      };
    });
  }
}
