// packages/store/src/ledger-flush.ts
// Hot statement: an owner's dirty rows, replaced under the fence.
//   D4   A second owner changes no state. `held` locks the partition rows for key share, and only
//        where epoch and ownership still stand. A takeover locks them for update, which excludes
//        key share both ways: a flush under way delays it, and a flush that waited for it reads the
//        row again, finds another epoch and drops out. Accept and directory changes lock the same
//        rows for no key update, which goes together with key share: they never wait for a flush.
//   ST33 Who is put off is in one place at a time: `moved` in the row and the timer that stands for them
//        are written together, once, however often the write is repeated (`moves_count`).
//   ST8  Ledger rows of a partition are updated only while its partition row is held, so two owners
//        cannot be in one partition's rows at a time.
// `held` is complete before the first ledger row is touched, since `wanted` needs it as an array. So is
// `moving`, which locks the rows that put somebody off: a lost write that is still under way has ended by
// then, and what it wrote is seen.
// Not as a join: with no statistics yet Postgres then reads whole partitions (80 ms for 256 rows).
// Each row's part is looked up by its offset (ledger_part), so that one part's index is read and not
// every one's. A row without a part was dropped with it (ADR 0027): its receipt has nowhere to go.
// Parts that are new have no statistics. `home` as a column of `wanted`, and `is not distinct from`,
// which Postgres takes for few rows, keep it from reading all of a home's parts for a hash join (10 ms).
// Plan (256 rows): partition_pkey → sort → LockRows (materialized); unnest with ledger_part_pkey
// backwards → nested loop on the primary key of the one part → update. Numbers: bench/RESULTS.md.
import { type DeferredRow, ROW_TIMER_KIND } from "@carillon/contracts";
import { assert } from "@carillon/kernel";
import { bytesOf, intsOf } from "./arrays.ts";
import { deferredColumnsOf } from "./deferred-rows.ts";
import { LEDGER_STATES, type LedgerRowState, type LedgerSets } from "./ledger-rows.ts";
import type { Statements } from "./pool.ts";

export interface HeldPartition {
  readonly partition: number;
  readonly epoch: number; // of the ownership; the fence of every write
}

/** At most one per partition and offset in a call, and one epoch per partition (assert). */
export interface LedgerUpdate extends HeldPartition {
  readonly offset: number;
  readonly state: LedgerRowState;
  readonly sets: LedgerSets;
  /** Those whom it puts off. `count`: of such writes of this row, this one included. */
  readonly moves?: { readonly count: number; readonly rows: readonly DeferredRow[] };
}

/** Partitions whose rows were refused because another owner has a higher epoch (D4). */
export interface WriteOutcome {
  readonly fencedPartitions: readonly number[];
}

