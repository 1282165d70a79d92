// packages/store/src/ledger-tail.ts
// Hot statement: what one recipient missed since an offset, for a session that joins again.
// Plan: partition_pkey (one row) → nested loop on a range of the parts' keys, at most `scanMax` rows,
// whose sets are looked into only when there is no array. Offsets are contiguous, so the length of
// the tail is known before a row is read; what begins below the lowest kept part is too far as well.
import { type LedgerRecord, type LedgerRow, ledgerRowOf } from "./ledger-rows.ts";
import type { Statements } from "./pool.ts";

export interface TailOptions {
  readonly index: number;
  readonly afterOffset: number;
  readonly limitCount: number;
  /** A longer tail is not looked at: the client reloads over HTTP. */
  readonly scanMax: number;
}

export type LedgerTail =
  | { readonly kind: "rows"; readonly rows: LedgerRow[] }
  | { readonly kind: "tooFar" };

/** Rows that are still `planned` are left out: whom they target is not known yet. */
export async function readTail(
  sql: Statements,
  place: { readonly home: string; readonly partition: number },
  { index, afterOffset, limitCount, scanMax }: TailOptions,
): Promise<LedgerTail> {
  const rows = await sql<(LedgerRecord & { is_too_far: boolean; offset: number | null })[]>`
    select p.next_offset - 1 - ${afterOffset}::bigint > ${scanMax}::int
      or ${afterOffset}::bigint < (select min(f.first_offset) - 1 from ledger_part f
        where f.home = p.home and f.partition = p.n) as is_too_far, l.*
    from partition p
    left join lateral (
      select * from ledger l
      where l.home = p.home and l.partition = p.n
        and l.offset > ${afterOffset}::bigint
        and p.next_offset - 1 - ${afterOffset}::bigint <= ${scanMax}::int
        and l.state <> 0 and is_targeted(l.members, l.targeted, ${index}::int)
        and not is_moved(l.members, l.moved, ${index}::int)
      order by l.offset
      limit ${limitCount}::int
    ) l on true
    where p.home = ${place.home} and p.n = ${place.partition}::int`;
  if (rows[0]?.is_too_far === true) return { kind: "tooFar" };
  return { kind: "rows", rows: rows.filter((row) => row.offset !== null).map(ledgerRowOf) };
}
