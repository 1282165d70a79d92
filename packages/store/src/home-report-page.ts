// packages/store/src/home-report-page.ts
// What is asked of a report of a loss, whatever the table, and which rows are candidates (ADR 0015): those whose
// last writer was not visible to the snapshot of the takeover; without one all.
import type { ReportRow, ReportTable } from "@carillon/contracts";

export interface ReportPage {
  readonly home: string;
  readonly table: ReportTable;
  readonly snapshot: string | null;
  /** Key of the last row seen. */
  readonly after: readonly string[] | null;
  readonly limit: number;
  /** Null: for a command of an older build. */
  readonly salt: string | null;
}

export interface ReportComparison {
  readonly home: string;
  readonly table: ReportTable;
  readonly rows: readonly ReportRow[];
  readonly salt: string | null;
}

/** Positions in the rows asked for. `lacking`: of `people` only, how many of each of `different`. */
export interface ReportDifference {
  readonly missing: number[];
  readonly different: number[];
  readonly lacking?: number[];
}

/** A 32-bit xmin as the full one; of rows that were frozen long ago it is far in the past. */
const FULL_XMIN = `(case when t.xmin::text::bigint <= next.low then next.high + t.xmin::text::bigint
  else greatest(next.high - 4294967296 + t.xmin::text::bigint, 3) end)::text::xid8`;

/** To be joined with a table `t`. */
export const NEXT_XID = `(select n & 4294967295 as low, n - (n & 4294967295) as high
  from (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as n) as x) as next`;

/** Parameter 1 is the snapshot. */
export const IS_CANDIDATE = `($1::text is null
  or not pg_visible_in_snapshot(${FULL_XMIN}, $1::pg_snapshot))`;