export async function flushRows(
  sql: Statements,
  home: string,
  updates: readonly LedgerUpdate[],
): Promise<WriteOutcome> {
  const epochs = new Map<number, number>();
  for (const { partition, epoch } of updates) {
    assert((epochs.get(partition) ?? epoch) === epoch, "D4 one epoch per partition in a flush");
    epochs.set(partition, epoch);
  }
  const partitions = [...epochs.keys()];
  const bytes = (name: keyof LedgerSets) => bytesOf(updates.map((update) => update.sets[name]));
  const moving = updates.filter(({ moves }) => moves !== undefined);
  const deferred = deferredColumnsOf(
    moving.flatMap(({ partition, offset, moves }) =>
      (moves?.rows ?? []).map((row, place) => ({
        partition,
        row,
        place: `${offset}.${moves?.count}.${place}`,
        ord: offset,
      })),
    ),
  );
  const rows = await sql<{ held: number[] | null; updated_count: number; dropped_count: number }[]>`
    with held as materialized (
      select n from partition
      where home = ${home} and n = any(${intsOf(partitions)}::int[]) and owner_id is not null
        and epoch = (${intsOf([...epochs.values()])}::bigint[])[
          array_position(${intsOf(partitions)}::int[], n::int)]
      order by n for key share
    ), wanted as materialized (
      select u.*, ${home} as home, (
        select f.part from ledger_part f
        where f.home = ${home} and f.partition = u.partition and f.first_offset <= u.at_offset
        order by f.first_offset desc, f.part desc limit 1
      ) as part
      from unnest(
        ${intsOf(updates.map((update) => update.partition))}::int[],
        ${intsOf(updates.map((update) => update.offset))}::bigint[],
        ${intsOf(updates.map((update) => LEDGER_STATES.indexOf(update.state)))}::int[],
        ${bytes("targeted")}::bytea[],
        ${bytes("deliveredSocket")}::bytea[],
        ${bytes("noDevice")}::bytea[],
        ${bytes("unacked")}::bytea[],
        ${bytes("expired")}::bytea[],
        ${bytes("failed")}::bytea[],
        ${bytes("cancelled")}::bytea[],
        ${bytes("optedOut")}::bytea[],
        ${bytes("capped")}::bytea[],
        ${bytes("collapsed")}::bytea[],
        ${bytes("moved")}::bytea[],
        ${`{${updates.map(({ moves }) => moves?.count ?? "null").join(",")}}`}::int[],
        ${bytes("receivedLate")}::bytea[],
        ${bytes("read")}::bytea[],
        ${bytes("acknowledged")}::bytea[]
      ) as u(partition, at_offset, state, targeted, delivered_socket, no_device, unacked, expired,
        failed, cancelled, opted_out, capped, collapsed, moved, moves_count, received_late, read,
        acknowledged)
      where u.partition = any(array(select n from held))
    ), moving as materialized (
      select l.partition, l.offset, l.moves_count, l.notification_id
      from wanted u
      join ledger l on l.home = u.home and l.partition = u.partition and l.part = u.part
        and l.offset = u.at_offset
      where u.moves_count is not null
      for no key update of l
    ), updated as (
      update ledger l set
        state = u.state,
        targeted = u.targeted,
        delivered_socket = u.delivered_socket,
        no_device = u.no_device,
        unacked = u.unacked,
        expired = u.expired,
        failed = u.failed,
        cancelled = u.cancelled,
        opted_out = u.opted_out,
        capped = u.capped,
        collapsed = u.collapsed,
        moved = u.moved,
        moves_count = coalesce(u.moves_count, l.moves_count),
        received_late = u.received_late,
        read = u.read,
        acknowledged = u.acknowledged
      from wanted u
      where u.part is not distinct from u.part and (select count(*) from moving) >= 0
        and l.home = u.home and l.partition = u.partition and l.part = u.part
        and l.offset = u.at_offset
      returning l.partition, l.offset, l.moves_count
    ), deferred as (
      insert into timer (home, partition, kind, key, tenant_id, due_at, payload)
      select ${home}, d.n, ${ROW_TIMER_KIND}, n.id || '/' || d.place, n.tenant_id,
        to_timestamp(d.due_at_ms / 1000), d.payload::jsonb || jsonb_strip_nulls(
          jsonb_build_object('notificationId', n.id, 'ackSeconds',
            case when json_array_length(n.options -> 'requireAck' -> 'escalation') > 0
              then n.options -> 'requireAck' -> 'deadlineSeconds' end))
      from unnest(${deferred.ords}::bigint[], ${deferred.partitions}::int[], ${deferred.places}::text[],
        ${deferred.dueAtMs}::float8[], ${deferred.payloads}::text[])
        as d(at_offset, n, place, due_at_ms, payload)
      join moving on moving.partition = d.n and moving.offset = d.at_offset
      join updated on updated.partition = d.n and updated.offset = d.at_offset
        and moving.moves_count < updated.moves_count
      join notification n on n.id = moving.notification_id
    )
    select (select array_agg(n::int) from held) as held,
      (select count(*) from updated) as updated_count,
      (select count(*) from wanted where part is null) as dropped_count`;
  const held = new Set(rows[0]?.held);
  const expectedCount = updates.filter(({ partition }) => held.has(partition)).length;
  const { updated_count: updatedCount = 0, dropped_count: droppedCount = 0 } = rows[0] ?? {};
  assert(updatedCount + droppedCount === expectedCount, "ST8 a flush names rows that exist, once");
  return { fencedPartitions: partitions.filter((partition) => !held.has(partition)) };
}
