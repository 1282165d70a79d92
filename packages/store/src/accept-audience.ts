// packages/store/src/accept-audience.ts
// Which partitions an audience comes to, and whom in each where it is explicit: one look-up for a whole batch.
// It runs before the group commit, outside its locks: a recipient is never removed and its index
// never reused, so an index that was found stays true, and the partition's directory version under
// the lock is at least the one that created it.
// Plan: unnest → nested loop on recipient_pkey. `home || ''` keeps recipient_version out of it, which
// a table without statistics (just imported) would be read whole by.
import { type Notification, LIMITS, type RegionAudience } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { intsOf } from "./arrays.ts";
import type { Statements } from "./pool.ts";

/** Index numbers, ascending and without repeats. */
export interface PartitionMembers {
  readonly partition: number;
  readonly members: readonly number[];
}

export interface ResolvedAudience {
  readonly partitions: readonly PartitionMembers[]; // ascending
  /** A row in every partition, whatever `partitions` says. */
  readonly isForAll: boolean;
  /** False: the owner finds out who it is, by groups, filters or another notification's rows. */
  readonly isDecided: boolean;
  /** Ids that have no row here any more. */
  readonly missingCount: number;
}

export interface AudienceItem {
  readonly notification: Notification;
  readonly audience: RegionAudience | null;
}

/** In the order of `items`. */
export async function resolveAudiences(
  sql: Statements,
  home: string,
  items: readonly AudienceItem[],
): Promise<ResolvedAudience[]> {
  const named = await resolveNamed(sql, home, items);
  const places = await placesOf(sql, home, items);
  return items.map(({ audience }, ord) => {
    const { partitions = [], missingCount = 0 } = named[ord] ?? {};
    const isDecided = audience?.kind === "recipients";
    const there = audience?.kind === "unread" ? places.get(audience.notificationId) : undefined;
    if (there !== undefined)
      return {
        partitions: there.map((partition) => ({ partition, members: [] })),
        ...{ isForAll: false, isDecided, missingCount },
      };
    const isForAll = audience !== null && namedIn(audience) === undefined;
    return { partitions, isForAll, isDecided, missingCount };
  });
}

/**
 * Of notifications that others are about: the partitions in which they are in a row, or wait for one; no row of theirs
 * comes to another. One that is not here yet has no entry: it may come anywhere, after what is about it (RC1).
 * Plan: notification_pkey; for each, ledger_notification and timer_row.
 */
async function placesOf(
  sql: Statements,
  home: string,
  items: readonly AudienceItem[],
): Promise<ReadonlyMap<string, readonly number[]>> {
  const ids = items.flatMap(({ audience }) =>
    audience?.kind === "unread" ? [audience.notificationId] : [],
  );
  if (ids.length === 0) return new Map();
  const rows = await sql<{ id: string; partitions: number[] }[]>`
    select n.id, array(
        select l.partition::int from ledger l where l.notification_id = n.id and l.home = ${home}
        union
        select t.partition::int from timer t where t.notification_id = n.id and t.home = ${home}
        order by 1
      ) as partitions
    from notification n where n.id = any(${ids}::uuid[])`;
  return new Map(rows.map(({ id, partitions }) => [id, partitions]));
}

/** Those who are named one by one. */
async function resolveNamed(
  sql: Statements,
  home: string,
  items: readonly AudienceItem[],
): Promise<{ readonly partitions: PartitionMembers[]; readonly missingCount: number }[]> {
  const tenantIds: string[] = [];
  const recipientIds: string[] = [];
  const ords: number[] = [];
  const missingCounts = items.map(({ notification, audience }, ord) => {
    const wanted = explicitIdsOf(notification, audience);
    for (const recipientId of wanted) {
      ords.push(ord);
      tenantIds.push(notification.tenantId);
      recipientIds.push(recipientId);
    }
    return wanted.length;
  });
  if (ords.length === 0) return items.map(() => ({ partitions: [], missingCount: 0 }));
  const rows = await sql<{ ord: number; partition: number; idx: number }[]>`
    select wanted.ord, r.partition, r.idx
    from unnest(${intsOf(ords)}::int[], ${tenantIds}::text[], ${recipientIds}::text[])
      as wanted(ord, tenant_id, recipient_id)
    join recipient r on r.tenant_id = wanted.tenant_id and r.recipient_id = wanted.recipient_id
    where r.home || '' = ${home}`;
  const byItem = items.map(() => new Map<number, number[]>());
  for (const { ord, partition, idx } of rows) {
    const partitions = byItem[ord];
    const members = partitions?.get(partition);
    if (members === undefined) partitions?.set(partition, [idx]);
    else members.push(idx);
    missingCounts[ord] = (missingCounts[ord] ?? 0) - 1;
  }
  return byItem.map((partitions, ord) => ({
    partitions: Array.from(partitions, ([partition, members]) => ({
      partition,
      members: members.toSorted((left, right) => left - right),
    })).toSorted((left, right) => left.partition - right.partition),
    missingCount: missingCounts[ord] ?? 0,
  }));
}

function namedIn(audience: RegionAudience): readonly string[] | undefined {
  const whole = audience.kind === "except" ? audience.of : audience;
  return whole.kind === "recipients" ? whole.recipientIds : undefined;
}

/** A few are an array; more are a bitset (DESIGN §5). */
export function isSmall(members: readonly number[]): boolean {
  return members.length <= LIMITS.smallAudienceMax;
}

export function bitsetBytesOf(members: readonly number[]): Uint8Array {
  return Bitset.of(members).toBytes();
}

/** Each once, without those excluded. */
function explicitIdsOf(notification: Notification, audience: RegionAudience | null): string[] {
  const wanted = new Set(audience === null ? [] : namedIn(audience));
  for (const excluded of notification.exclude) wanted.delete(excluded);
  return [...wanted];
}
