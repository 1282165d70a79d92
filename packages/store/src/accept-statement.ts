// packages/store/src/accept-statement.ts
// Hot statement: the group commit (DESIGN §5, step 1 and 3). One statement is one transaction and
// one round trip: Idempotency-Keys, notifications, outbox rows, and the ledger rows with the next
// offsets of their partitions, all of a batch or none.
//   D1   When it returns, everything it returned survives a power cut (synchronous_commit).
//   ST13 Locks are got in one order by everybody: keys, notification ids, then partitions by n. The
//        array_agg in `news` makes the keys and notifications complete before `locked` begins.
//   ST14 Offsets of a partition are contiguous: they are dealt out under its row's lock, in the
//        order of the batch, and next_offset moves with them.
//   ST37 A row that is to be acknowledged, with steps to follow, gets its timer in this statement, due by
//        the database's clock (ADR 0030). It is in the insert that rows of later have: for all others it costs
//        the look at a null.
// `locked` reads the row as it is after the wait, not as the statement's snapshot had it (Postgres
// checks a locked row again); so does `bumped`.
// `is_later` is a column of its own: Postgres takes hardly any row for null, and plans for so few.
// Plan (100 direct): unnest CTEs → insert on conflict (idempotency_pkey) → insert notification →
// index scan of partition_pkey for the InitPlan's array → sort → LockRows → hash joins of ≤ 256
// partitions with the rows wanted → insert ledger. Numbers: bench/RESULTS.md.
import { deferredPayloadOf, FLOW_TIMER_KIND, LIMITS, ROW_TIMER_KIND } from "@carillon/contracts";
import type { Statements } from "./pool.ts";

/** The fast path sends an outbox row straight after the commit; the poll finds it after this. */
export const OUTBOX_FIRST_POLL_MS = 3_000;

/** Of the timer that stands for a row of a whole audience. */
const ALL_LATER = JSON.stringify(deferredPayloadOf({ reason: "sendAt", members: { kind: "all" } }));

/** Columns of a batch: entry i of each array belongs to item i + 1 (`ord`). */
export interface AcceptColumns {
  readonly ids: string[];
  readonly tenantIds: string[];
  readonly acceptedRegions: string[];
  readonly acceptedAtMs: string;
  readonly expiresAtMs: string;
  readonly priorities: string[];
  readonly categories: (string | null)[];
  readonly contents: string[];
  readonly excludes: string[];
  readonly audiences: (string | null)[];
  readonly targetRegions: string[]; // joined by commas
  readonly unknownCounts: (number | null)[];
  readonly isForAll: string; // every partition gets a row, planned
  readonly options: string[];
  readonly sendAtMs: string; // null: at once; otherwise rows are timers until then (ADR 0022)
  readonly ackSeconds: string; // null: nothing follows from no acknowledgement (ADR 0030)
  readonly keys: (string | null)[];
  readonly fingerprints: string;
  readonly answers: (string | null)[];
  /** Outbox rows. */
  readonly remoteOrds: string;
  readonly remoteRegions: string[];
  readonly remotePayloads: string[];
  /** Ledger rows for explicit recipients: open at once, or planned where some of them are left out. */
  readonly wantedOrds: string;
  readonly wantedPartitions: string;
  readonly wantedStates: string;
  readonly wantedMembers: (string | null)[];
  readonly wantedTargeted: string;
  readonly wantedPayloads: (string | null)[]; // of the timer, where it is sent later
}

/** One per item that is new; others lost their key or were there already. */
export interface AcceptedRecord {
  ord: number;
  partitions: number[] | null;
  offsets: number[] | null;
  versions: number[] | null;
  outbox_ids: number[] | null;
  outbox_regions: string[] | null;
  backlogs: string[] | null;
}

