// packages/store/src/outbox.ts
// What other regions still have to be told (DESIGN §5, step 2). A row stays until the target region
// has confirmed its copy.
//   ST17 Out of turn (homes, and what was put off): a row is claimed by one relay at a time, and comes
//        back after `retryInMs` if that one dies.
//   ST22 In turn: `takeOver` gives the oldest notifications of a target, whoever committed them, and to
//        one holder at a time. A holder that dies, or sleeps, leaves them to the others after `holdMs`;
//        what two have sent is absorbed by the target, and neither has left out an older one (C22).
//   ST23 A backlog ends in the statement that sees that nothing waits in turn.
import type { HomesBatch, RegionAudience, RelayItem } from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
import {
  NOTIFICATION_COLUMNS,
  type NotificationRecord,
  notificationOf,
} from "./notification-rows.ts";
import {
  oldestWithheld,
  type OutboxProbe,
  type ProbeOptions,
  releaseRows,
  withholdRows,
} from "./outbox-withheld.ts";
import type { Pool } from "./pool.ts";

interface OutboxBase {
  readonly id: number;
  readonly attemptCount: number; // this one included
  readonly ageMs: number;
}
export type OutboxRow =
  | (OutboxBase & { readonly kind: "notification"; readonly item: RelayItem })
  | (OutboxBase & { readonly kind: "homes"; readonly homes: HomesBatch });

export interface TakeOverOptions {
  readonly targetRegion: string;
  /** Who asks: an id of its own for each node and start. */
  readonly holder: string;
  readonly holdMs: number;
  readonly limitCount: number;
  /** Begin a backlog if there is none. */
  readonly isBeginning: boolean;
}

