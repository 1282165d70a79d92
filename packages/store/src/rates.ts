// packages/store/src/rates.ts
// At what rate notifications are handed, as senders have changed it: a register that regions keep alike (ADR 0033).
//   ST43 Of two records of a notification the newer stays; all regions end with the same one.
import type { HomesBatch, RateRecord } from "@carillon/contracts";
import type { Pool, Statements } from "./pool.ts";

export interface RateChange {
  readonly tenantId: string;
  readonly notificationId: string; // is the tenant's
  readonly ratePerMinute: number | null; // null: as fast as it goes
  readonly targetedCount: number; // in all regions
  readonly nowMs: number;
  readonly region: string;
  /** The configured regions but this one: the outbox tells them. */
  readonly otherRegions: readonly string[];
}

type TenantNews = Pick<HomesBatch["tenants"][number], "tenantId" | "rates">;
type RateRow = RateRecord & { tenantId: string };

const RATE_COLUMNS = `r.notification_id as "notificationId", r.rate_per_minute as "ratePerMinute",
  r.targeted_count as "targetedCount", r.changed_at_ms as "changedAtMs", r.changed_in as "changedIn"`;

export class SqlRates {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Undefined: nobody has changed it. */
  find(tenantId: string, notificationId: string): Promise<RateRecord | undefined> {
    return this.#pool.run("rates.find", async (sql) => {
      const [row] = await sql<RateRecord[]>`
        select ${sql.unsafe(RATE_COLUMNS)} from notification_rate r
        where r.notification_id = ${notificationId}::uuid and r.tenant_id = ${tenantId}`;
      return row;
    });
  }

  /** Those that were changed here in the last so many seconds; null: all of 90 days. */
  readChanged(lastSeconds: number | null): Promise<RateRecord[]> {
    return this.#pool.run("rates.readChanged", async (sql) => [
      ...(lastSeconds === null
        ? await sql<RateRecord[]>`
            select ${sql.unsafe(RATE_COLUMNS)} from notification_rate r
            where r.notification_id >= uuid_at(now() - interval '90 days')`
        : await sql<RateRecord[]>`
            select ${sql.unsafe(RATE_COLUMNS)} from notification_rate r
            where r.updated_at > clock_timestamp() - ${lastSeconds}::float8 * interval '1 s'`),
    ]);
  }

  /** Committed with what tells the other regions. The record that stays. */
  change(change: RateChange): Promise<RateRecord> {
    return this.#pool.transaction("rates.change", (sql) => changeRate(sql, change));
  }

  /** What other regions told. Repeats change nothing. */
  async learn(tenants: readonly TenantNews[]): Promise<void> {
    const records = tenants.flatMap(({ tenantId, rates = [] }) =>
      rates.map((record) => ({ tenantId, ...record })),
    );
    if (records.length === 0) return;
    await this.#pool.transaction("rates.learn", async (sql) => {
      await keepNewer(sql, records);
    });
  }
}

async function changeRate(
  sql: Statements,
  { nowMs, region, otherRegions, ...change }: RateChange,
): Promise<RateRecord> {
  const { tenantId, notificationId } = change;
  const [known] = await sql<{ changedAtMs: number }[]>`
    select changed_at_ms as "changedAtMs" from notification_rate
    where notification_id = ${notificationId}::uuid for update`;
  const changedAtMs = Math.max(nowMs, (known?.changedAtMs ?? 0) + 1);
  const asked: RateRow = { ...change, changedAtMs, changedIn: region };
  await keepNewer(sql, [asked]);
  const [kept] = await sql<RateRecord[]>`
    select ${sql.unsafe(RATE_COLUMNS)} from notification_rate r
    where r.notification_id = ${notificationId}::uuid`;
  const rate: RateRecord = kept ?? asked;
  const told: HomesBatch = {
    from: region,
    tenants: [{ tenantId, recipientIds: [], rates: [rate] }],
  };
  await sql`
    insert into outbox (target_region, kind, payload, next_attempt_at)
    select region, 'homes', ${JSON.stringify(told)}::text::jsonb, now()
    from unnest(${otherRegions}::text[]) as region`;
  return rate;
}

async function keepNewer(sql: Statements, records: readonly RateRow[]): Promise<void> {
  await sql`
    insert into notification_rate as r
      (notification_id, tenant_id, rate_per_minute, targeted_count, changed_at_ms, changed_in)
    select distinct on ("notificationId")
      "notificationId", "tenantId", "ratePerMinute", "targetedCount", "changedAtMs", "changedIn"
    from jsonb_to_recordset(${JSON.stringify(records)}::text::jsonb) as told("notificationId" uuid,
      "tenantId" text, "ratePerMinute" int, "targetedCount" bigint, "changedAtMs" bigint, "changedIn" text)
    order by "notificationId", "changedAtMs" desc, "changedIn" collate "C" desc
    on conflict (notification_id) do update set rate_per_minute = excluded.rate_per_minute,
      targeted_count = excluded.targeted_count, changed_at_ms = excluded.changed_at_ms,
      changed_in = excluded.changed_in, updated_at = clock_timestamp()
    where r.tenant_id = excluded.tenant_id
      and (excluded.changed_at_ms, excluded.changed_in) > (r.changed_at_ms, r.changed_in)`;
}
