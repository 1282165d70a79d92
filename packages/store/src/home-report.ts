// packages/store/src/home-report.ts
// What a fenced database holds that the one which took over does not (ADR 0015): read here by key, in
// pages, as digests; compared there. Whether a row is really missing is decided by the comparison alone: the
// snapshot that limits the candidates only saves work.
//   HM5  The report names every row that the new database lacks, and none that it has.
//   HM8  Digests are salted anew for each report, so that nobody looks them up in a table, and hold
//        nothing of an API key's secret.
// HM9, people: home-report-people.ts.
import type { ReportRow, ReportTable } from "@carillon/contracts";
import {
  IS_CANDIDATE,
  NEXT_XID,
  type ReportComparison,
  type ReportDifference,
  type ReportPage,
} from "./home-report-page.ts";
import { comparePeople, readPeople } from "./home-report-people.ts";
import type { Pool, Statements } from "./pool.ts";

interface KeyedRow {
  key: string[];
  digest: string;
  about: ReportRow["about"];
}

interface TableSpec {
  /** In the order of an index. */
  readonly key: string;
  readonly keyTypes: readonly string[];
  /** What the row says, not when it was touched; null: it never changes. */
  readonly says: string | null;
  readonly about: string;
  /** Rows of this home only, or of the others only. */
  readonly homed?: "here" | "elsewhere";
  /** Which rows to read; what it leaves out is compared as something else. */
  readonly where?: string;
}

const TABLES: Readonly<Record<Exclude<ReportTable, "people">, TableSpec>> = {
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
    where: "t.notification_id is null", // those that stand for ledger rows are compared by people
  },
  tenant_policy: {
    key: "t.tenant_id",
    keyTypes: ["text"],
    says: "t.policy::text, t.changed_at_ms, t.changed_in",
    about: "'{}'::jsonb",
  },
  template: {
    key: "t.tenant_id, t.template_id, t.version",
    keyTypes: ["text", "text", "int"],
    says: "t.definition::text, t.changed_at_ms, t.changed_in",
    about: "jsonb_build_object('isDeleted', t.definition is null)",
  },
  notification_control: {
    key: "t.notification_id",
    keyTypes: ["uuid"],
    says: "t.tenant_id, t.state, t.changed_at_ms, t.changed_in",
    about: "jsonb_build_object('tenantId', t.tenant_id, 'state', t.state)",
  },
  notification_rate: {
    key: "t.notification_id",
    keyTypes: ["uuid"],
    says: "t.tenant_id, t.rate_per_minute, t.targeted_count, t.changed_at_ms, t.changed_in",
    about: "jsonb_build_object('tenantId', t.tenant_id, 'ratePerMinute', t.rate_per_minute)",
  },
};

export class SqlHomeReport {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Candidates in the order of their keys. A page that is not full is the last. */
  read(page: ReportPage): Promise<ReportRow[]> {
    return this.#pool.run("homeReport.read", (sql) =>
      page.table === "people" ? readPeople(sql, page) : readRows(sql, TABLES[page.table], page),
    );
  }

  /** Of `rows` those that are not in this database, or are otherwise. */
  compare(comparison: ReportComparison): Promise<ReportDifference> {
    return this.#pool.run("homeReport.compare", (sql) =>
      comparison.table === "people"
        ? comparePeople(sql, comparison)
        : compareRows(sql, TABLES[comparison.table], comparison),
    );
  }
}

async function readRows(
  sql: Statements,
  { key, keyTypes, says, about, homed, where = "true" }: TableSpec,
  { table, snapshot, after, limit, home, salt }: ReportPage,
): Promise<ReportRow[]> {
  const from = after === null ? "true" : `(${key}) > (${keyTypes.map(parameterAt(3)).join(", ")})`;
  const ofHome = { here: "t.home = $2", elsewhere: "t.home <> $2", any: "$2::text is not null" };
  const text = `select array[${keyTextOf(key)}] as key, ${digestOf(says)} as digest, ${about} as about
    from ${table} t, ${NEXT_XID}
    where ${from} and ${IS_CANDIDATE} and ${where} and ${ofHome[homed ?? "any"]}
    order by ${key} limit ${Math.trunc(limit)}`;
  return (await sql.unsafe<KeyedRow[]>(text, [snapshot, home, salt, ...(after ?? [])])).map(rowOf);
}

async function compareRows(
  sql: Statements,
  { key, keyTypes, says, homed }: TableSpec,
  { home, table, rows, salt }: ReportComparison,
): Promise<ReportDifference> {
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