export type TakeOver =
  /** No backlog: rows go out straight after their commit. */
  | { readonly kind: "none" }
  /** Another node drains it. */
  | { readonly kind: "held" }
  | { readonly kind: "rows"; readonly rows: readonly OutboxRow[] };

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

  /** Due rows that go out of turn for one region, those longest due first, at most `limitCount`. */
  claim(targetRegion: string, limitCount: number, retryInMs: number): Promise<OutboxRow[]> {
    return this.#pool.run("outbox.claim", async (sql) => {
      const records = await sql<OutboxRecord[]>`
        with due as materialized (
          select id from outbox
          where target_region = ${targetRegion} and next_attempt_at <= now()
            and (kind = 'homes' or attempt_count > 0)
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

  /**
   * The oldest notifications that wait in turn for one region, at most `limitCount`, when there is a
   * backlog for it and nobody else holds it. It begins one when told so, or when the oldest should have gone
   * out long ago (its node died). Nothing is written to the rows: they are there until they are done.
   */
  takeOver(options: TakeOverOptions): Promise<TakeOver> {
    const { targetRegion, holder, holdMs, limitCount, isBeginning } = options;
    return this.#pool.run("outbox.takeOver", async (sql) => {
      // The holder's row is read as it is after a wait; the outbox as the snapshot has it: rows that
      // were done meanwhile are sent once more, and none is left out.
      const records = await sql<(OutboxRecord & { has_backlog: boolean; is_held: boolean })[]>`
        with asked as materialized (
          select ${isBeginning}::boolean
            or exists (select from relay_backlog where target_region = ${targetRegion})
            or coalesce((
              select next_attempt_at <= now() from outbox
              where target_region = ${targetRegion} and kind = 'notification' and attempt_count = 0
              order by id limit 1
            ), false) as has_backlog
        ), held as (
          insert into relay_backlog as b (target_region, holder, held_until)
          select ${targetRegion}, ${holder},
            clock_timestamp() + ${holdMs}::float8 * interval '1 ms'
          from asked where has_backlog
          on conflict (target_region) do update
            set holder = excluded.holder, held_until = excluded.held_until
            where b.holder = excluded.holder or b.held_until <= clock_timestamp()
          returning target_region
        ), waiting as materialized (
          select o.* from outbox o
          where exists (select from held) and o.target_region = ${targetRegion}
            and o.kind = 'notification' and o.attempt_count = 0
          order by o.id limit ${limitCount}
        )
        select asked.has_backlog, exists (select from held) as is_held,
          w.id as outbox_id, w.kind, w.payload, w.attempt_count,
          (extract(epoch from now() - w.created_at) * 1000)::float8 as age_ms,
          ${sql.unsafe(NOTIFICATION_COLUMNS)}
        from asked left join waiting w on true left join notification n on n.id = w.notification_id
        order by w.id`;
      const [first] = records;
      if (first === undefined || !first.has_backlog) return { kind: "none" };
      if (!first.is_held) return { kind: "held" };
      const rows = records.filter(({ outbox_id: id }) => id !== null).map(outboxRowOf);
      return { kind: "rows", rows };
    });
  }

  /** Others may hold the backlog at once. */
  async giveBack(targetRegion: string, holder: string): Promise<void> {
    await this.#pool.run(
      "outbox.giveBack",
      (sql) => sql`
      update relay_backlog set holder = '', held_until = clock_timestamp()
      where target_region = ${targetRegion} and holder = ${holder}`,
    );
  }

  /** Ends the backlog unless something waits in turn, or somebody else holds it; true: ended. */
  endBacklog(targetRegion: string, holder: string): Promise<boolean> {
    return this.#pool.run("outbox.endBacklog", async (sql) => {
      const rows = await sql`
        delete from relay_backlog
        where target_region = ${targetRegion} and holder = ${holder} and not exists (
          select from outbox where target_region = ${targetRegion} and kind = 'notification'
            and attempt_count = 0
        )
        returning target_region`;
      return rows.length > 0;
    });
  }

  /**
   * What waits in turn though no backlog is open: committed at the very moment when one ended, or on the
   * direct way just now. Oldest first.
   */
  readWaiting(targetRegion: string, limitCount: number): Promise<OutboxRow[]> {
    return this.#pool.run("outbox.readWaiting", async (sql) => {
      const records = await sql<OutboxRecord[]>`
        select o.id as outbox_id, o.kind, o.payload, o.attempt_count,
          (extract(epoch from now() - o.created_at) * 1000)::float8 as age_ms,
          ${sql.unsafe(NOTIFICATION_COLUMNS)}
        from outbox o join notification n on n.id = o.notification_id
        where o.target_region = ${targetRegion} and o.kind = 'notification' and o.attempt_count = 0
        order by o.id limit ${limitCount}`;
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

  /** The target refuses them: due again later, out of turn. */
  async defer(ids: readonly number[], forMs: number): Promise<void> {
    if (ids.length === 0) return;
    await this.#pool.run(
      "outbox.defer",
      (sql) => sql`
      with later as materialized (
        select id from outbox where id = any(${intsOf(ids)}::bigint[]) order by id for update
      )
      update outbox set attempt_count = attempt_count + 1,
        next_attempt_at = now() + ${forMs}::float8 * interval '1 ms'
      from later where outbox.id = later.id`,
    );
  }

  /** The target withholds their tenant (ADR 0015): they wait, out of turn, until `release` (ST25). */
  async withhold(ids: readonly number[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#pool.run("outbox.withhold", (sql) => withholdRows(sql, ids));
  }

  /**
   * The oldest withheld row of each tenant, in the order of tenants, round and round: from the first one
   * after `afterTenantId` ('': the first of all), at most `limitCount`. So, when the last one's tenant is
   * said the next time, every tenant's turn comes (ST25). Cost O(limitCount).
   */
  probe(targetRegion: string, options: ProbeOptions): Promise<OutboxRow[]> {
    return this.#pool.run("outbox.probe", async (sql) => {
      const ids = await oldestWithheld(sql, targetRegion, options);
      const records = await sql<OutboxRecord[]>`
        select o.id as outbox_id, o.kind, o.payload, o.attempt_count,
          (extract(epoch from now() - o.created_at) * 1000)::float8 as age_ms,
          ${sql.unsafe(NOTIFICATION_COLUMNS)}
        from unnest(${intsOf(ids)}::bigint[]) with ordinality as t(id, place)
        join outbox o on o.id = t.id join notification n on n.id = o.notification_id
        order by t.place`;
      return records.map(outboxRowOf);
    });
  }

  /**
   * Withheld rows are due again, the oldest first and at most `limitCount`, of tenants whose probe is done.
   * Returns how many.
   */
  release(
    targetRegion: string,
    probes: readonly OutboxProbe[],
    limitCount: number,
  ): Promise<number> {
    const options = { probes, limitCount };
    return this.#pool.run("outbox.release", (sql) => releaseRows(sql, targetRegion, options));
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
