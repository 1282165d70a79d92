// packages/store/src/home-report.ts
// What a fenced database holds that the one which took over does not (ADR 0015): read here by key, in
// pages, as digests; compared there. A row is a candidate when the transaction that wrote it last was
// not visible to the snapshot at the takeover; without one every row is. Whether it is really missing
// is decided by the comparison alone, so the snapshot only saves work.
//   HM5  The report names every row that the new database lacks, and none that it has.
import type { ReportRow, ReportTable } from "@carillon/contracts";
import type { Pool, Statements } from "./pool.ts";

export interface ReportPage {
  readonly home: string;
  readonly table: ReportTable;
  readonly snapshot: string | null;
  /** Key of the last row seen. */
  readonly after: readonly string[] | null;
  readonly limit: number;
}

interface KeyedRow {
  key: string[];
  digest: string;
  about: ReportRow["about"];
}

/** A 32-bit xmin as the full one; of rows that were frozen long ago it is far in the past. */
const FULL_XMIN = `(case when t.xmin::text::bigint <= next.low then next.high + t.xmin::text::bigint
  else greatest(next.high - 4294967296 + t.xmin::text::bigint, 3) end)::text::xid8`;
const NEXT = `(select n & 4294967295 as low, n - (n & 4294967295) as high
  from (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as n) as x) as next`;

/** Keys are in the order of an index, digests over what the row says and not over when it was touched. */
const TABLES: Readonly<
  Record<ReportTable, { key: string; keyTypes: string[]; digest: string; about: string }>
> = {
  notification: {
    key: "t.id",
    keyTypes: ["uuid"],
    digest: "''",
    about: `jsonb_build_object('tenantId', t.tenant_id, 'acceptedRegion', t.accepted_region,
      'isAcceptedHere', t.is_accepted_here, 'isForThisHome', t.audience is not null,
      'targetRegions', array_to_string(t.target_regions, ','),
      'unsentTo', (select string_agg(o.target_region, ',' order by o.target_region)
        from outbox o where o.notification_id = t.id))`,
  },
  ledger: {
    key: "t.notification_id, t.partition", // not the offset: the other database dealt it out again
    keyTypes: ["uuid", "int"],
    digest: `md5(concat_ws('/', t.state, t.members::text, t.targeted,
      t.delivered_socket, t.no_device, t.unacked, t.expired, t.failed, t.received_late, t.read,
      t.acknowledged))`,
    about: `jsonb_build_object('offset', t."offset", 'state', t.state)`,
  },
  recipient: {
    key: "t.tenant_id, t.recipient_id",
    keyTypes: ["text", "text"],
    digest: "md5(concat_ws('/', t.locale, t.time_zone, t.attributes::text))",
    about: "jsonb_build_object('version', t.version)",
  },
  outbox: {
    key: "t.id",
    keyTypes: ["bigint"],
    digest: "md5(concat_ws('/', t.target_region, t.kind, t.notification_id, t.payload::text))",
    about: `jsonb_build_object('targetRegion', t.target_region, 'kind', t.kind,
      'notificationId', t.notification_id)`,
  },
};

export class SqlHomeReport {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Candidates in the order of their keys. A page that is not full is the last. */
  read({ table, snapshot, after, limit, home }: ReportPage): Promise<ReportRow[]> {
    const { key, keyTypes, digest, about } = TABLES[table];
    const isHomed = table === "ledger" || table === "recipient";
    const from =
      after === null ? "true" : `(${key}) > (${keyTypes.map(parameterAt(2)).join(", ")})`;
    const text = `select array[${keyTextOf(key)}] as key, ${digest} as digest, ${about} as about
      from ${table} t, ${NEXT}
      where ${from} and ($1::text is null or not pg_visible_in_snapshot(${FULL_XMIN}, $1::pg_snapshot))
        ${isHomed ? `and t.home = $2` : `and $2::text is not null`}
      order by ${key} limit ${Math.trunc(limit)}`;
    return this.#pool.run("homeReport.read", async (sql) =>
      (await sql.unsafe<KeyedRow[]>(text, [snapshot, home, ...(after ?? [])])).map(rowOf),
    );
  }

  /** Positions in `rows` of those that are not in this database, or are otherwise. */
  compare(
    home: string,
    table: ReportTable,
    rows: readonly ReportRow[],
  ): Promise<{ missing: number[]; different: number[] }> {
    return this.#pool.run("homeReport.compare", (sql) => compare(sql, { home, table, rows }));
  }
}

async function compare(
  sql: Statements,
  { home, table, rows }: { home: string; table: ReportTable; rows: readonly ReportRow[] },
): Promise<{ missing: number[]; different: number[] }> {
  const { key, keyTypes, digest } = TABLES[table];
  const columns = keyTypes.map((_, index) => `k${index}`);
  const wanted = keyTypes.map((type, index) => `$${index + 3}::${type}[]`).join(", ");
  const isHomed = table === "ledger" || table === "recipient";
  const same = key.split(", ").map((column, index) => `${column} = wanted.k${index}`);
  const found = await sql.unsafe<{ ord: number; is_there: boolean }[]>(
    `select wanted.ord::int - 1 as ord, t.xmin is not null as is_there
     from unnest(${wanted}, $2::text[]) with ordinality as wanted(${columns.join(", ")}, digest, ord)
     left join ${table} t on ${same.join(" and ")} ${isHomed ? "and t.home = $1" : ""}
     where $1::text is not null and (t.xmin is null or ${digest} <> wanted.digest)
     order by 1`,
    [
      home,
      rows.map((row) => row.digest),
      ...keyTypes.map((_, index) => rows.map((row) => row.key[index] ?? "")),
    ],
  );
  return {
    missing: found.flatMap(({ ord, is_there: isThere }) => (isThere ? [] : [ord])),
    different: found.flatMap(({ ord, is_there: isThere }) => (isThere ? [ord] : [])),
  };
}

function parameterAt(before: number): (type: string, index: number) => string {
  return (type, index) => `$${index + before + 1}::${type}`;
}

function keyTextOf(key: string): string {
  return key
    .split(", ")
    .map((column) => `(${column})::text`)
    .join(", ");
}

function rowOf({ key, digest, about }: KeyedRow): ReportRow {
  return { key, digest, about };
}
