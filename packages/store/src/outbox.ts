// packages/store/src/outbox.ts
// What other regions still have to be told (DESIGN §5, step 2). A row stays until the target region
// has confirmed its copy.
//   ST17 A row is claimed by one relay at a time: claiming moves its next attempt away, so a relay
//        that dies leaves it to the others after `retryInMs`.
import type { HomesBatch, RegionAudience, RelayItem } from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
import {
  NOTIFICATION_COLUMNS,
  type NotificationRecord,
  notificationOf,
} from "./notification-rows.ts";
import type { Pool } from "./pool.ts";

interface OutboxBase {
  readonly id: number;
  readonly attemptCount: number; // this one included
  readonly ageMs: number;
}
export type OutboxRow =
  | (OutboxBase & { readonly kind: "notification"; readonly item: RelayItem })
  | (OutboxBase & { readonly kind: "homes"; readonly homes: HomesBatch });

interface OutboxRecord extends NotificationRecord {
  outbox_id: number;
  kind: "notification" | "homes";
  payload: RegionAudience | HomesBatch;
  attempt_count: number;
  age_ms: number;
}

export class SqlOutbox {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Due rows for one region, those longest due first, at most `limitCount`. */
  claim(targetRegion: string, limitCount: number, retryInMs: number): Promise<OutboxRow[]> {
    return this.#pool.run("outbox.claim", async (sql) => {
      const records = await sql<OutboxRecord[]>`
        with due as materialized (
          select id from outbox
          where target_region = ${targetRegion} and next_attempt_at <= now()
          order by next_attempt_at, id limit ${limitCount} for update skip locked
        ), claimed as (
          update outbox o set attempt_count = o.attempt_count + 1,
            next_attempt_at = now() + ${retryInMs}::float8 * interval '1 ms'
          from due where o.id = due.id
          returning o.*
        )
        select c.id as outbox_id, c.kind, c.payload, c.attempt_count,
          (extract(epoch from now() - c.created_at) * 1000)::float8 as age_ms,
          ${sql.unsafe(NOTIFICATION_COLUMNS)}
        from claimed c left join notification n on n.id = c.notification_id
        order by c.id`;
      return records.map(outboxRowOf);
    });
  }

  /** The target has committed them. Ids that are gone already are no error. */
  async markDone(ids: readonly number[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#pool.run(
      "outbox.markDone",
      (sql) => sql`
      with done as materialized (
        select id from outbox where id = any(${intsOf(ids)}::bigint[]) order by id for update
      )
      delete from outbox using done where outbox.id = done.id`,
    );
  }

  /** The target keeps them waiting (ADR 0015): due again later. */
  async defer(ids: readonly number[], forMs: number): Promise<void> {
    if (ids.length === 0) return;
    await this.#pool.run(
      "outbox.defer",
      (sql) => sql`
      with later as materialized (
        select id from outbox where id = any(${intsOf(ids)}::bigint[]) order by id for update
      )
      update outbox set next_attempt_at = now() + ${forMs}::float8 * interval '1 ms'
      from later where outbox.id = later.id`,
    );
  }

  /** Age of the oldest row that is not done, by target region or over all; null: none. */
  oldestAgeMs(targetRegion?: string): Promise<number | null> {
    return this.#pool.run("outbox.oldestAgeMs", async (sql) => {
      const [row] = await sql<{ age_ms: number | null }[]>`
        select (extract(epoch from now() - min(created_at)) * 1000)::float8 as age_ms
        from outbox where target_region = coalesce(${targetRegion ?? null}, target_region)`;
      return row?.age_ms ?? null;
    });
  }

  /** Rows that are not done. Cost: counts them. */
  backlog(targetRegion: string): Promise<number> {
    return this.#pool.run("outbox.backlog", async (sql) => {
      const [row] = await sql<{ count: number }[]>`
        select count(*) from outbox where target_region = ${targetRegion}`;
      return row?.count ?? 0;
    });
  }
}

function outboxRowOf(record: OutboxRecord): OutboxRow {
  const base = {
    id: record.outbox_id,
    attemptCount: record.attempt_count,
    ageMs: record.age_ms,
  };
  if (record.kind === "homes")
    return { ...base, kind: "homes", homes: record.payload as HomesBatch };
  const item = {
    notification: notificationOf(record),
    audience: record.payload as RegionAudience,
  };
  return { ...base, kind: "notification", item };
}
