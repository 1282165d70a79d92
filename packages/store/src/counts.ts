// packages/store/src/counts.ts
// How far notifications are in this region: popcounts over their ledger rows (DESIGN §5, step 7).
// Plan: nested loop on `ledger_notification` of each part → one row per partition concerned; bit_count
// reads each set once. `offset 0` keeps it a loop: with parts that have no statistics yet Postgres reads
// them all for a merge join (29 ms instead of 0.7). No index serves `is not distinct from`: a database has
// one home, and until its tables were analysed Postgres takes it for as selective as the notification and
// reads the home's whole ledger for each.
import { type Counts, zeroCounts } from "@carillon/contracts";
import type { Statements } from "./pool.ts";

/** `waiting`: this region has no copy (yet), or it belongs to another tenant. */
export interface RegionProgress {
  readonly state: "waiting" | "scheduled" | "planned" | "delivering" | "finished";
  readonly counts: Counts;
}

interface CountsRecord extends Counts {
  id: string;
  plannedRows: number;
  openRows: number;
  rowsCount: number;
  waitingRows: number;
}

/** One entry per id asked for. */
export async function readProgress(
  sql: Statements,
  scope: { readonly home: string; readonly tenantId: string },
  notificationIds: readonly string[],
): Promise<Map<string, RegionProgress>> {
  const records = await sql<CountsRecord[]>`
    select n.id,
      count(*) filter (where l.state = 0) as "plannedRows",
      count(*) filter (where l.state = 1) as "openRows",
      count(l.offset) as "rowsCount",
      waiting.rows_count as "waitingRows", waiting.members_count as deferred,
      coalesce(sum(coalesce(cardinality(l.members), bit_count(l.targeted)) - bit_count(l.moved)),
        0)::bigint + waiting.members_count as targeted,
      coalesce(sum(bit_count(l.delivered_socket)), 0)::bigint as "deliveredSocket",
      coalesce(sum(bit_count(l.no_device)), 0)::bigint as "noDevice",
      coalesce(sum(bit_count(l.unacked)), 0)::bigint as unacked,
      coalesce(sum(bit_count(l.expired)), 0)::bigint as expired,
      coalesce(sum(bit_count(l.failed)), 0)::bigint as failed,
      coalesce(sum(bit_count(l.cancelled)), 0)::bigint as cancelled,
      coalesce(sum(bit_count(l.opted_out)), 0)::bigint as "optedOut",
      coalesce(sum(bit_count(l.capped)), 0)::bigint as capped,
      coalesce(sum(bit_count(l.collapsed)), 0)::bigint as collapsed,
      coalesce(sum(bit_count(l.received_late)), 0)::bigint as "receivedLate",
      coalesce(sum(bit_count(l.read)), 0)::bigint as read,
      coalesce(sum(bit_count(l.acknowledged)), 0)::bigint as acknowledged
    from notification n
    cross join lateral (
      select count(*)::bigint as rows_count,
        coalesce(sum((t.payload ->> 'count')::int), 0)::bigint as members_count
      from timer t
      where t.notification_id = n.id and t.notification_id is not null
        and t.home is not distinct from ${scope.home}
    ) waiting
    left join lateral (
      select * from ledger l
      where l.notification_id = n.id and l.home is not distinct from ${scope.home}
      offset 0
    ) l on true
    where n.id = any(${notificationIds}::uuid[]) and n.tenant_id = ${scope.tenantId}
      and n.audience is not null
    group by n.id, waiting.rows_count, waiting.members_count`;
  const progress = new Map<string, RegionProgress>(
    notificationIds.map((id) => [id, { state: "waiting", counts: zeroCounts() }]),
  );
  for (const { id, plannedRows, openRows, rowsCount, waitingRows, ...counts } of records)
    progress.set(id, { state: stateOf({ plannedRows, openRows, rowsCount, waitingRows }), counts });
  return progress;
}

/** What waits for a later time is not finished; as long as there is nothing else, it is scheduled. */
function stateOf(
  rows: Pick<CountsRecord, "plannedRows" | "openRows" | "rowsCount" | "waitingRows">,
): RegionProgress["state"] {
  if (rows.plannedRows > 0) return "planned";
  if (rows.openRows > 0) return "delivering";
  if (rows.waitingRows === 0) return "finished";
  return rows.rowsCount === 0 ? "scheduled" : "delivering";
}
