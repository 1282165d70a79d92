// packages/store/src/policies.ts
// Tenants' policies: a register that regions keep alike (ADR 0024).
//   ST30 Of two records of a tenant the newer stays, in whatever order regions hear of them: all end with
//        the same one. A change made here is newer than all that is known here.
import type { HomesBatch, Policy, PolicyRecord } from "@carillon/contracts";
import { rejected } from "./faults.ts";
import type { Pool, Statements } from "./pool.ts";
import { readRecentDeliveries, type RecentQuestion, type RecentRow } from "./recent-deliveries.ts";
import { unstorableFieldOf } from "./text.ts";

export interface PolicyChange {
  readonly tenantId: string;
  readonly policy: Policy;
  readonly nowMs: number;
  readonly region: string;
  /** The configured regions but this one: the outbox tells them. */
  readonly otherRegions: readonly string[];
}

export interface TenantPolicy {
  readonly tenantId: string;
  readonly record: PolicyRecord;
}

type TenantNews = Pick<HomesBatch["tenants"][number], "tenantId" | "policy">;
type PolicyRow = PolicyRecord & { tenantId: string };

const POLICY_COLUMNS = `p.tenant_id as "tenantId", p.policy, p.changed_at_ms as "changedAtMs",
  p.changed_in as "changedIn"`;

export class SqlPolicies {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Undefined: none is known here. */
  find(tenantId: string): Promise<PolicyRecord | undefined> {
    return this.#pool.run("policies.find", async (sql) => {
      const [row] = await sql<PolicyRow[]>`
        select ${sql.unsafe(POLICY_COLUMNS)} from tenant_policy p where p.tenant_id = ${tenantId}`;
      return row === undefined ? undefined : policyOf(row).record;
    });
  }

  /**
   * Those of all tenants whose record is another one than the version known: [tenantId, changedAtMs,
   * changedIn]. What an owner asks again and again; nearly always nothing.
   */
  findChanged(known: readonly (readonly [string, number, string])[]): Promise<TenantPolicy[]> {
    return this.#pool.run("policies.findChanged", async (sql) => {
      const versions = JSON.stringify(known.map(([tenantId, ...rest]) => [tenantId, ...rest]));
      const rows = await sql<PolicyRow[]>`
        select ${sql.unsafe(POLICY_COLUMNS)} from tenant_policy p
        where not exists (
          select from jsonb_array_elements(${versions}::text::jsonb) as known(version)
          where version->>0 = p.tenant_id and (version->>1)::bigint = p.changed_at_ms
            and version->>2 = p.changed_in
        )
        order by p.tenant_id`;
      return rows.map(policyOf);
    });
  }

  /** What a new owner's frequency caps begin with (ST32). */
  readRecent(
    home: string,
    partitions: readonly number[],
    question: RecentQuestion,
  ): Promise<RecentRow[]> {
    return this.#pool.run("policies.readRecent", (sql) =>
      readRecentDeliveries(sql, { home, partitions }, question),
    );
  }

  /** Committed with what tells the other regions. */
  change(change: PolicyChange): Promise<PolicyRecord> {
    return this.#pool.transaction("policies.change", (sql) => changePolicy(sql, change));
  }

  /** What other regions told: the newer one stays. Repeats change nothing. */
  async learn(tenants: readonly TenantNews[]): Promise<void> {
    const records = tenants.flatMap(({ tenantId, policy }) =>
      policy === undefined ? [] : [{ tenantId, ...policy }],
    );
    if (records.length === 0) return;
    await this.#pool.run("policies.learn", (sql) => learnPolicies(sql, records));
  }
}

function policyOf({ tenantId, ...record }: PolicyRow): TenantPolicy {
  return { tenantId, record };
}

async function changePolicy(
  sql: Statements,
  { tenantId, policy, nowMs, region, otherRegions }: PolicyChange,
): Promise<PolicyRecord> {
  const field = unstorableFieldOf(policy, "policy");
  if (field !== undefined)
    throw rejected("policies.change", `${field} holds NUL or half a surrogate pair`);
  const [row] = await sql<PolicyRow[]>`
    insert into tenant_policy as p (tenant_id, policy, changed_at_ms, changed_in)
    values (${tenantId}, ${JSON.stringify(policy)}::text::jsonb, ${nowMs}::bigint, ${region})
    on conflict (tenant_id) do update set policy = excluded.policy,
      changed_at_ms = greatest(excluded.changed_at_ms, p.changed_at_ms + 1),
      changed_in = excluded.changed_in
    returning ${sql.unsafe(POLICY_COLUMNS)}`;
  if (row === undefined) throw rejected("policies.change", "an insert has returned nothing");
  const { record } = policyOf(row);
  const told: HomesBatch = {
    from: region,
    tenants: [{ tenantId, recipientIds: [], policy: record }],
  };
  await sql`
    insert into outbox (target_region, kind, payload, next_attempt_at)
    select region, 'homes', ${JSON.stringify(told)}::text::jsonb, now()
    from unnest(${otherRegions}::text[]) as region`;
  return record;
}

async function learnPolicies(sql: Statements, records: readonly PolicyRow[]): Promise<void> {
  await sql`
    insert into tenant_policy as p (tenant_id, policy, changed_at_ms, changed_in)
    select distinct on ("tenantId" collate "C") "tenantId", policy, "changedAtMs", "changedIn"
    from jsonb_to_recordset(${JSON.stringify(records)}::text::jsonb) as told("tenantId" text,
      policy jsonb, "changedAtMs" bigint, "changedIn" text)
    order by "tenantId" collate "C", "changedAtMs" desc, "changedIn" collate "C" desc
    on conflict (tenant_id) do update set policy = excluded.policy,
      changed_at_ms = excluded.changed_at_ms, changed_in = excluded.changed_in
    where (excluded.changed_at_ms, excluded.changed_in) > (p.changed_at_ms, p.changed_in)`;
}
