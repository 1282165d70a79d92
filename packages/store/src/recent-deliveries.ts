// packages/store/src/recent-deliveries.ts
// What a frequency cap counts, for a new owner: rows of the ledger whose notification was accepted within the
// window, with who got it (ADR 0024). When somebody got it is not kept: it counts from its acceptance.
//   ST32 Every delivery of the tenant that was accepted in the window, of the priorities and but for the
//        categories named, is in exactly one row; rows are in order of acceptance.
// Plan: range of notification_pkey, since ids are UUIDv7 → ledger_notification. Cost: all notifications of the
// window in this region, of any tenant; asked once for each tenant with a cap when partitions are loaded.
import { intsOf } from "./arrays.ts";
import type { Statements } from "./pool.ts";

export interface RecentQuestion {
  readonly tenantId: string;
  /** Accepted later than this. */
  readonly sinceMs: number;
  readonly priorities: readonly string[];
  readonly exceptCategories: readonly string[];
}

/** With `members`, bit i of a set stands for members[i]; otherwise for index i. */
export interface RecentRow {
  readonly partition: number;
  readonly acceptedAtMs: number;
  readonly members: number[] | null;
  readonly deliveredSocket: Uint8Array;
  readonly receivedLate: Uint8Array;
}

/** Ids come from the clock of a region that may be behind the one that says when it was accepted. */
const ID_MARGIN_MS = 60_000;

export async function readRecentDeliveries(
  sql: Statements,
  place: { readonly home: string; readonly partitions: readonly number[] },
  question: RecentQuestion,
): Promise<RecentRow[]> {
  const { tenantId, sinceMs, priorities, exceptCategories } = question;
  return [
    ...(await sql<RecentRow[]>`
      select l.partition, (extract(epoch from n.accepted_at) * 1000)::bigint as "acceptedAtMs",
        l.members, l.delivered_socket as "deliveredSocket", l.received_late as "receivedLate"
      from notification n join ledger l on l.notification_id = n.id
      where n.id >= ${firstIdAt(sinceMs - ID_MARGIN_MS)}::uuid and n.tenant_id = ${tenantId}
        and n.accepted_at > to_timestamp(${sinceMs}::float8 / 1000)
        and n.priority = any(${priorities}::text[])
        and (n.category is null or n.category <> all(${exceptCategories}::text[]))
        and l.home = ${place.home} and l.partition = any(${intsOf(place.partitions)}::int[])
        and (l.delivered_socket <> '' or l.received_late <> '')
      order by n.accepted_at, n.id, l.partition`),
  ];
}

/** The lowest UUIDv7 of that millisecond (RFC 9562 §5.7). */
function firstIdAt(atMs: number): string {
  const time = Math.max(0, Math.trunc(atMs)).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`;
}
