// packages/store/src/timers-buried.ts
// Timers that were given up, for a person to look at. No payload is read here: it may be about people.
//   TM7  A buried timer is revived or deleted as it is: not when it was set again meanwhile, or revived.
//        Revived it is due at once; of one that ended its owners that is not forgotten, so that it is
//        claimed alone (TM5).
// No fence of a partition: like setting a key again, it needs no owner, and a claim finds it in the table.
import type { Pool } from "./pool.ts";

export interface BuriedTimer {
  readonly id: number;
  readonly partition: number;
  readonly kind: string;
  readonly key: string;
  readonly tenantId: string;
  readonly attemptCount: number;
  readonly failureCount: number; // told ones, the last one not
  readonly lostCount: number;
  readonly buriedAt: string; // ISO 8601
  readonly reason: string;
}

const ALONE_LOST_COUNT = 2;

export class SqlBuriedTimers {
  readonly #pool: Pool;
  readonly #withheldTenants: () => readonly string[];
  constructor(pool: Pool, withheldTenants: () => readonly string[]) {
    this.#pool = pool;
    this.#withheldTenants = withheldTenants;
  }

  /** At most `limitCount`, those that were buried last first. Plan: timer_buried, backwards. */
  list(home: string, limitCount: number): Promise<BuriedTimer[]> {
    return this.#pool.run("timersBuried.list", async (sql) => [
      ...(await sql<BuriedTimer[]>`
        select id, partition, kind, key, tenant_id as "tenantId", attempt_count as "attemptCount",
          failure_count as "failureCount", lost_count as "lostCount",
          to_char(buried_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "buriedAt",
          coalesce(buried_reason, '') as reason
        from timer
        where home = ${home} and buried_at is not null
          and tenant_id <> all(${this.#withheldTenants()}::text[])
        order by timer.buried_at desc, id desc limit ${limitCount}::int`),
    ]);
  }

  /** False: there is no buried timer of this id. */
  revive(home: string, id: number): Promise<boolean> {
    return this.#pool.run("timersBuried.revive", async (sql) => {
      const { count } = await sql`
        update timer set buried_at = null, buried_reason = null, due_at = clock_timestamp(),
          failure_count = 0, lost_count = least(lost_count, ${ALONE_LOST_COUNT}::int),
          claimed_epoch = null
        where home = ${home} and id = ${id}::bigint and buried_at is not null
          and tenant_id <> all(${this.#withheldTenants()}::text[])`;
      return count > 0;
    });
  }

  /** As `revive`. */
  remove(home: string, id: number): Promise<boolean> {
    return this.#pool.run("timersBuried.remove", async (sql) => {
      const { count } = await sql`
        delete from timer
        where home = ${home} and id = ${id}::bigint and buried_at is not null
          and tenant_id <> all(${this.#withheldTenants()}::text[])`;
      return count > 0;
    });
  }
}