export async function insertAccepted(
  sql: Statements,
  place: { readonly home: string; readonly isAcceptedHere: boolean },
  columns: AcceptColumns,
): Promise<AcceptedRecord[]> {
  return sql<AcceptedRecord[]>`
    with item as materialized (
      select * from unnest(
        ${columns.ids}::uuid[], ${columns.tenantIds}::text[], ${columns.acceptedRegions}::text[],
        ${columns.acceptedAtMs}::float8[], ${columns.expiresAtMs}::float8[],
        ${columns.priorities}::text[], ${columns.categories}::text[],
        ${columns.contents}::text[], ${columns.excludes}::text[],
        ${columns.audiences}::text[], ${columns.targetRegions}::text[],
        ${columns.unknownCounts}::int[], ${columns.isForAll}::boolean[],
        ${columns.options}::text[], ${columns.sendAtMs}::float8[], ${columns.ackSeconds}::float8[],
        ${columns.keys}::text[], ${columns.fingerprints}::bytea[], ${columns.answers}::text[]
      ) with ordinality as item(id, tenant_id, accepted_region, accepted_at_ms, expires_at_ms,
        priority, category, content, exclude, audience, target_regions, unknown_count, is_for_all,
        options, send_at_ms, ack_seconds, key, fingerprint, answer, ord)
    ), claimed as (
      insert into idempotency (tenant_id, key, fingerprint, notification_id, answer)
      select tenant_id, key, fingerprint, id, answer::json from item
      where key is not null
      order by tenant_id collate "C", key collate "C"
      on conflict (tenant_id, key) do update set fingerprint = excluded.fingerprint,
        notification_id = excluded.notification_id, answer = excluded.answer, created_at = now()
      where idempotency.created_at <= now() - ${LIMITS.idempotencyTtlSeconds} * interval '1 s'
      returning notification_id
    ), inserted as (
      insert into notification (id, tenant_id, accepted_region, accepted_at, expires_at, priority,
        category, content, exclude, audience, target_regions, unknown_count, options, is_accepted_here)
      select id, tenant_id, accepted_region, to_timestamp(accepted_at_ms / 1000),
        to_timestamp(expires_at_ms / 1000), priority, category, content::json, exclude::jsonb,
        audience::jsonb, string_to_array(target_regions, ','), unknown_count,
        options::json, ${place.isAcceptedHere}
      from item
      where key is null or id = any(array(select notification_id from claimed))
      order by id
      on conflict (id) do nothing
      returning id
    ), news as materialized (
      select array_agg(id) as ids from inserted
    ), fresh as materialized (
      select ord, id, tenant_id, is_for_all, send_at_ms, send_at_ms is not null as is_later, ack_seconds
      from item
      where id = any((select ids from news)::uuid[])
    ), sent as (
      insert into outbox (target_region, kind, notification_id, payload, next_attempt_at)
      select remote.region, 'notification', fresh.id, remote.payload::jsonb,
        now() + ${OUTBOX_FIRST_POLL_MS} * interval '1 ms'
      from unnest(${columns.remoteOrds}::bigint[], ${columns.remoteRegions}::text[],
        ${columns.remotePayloads}::text[]) as remote(ord, region, payload)
      join fresh using (ord)
      order by fresh.ord, remote.region
      returning id, notification_id, target_region
    ), meant as materialized (
      select fresh.*, w.n, w.members::int[] as members, w.targeted, w.state, w.payload
      from unnest(${columns.wantedOrds}::bigint[], ${columns.wantedPartitions}::int[],
        ${columns.wantedMembers}::text[], ${columns.wantedTargeted}::bytea[],
        ${columns.wantedPayloads}::text[], ${columns.wantedStates}::int[])
        as w(ord, n, members, targeted, payload, state)
      join fresh using (ord)
      union all
      select fresh.*, n, null, ''::bytea, 0, ${ALL_LATER}::text
      from fresh cross join generate_series(0, ${LIMITS.partitionCount - 1}::int) as n
      where fresh.is_for_all
    ), told_again as (
      update notification_control set updated_at = clock_timestamp()
      where notification_id = any(array(select id from fresh where is_later))
        and state <> 'running'
    ), wanted as materialized (
      select ord, id, tenant_id, n, members, targeted, state, ack_seconds from meant where not is_later
    ), locked as materialized (
      select n, next_offset, directory_version, ledger_part from partition
      where home = ${place.home} and n = any(array(select distinct wanted.n from wanted))
      order by n for no key update
    ), bumped as (
      update partition p set next_offset = p.next_offset + dealt.count
      from (select n, count(*) as count from wanted group by n) as dealt
      join locked using (n)
      where p.home = ${place.home} and p.n = dealt.n
    ), numbered as materialized (
      select wanted.*, locked.directory_version, locked.ledger_part,
        locked.next_offset - 1 + row_number() over (partition by n order by ord) as at_offset
      from wanted left join locked using (n) -- no such partition: not null refuses it all
    ), planned as (
      insert into ledger (home, partition, "offset", notification_id, directory_version, state,
        members, targeted, part)
      select ${place.home}, n, at_offset, id, directory_version, state, members, targeted, ledger_part
      from numbered order by n, at_offset
    ), timed as (
      insert into timer (home, partition, kind, key, tenant_id, due_at, payload)
      select ${place.home}, n, kind, key, tenant_id, due_at, payload from (
        select n, ord, ${ROW_TIMER_KIND}::text as kind, id || '/' as key, tenant_id,
          to_timestamp(send_at_ms / 1000) as due_at, payload::jsonb || jsonb_strip_nulls(
            jsonb_build_object('notificationId', id, 'ackSeconds', ack_seconds)) as payload
        from meant where is_later
        union all
        select n, ord, ${FLOW_TIMER_KIND}::text, id || '/' || at_offset, tenant_id,
          clock_timestamp() + ack_seconds * interval '1 s',
          jsonb_build_object('notificationId', id, 'offset', at_offset)
        from numbered where ack_seconds is not null
      ) due
      order by n, ord
    )
    select fresh.ord, entry.partitions, entry.offsets, entry.versions,
      post.ids as outbox_ids, post.regions as outbox_regions,
      (select array_agg(target_region) from relay_backlog) as backlogs
    from fresh
    left join (
      select ord, array_agg(n::int order by n) as partitions,
        array_agg(at_offset order by n) as offsets,
        array_agg(directory_version order by n) as versions
      from numbered group by ord
    ) entry using (ord)
    left join (
      select notification_id, array_agg(id order by id) as ids,
        array_agg(target_region order by id) as regions
      from sent group by notification_id
    ) post on post.notification_id = fresh.id
    order by fresh.ord`;
}
