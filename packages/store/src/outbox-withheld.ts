// packages/store/src/outbox-withheld.ts
// Outbox rows that their target withholds (ADR 0015): they wait for a probe of their tenant.
//   ST25 A withheld row is due for nobody until a probe of its tenant is done. A probe costs by its
//        tenants, not by the rows that are withheld, and takes tenants in turn: none starves.
// Plan: all by the index outbox_withheld, (target_region, withheld_tenant, id).
import { intsOf } from "./arrays.ts";
import type { Statements } from "./pool.ts";

export interface OutboxProbe {
  readonly id: number;
  readonly tenantId: string;
}

export interface ProbeOptions {
  /** The last tenant of the probe before; '': from the first one on. */
  readonly afterTenantId: string;
  readonly limitCount: number; // tenants
}

/** One statement's worth; the next probe names more. */
const NAMED_MAX = 10_000;

export async function withholdRows(sql: Statements, ids: readonly number[]): Promise<void> {
  await sql`
    with kept as materialized (
      select id from outbox where id = any(${intsOf(ids)}::bigint[]) order by id for update
    )
    update outbox set attempt_count = attempt_count + 1, next_attempt_at = 'infinity',
      withheld_tenant = n.tenant_id
    from kept, notification n where outbox.id = kept.id and n.id = outbox.notification_id`;
}

/** One row of each tenant whose turn it is, each tenant once. */
export async function oldestWithheld(
  sql: Statements,
  targetRegion: string,
  { afterTenantId, limitCount }: ProbeOptions,
): Promise<number[]> {
  await nameTenants(sql, targetRegion);
  const ids = await nextTenants(sql, targetRegion, { after: afterTenantId, limitCount });
  if (afterTenantId === "" || ids.length === limitCount) return ids;
  const first = { after: "", upTo: afterTenantId, limitCount: limitCount - ids.length };
  return [...ids, ...(await nextTenants(sql, targetRegion, first))];
}

/** A descent of the index for each tenant, however many rows are withheld between two of them. */
async function nextTenants(
  sql: Statements,
  targetRegion: string,
  asked: { readonly after: string; readonly upTo?: string; readonly limitCount: number },
): Promise<number[]> {
  const { after, upTo = null, limitCount } = asked;
  const rows = await sql<{ id: number }[]>`
    with recursive oldest (tenant_id, id, place) as (
      (
        select withheld_tenant, id, 1 from outbox
        where target_region = ${targetRegion} and next_attempt_at = 'infinity'
          and withheld_tenant > ${after}
        order by withheld_tenant, id limit 1
      )
      union all
      select next.withheld_tenant, next.id, oldest.place + 1
      from oldest cross join lateral (
        select withheld_tenant, id from outbox
        where target_region = ${targetRegion} and next_attempt_at = 'infinity'
          and withheld_tenant > oldest.tenant_id
        order by withheld_tenant, id limit 1
      ) next
      where oldest.place < ${limitCount}
    )
    select id from oldest where ${upTo}::text is null or tenant_id <= ${upTo} order by place`;
  return rows.map(({ id }) => id);
}

/** What nodes of the build before 0008-withheld.sql withhold has no tenant yet. */
async function nameTenants(sql: Statements, targetRegion: string): Promise<void> {
  await sql`
    with nameless as materialized (
      select id from outbox
      where target_region = ${targetRegion} and next_attempt_at = 'infinity'
        and withheld_tenant is null
      order by id limit ${NAMED_MAX} for update skip locked
    )
    update outbox set withheld_tenant = n.tenant_id
    from nameless, notification n
    where outbox.id = nameless.id and n.id = outbox.notification_id`;
}

export async function releaseRows(
  sql: Statements,
  targetRegion: string,
  { probes, limitCount }: { readonly probes: readonly OutboxProbe[]; readonly limitCount: number },
): Promise<number> {
  const rows = await sql`
    with welcome as materialized (
      select p.tenant_id from unnest(${intsOf(probes.map(({ id }) => id))}::bigint[],
        ${probes.map(({ tenantId }) => tenantId)}::text[]) as p(id, tenant_id)
      where not exists (select from outbox where outbox.id = p.id)
    ), due as materialized (
      select id from outbox
      where target_region = ${targetRegion} and next_attempt_at = 'infinity'
        and withheld_tenant = any(array(select tenant_id from welcome))
      order by id limit ${limitCount} for update
    )
    update outbox set next_attempt_at = now() from due where outbox.id = due.id returning 1`;
  return rows.length;
}
