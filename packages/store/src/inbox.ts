// packages/store/src/inbox.ts
// One recipient's notifications, newest first, for a page of the inbox.
// Plan: two index ranges read backwards and merged: ledger_direct (rows for this recipient alone)
// and ledger_wide (rows for several), of which at most `WIDE_SCAN_MAX` are looked into. `floor` is
// where that look ended early: nothing below it is in this page, so that the next one has no gap.
//   ST41 What was recalled is in no page, nor what withdraws it (ADR 0032): two anti-joins with the partial
//        indexes of the register that hold nothing else. Nor what was held back from him, or is cancelled, or expired in
//        a pause, and never came to him (ADR 0029): a session that recovers shows him the same.
import type { Notification } from "@carillon/contracts";
import {
  NOTIFICATION_COLUMNS,
  type NotificationRecord,
  notificationOf,
} from "./notification-rows.ts";
import type { Statements } from "./pool.ts";

const WIDE_SCAN_MAX = 1_000;

export interface InboxPage {
  readonly items: readonly InboxItem[];
  /** Pass as `beforeOffset` for the next page; null: this was the last. May follow an empty page. */
  readonly nextBeforeOffset: number | null;
  readonly ledgerEpoch: string;
  /** Everything up to it is in the pages; rows still `planned`, and later ones, come live. */
  readonly headOffset: number;
}

export interface InboxItem {
  readonly offset: number;
  readonly notification: Notification;
  readonly isRead: boolean;
  readonly isAcknowledged: boolean;
}

export interface InboxPlace {
  readonly home: string;
  readonly partition: number;
  readonly index: number;
}

interface InboxRecord extends NotificationRecord {
  floor: number;
  ledger_epoch: string;
  head_offset: number;
  offset: number | null; // null: the page is empty
  is_read: boolean;
  is_acknowledged: boolean;
}

export async function readInbox(
  sql: Statements,
  { home, partition, index }: InboxPlace,
  options: { readonly limit: number; readonly beforeOffset: number | null },
): Promise<InboxPage> {
  const before = options.beforeOffset ?? Number.MAX_SAFE_INTEGER;
  const [isDirectShown, isWideShown] = [
    sql.unsafe(shown("l", "0")),
    sql.unsafe(shown("w", "his.bit")),
  ];
  const rows = await sql<InboxRecord[]>`
    with wide as materialized (
      select * from ledger l
      where l.home = ${home} and l.partition = ${partition}::int and l.offset < ${before}::bigint
        and cardinality(l.members) is distinct from 1
      order by l.offset desc limit ${WIDE_SCAN_MAX}
    ), scan as materialized (
      select case when count(*) = ${WIDE_SCAN_MAX} then min(w.offset) else 0 end as floor
      from wide w
    ), mine as (
      (
        select l.offset as at_offset, l.notification_id, 0 as bit, l.read, l.acknowledged
        from ledger l
        where l.home = ${home} and l.partition = ${partition}::int and l.offset < ${before}::bigint
          and cardinality(l.members) = 1 and l.members[1] = ${index}::int and l.state <> 0
          and l.moved = '' and ${isDirectShown}
        order by l.offset desc limit ${options.limit}
      )
      union all
      select w.offset, w.notification_id, his.bit, w.read, w.acknowledged
      from wide w
      cross join lateral (
        select coalesce(array_position(w.members, ${index}::int) - 1, ${index}::int) as bit
      ) his
      where w.state <> 0 and is_targeted(w.members, w.targeted, ${index}::int)
        and not is_moved(w.members, w.moved, ${index}::int) and ${isWideShown}
    ), page as (
      select mine.* from mine, scan where mine.at_offset >= scan.floor
      order by at_offset desc limit ${options.limit}
    )
    select scan.floor, p.ledger_epoch,
      coalesce((
        select min(l.offset) from ledger l
        where l.home = ${home} and l.partition = ${partition}::int and l.state <> 2 and l.state = 0
      ), p.next_offset) - 1 as head_offset,
      page.at_offset as offset, bit_is_set(page.read, page.bit) as is_read,
      bit_is_set(page.acknowledged, page.bit) as is_acknowledged,
      ${sql.unsafe(NOTIFICATION_COLUMNS)}
    from partition p cross join scan
    left join (page join notification n on n.id = page.notification_id) on true
    where p.home = ${home} and p.n = ${partition}::int
    order by page.at_offset desc`;
  const items = rows.flatMap((row) =>
    row.offset === null
      ? []
      : {
          offset: row.offset,
          notification: notificationOf(row),
          isRead: row.is_read,
          isAcknowledged: row.is_acknowledged,
        },
  );
  const [first] = rows;
  const floor = first?.floor ?? 0;
  const isFull = items.length === options.limit;
  const nextBeforeOffset = isFull ? (items.at(-1)?.offset ?? null) : floor > 0 ? floor : null;
  return {
    items,
    nextBeforeOffset,
    ledgerEpoch: first?.ledger_epoch ?? "",
    headOffset: first?.head_offset ?? 0,
  };
}

/** ST41. Of a row that is called so, in whose sets he is that bit. */
function shown(row: "l" | "w", bit: string): string {
  const isIn = (...sets: readonly string[]): string =>
    `(${sets.map((set) => `bit_is_set(${row}.${set}, ${bit})`).join(" or ")})`;
  return `not ${isIn("cancelled", "opted_out", "capped", "collapsed")}
    and not exists (select from notification_control c
      where c.notification_id = ${row}.notification_id and c.state = 'recalled')
    and not exists (select from notification_control c
      where c.withdrawal_id = ${row}.notification_id)
    and not (${isIn("no_device", "expired", "failed")}
      and not ${isIn("received_late", "read", "acknowledged")}
      and exists (select from notification_control c
        where c.notification_id = ${row}.notification_id
          and (c.state = 'cancelled' or (c.state = 'paused' and ${isIn("expired")}))))`;
}
