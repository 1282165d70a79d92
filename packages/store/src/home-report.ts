// packages/store/src/home-report.ts
// What a fenced database holds that the one which took over does not (ADR 0015): read here by key, in
// pages, as digests; compared there. A row is a candidate when the transaction that wrote it last was
// not visible to the snapshot at the takeover; without one every row is. Whether it is really missing
// is decided by the comparison alone, so the snapshot only saves work.
//   HM5  The report names every row that the new database lacks, and none that it has.
//   HM8  Digests are salted anew for each report, so that nobody looks them up in a table, and hold
//        nothing of an API key's secret.
import type { ReportRow, ReportTable } from "@carillon/contracts";
import type { Pool, Statements } from "./pool.ts";

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

interface TableSpec {
  /** In the order of an index. */
  readonly key: string;
  readonly keyTypes: readonly string[];
  /** What the row says, not when it was touched; null: it never changes. */
  readonly says: string | null;
  readonly about: string;
  /** Rows of this home only, or of the others only. */
  readonly homed?: "here" | "elsewhere";
}

const TABLES: Readonly<Record<ReportTable, TableSpec>> = {
  notification: {
    key: "t.id",
    keyTypes: ["uuid"],
    says: null,
    about: `jsonb_build_object('tenantId', t.tenant_id, 'acceptedRegion', t.accepted_region,
      'isAcceptedHere', t.is_accepted_here, 'isForThisHome', t.audience is not null,
      'targetRegions', array_to_string(t.target_regions, ','),
      'unsentTo', (select string_agg(o.target_region, ',' order by o.target_region)
        from outbox o where o.notification_id = t.id))`,
  },
  ledger: {
    key: "t.notification_id, t.partition", // not the offset: the other database dealt it out again
    keyTypes: ["uuid", "int"],
    says: `t.state, t.members::text, t.targeted, t.delivered_socket, t.no_device, t.unacked, t.expired,
      t.failed, t.cancelled, t.opted_out, t.capped, t.collapsed, t.moved, t.received_late, t.read,
      t.acknowledged`,
    about: `jsonb_build_object('offset', t."offset", 'state', t.state)`,
    homed: "here",
  },
  recipient: {
    key: "t.tenant_id, t.recipient_id",
    keyTypes: ["text", "text"],
    says: "t.locale, t.time_zone, t.attributes::text, array_to_string(t.groups, ' '), t.preferences::text",
    about: "jsonb_build_object('version', t.version)",
    homed: "here",
  },
  outbox: {
    key: "t.id",
    keyTypes: ["bigint"],
    says: "t.target_region, t.kind, t.notification_id, t.payload::text",
    about: `jsonb_build_object('targetRegion', t.target_region, 'kind', t.kind,
      'notificationId', t.notification_id)`,
  },
  tenant: {
    key: "t.tenant_id",
    keyTypes: ["text"],
    says: "t.name, array_to_string(t.failover_to, ',')",
    about: "'{}'::jsonb",
  },
  api_key: {
    key: "t.key_id",
    keyTypes: ["text"],
    says: "t.tenant_id, array_to_string(t.scopes, ','), t.revoked_at",
    about: "jsonb_build_object('tenantId', t.tenant_id, 'isRevoked', t.revoked_at is not null)",
  },
  recipient_home: {
    key: "t.tenant_id, t.recipient_id",
    keyTypes: ["text", "text"],
    says: "t.home",
    about: "jsonb_build_object('home', t.home)",
    homed: "elsewhere",
  },
  recipient_group: {
    key: "t.tenant_id, t.group_id",
    keyTypes: ["text", "text"],
    says: "t.generation, t.name, t.filter::text, t.is_deleted, t.changed_at_ms, t.changed_in",
    about: "jsonb_build_object('isDeleted', t.is_deleted)",
  },
  timer: {
    key: "t.partition, t.kind, t.key",
    keyTypes: ["int", "text", "text"],
    says: "t.id, t.tenant_id, t.payload::text", // the setting; not how often it was tried, or when again
    about: `jsonb_build_object('tenantId', t.tenant_id,
      'dueAt', to_char(t.due_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`,
    homed: "here",
  },
};

export class SqlHomeReport {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Candidates in the order of their keys. A page that is not full is the last. */
  read({ table, snapshot, after, limit, home, salt }: ReportPage): Promise<ReportRow[]> {
    const { key, keyTypes, says, about, homed } = TABLES[table];
    const from =
      after === null ? "true" : `(${key}) > (${keyTypes.map(parameterAt(3)).join(", ")})`;
    const ofHome = { here: "t.home = $2", elsewhere: "t.home <> $2", any: "$2::text is not null" };
    const text = `select array[${keyTextOf(key)}] as key, ${digestOf(says)} as digest, ${about} as about
      from ${table} t, ${NEXT}
      where ${from} and ($1::text is null or not pg_visible_in_snapshot(${FULL_XMIN}, $1::pg_snapshot))
        and ${ofHome[homed ?? "any"]}
      order by ${key} limit ${Math.trunc(limit)}`;
    return this.#pool.run("homeReport.read", async (sql) =>
      (await sql.unsafe<KeyedRow[]>(text, [snapshot, home, salt, ...(after ?? [])])).map(rowOf),
    );
  }

  /** Positions in `rows` of those that are not in this database, or are otherwise. */
  compare(comparison: ReportComparison): Promise<{ missing: number[]; different: number[] }> {
    return this.#pool.run("homeReport.compare", (sql) => compare(sql, comparison));
  }
}

async function compare(
  sql: Statements,
  { home, table, rows, salt }: ReportComparison,
): Promise<{ missing: number[]; different: number[] }> {
  const { key, keyTypes, says, homed } = TABLES[table];
  const columns = keyTypes.map((_, index) => `k${index}`);
  const wanted = keyTypes.map((type, index) => `$${index + 4}::${type}[]`).join(", ");
  const same = key.split(", ").map((column, index) => `${column} = wanted.k${index}`);
  const found = await sql.unsafe<{ ord: number; is_there: boolean }[]>(
    `select wanted.ord::int - 1 as ord, t.xmin is not null as is_there
     from unnest(${wanted}, $2::text[]) with ordinality as wanted(${columns.join(", ")}, digest, ord)
     left join ${table} t on ${same.join(" and ")} ${homed === "here" ? "and t.home = $1" : ""}
     where $1::text is not null and (t.xmin is null or ${digestOf(says)} <> wanted.digest)
     order by 1`,
    [
      home,
      rows.map((row) => row.digest),
      salt,
      ...keyTypes.map((_, index) => rows.map((row) => row.key[index] ?? "")),
    ],
  );
  return {
    missing: found.flatMap(({ ord, is_there: isThere }) => (isThere ? [] : [ord])),
    different: found.flatMap(({ ord, is_there: isThere }) => (isThere ? [ord] : [])),
  };
}

/** HM8. The salt is parameter 3, everywhere. */
function digestOf(says: string | null): string {
  if (says === null) return "coalesce(left($3::text, 0), '')";
  return `md5(concat_ws('/', $3::text, ${says}))`;
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
