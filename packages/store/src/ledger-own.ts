// packages/store/src/ledger-own.ts
// Open rows of those who have many: a new owner reads the first of each recipient, and the rest page by
// page (ADR 0028). A row of one's own is one that is for this recipient alone.
// Plan of the first: ledger_unclosed → sort of numbers only → window → nested loop on ledger_pkey; of the
// second, for each recipient: a range of ledger_direct, in order. 100,000 open rows of one of them:
// bench/RESULTS.md.
import { intsOf } from "./arrays.ts";
import type { LedgerRecord } from "./ledger-rows.ts";
import type { Statements } from "./pool.ts";

/** A recipient's place in the ledger; each once in a call. */
export interface OwnRowsWanted {
  readonly partition: number;
  readonly index: number;
  readonly fromOffset: number;
}

export interface OwnRowsOptions {
  readonly limitCount: number; // for each recipient
  readonly expiredByMs: number | null; // only what has expired by then; null: all
}

/** Of each recipient at most the first `ownRowsMax` of his own; ascending by partition and offset. */
export function readUnclosedBounded(
  sql: Statements,
  place: { readonly home: string; readonly partitions: readonly number[] },
  ownRowsMax: number,
): PromiseLike<LedgerRecord[]> {
  return sql<LedgerRecord[]>`
    with ranked as materialized (
      select partition, "offset", cardinality(members) is not distinct from 1 as is_own,
        row_number() over (
          partition by partition, cardinality(members) is not distinct from 1, members[1]
          order by "offset"
        ) as rank
      from ledger
      where home = ${place.home} and partition = any(${intsOf(place.partitions)}::int[])
        and state <> 2
    )
    select l.* from ranked r
    join ledger l on l.home = ${place.home} and l.partition = r.partition and l.offset = r.offset
    where r.rank <= ${ownRowsMax}::int or not r.is_own
    order by l.partition, l.offset`;
}

/** Ascending by partition, recipient and offset. */
export function readOwn(
  sql: Statements,
  home: string,
  wanted: readonly OwnRowsWanted[],
  { limitCount, expiredByMs }: OwnRowsOptions,
): PromiseLike<LedgerRecord[]> {
  const of = (name: keyof OwnRowsWanted) => intsOf(wanted.map((one) => one[name]));
  const expiry =
    expiredByMs === null
      ? sql``
      : sql`and exists (select 1 from notification n where n.id = l.notification_id
          and n.expires_at <= to_timestamp(${expiredByMs}::float8 / 1000))`;
  return sql<LedgerRecord[]>`
    select l.* from unnest(
      ${of("partition")}::int[], ${of("index")}::int[], ${of("fromOffset")}::bigint[]
    ) as w(partition, index, from_offset)
    cross join lateral (
      select * from ledger l
      where l.home = ${home} and l.partition = w.partition and cardinality(l.members) = 1
        and l.members[1] = w.index and l.offset >= w.from_offset and l.state <> 2 ${expiry}
      order by l.offset limit ${limitCount}::int
    ) l
    order by w.partition, w.index, l.offset`;
}
