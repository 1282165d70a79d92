// packages/store/src/templates.ts
// Templates: every version of them, as regions keep them alike (ADR 0025). Groups are kept in the same way:
// groups.ts.
//   ST51 Of two records of one version the later stays, in whatever order regions hear of them, and what was
//        changed last is what a template is: all end with the same. A change made here is later than all
//        that is known here.
//   ST52 What is stored again as it is makes no version; of older versions a limited number is kept.
import {
  type HomesBatch,
  LIMITS,
  type TemplateDefinition,
  type TemplateRecord,
  type TemplateSummary,
} from "@carillon/contracts";
import { rejected } from "./faults.ts";
import type { Pool, Statements } from "./pool.ts";
import { unstorableFieldOf } from "./text.ts";

export interface TemplateChange {
  readonly tenantId: string;
  readonly templateId: string;
  /** Undefined: it is deleted, by a version that says so. */
  readonly definition: TemplateDefinition | undefined;
  readonly nowMs: number;
  readonly region: string;
  /** The configured regions but this one: the outbox tells them. */
  readonly otherRegions: readonly string[];
}

export interface ChangedTemplate {
  readonly record: TemplateRecord;
  readonly isCreated: boolean;
  /** False: it was so already. */
  readonly isChanged: boolean;
}

/** A version without what it says. Two with the same stamp are the same. */
export interface TemplateStamp {
  readonly version: number;
  readonly isDeleted: boolean; // by this version
  readonly changedAtMs: number;
  readonly changedIn: string;
}

export interface TemplatesKnown {
  /** What the template is. */
  readonly newest: TemplateStamp | undefined;
  /** The version asked for. */
  readonly asked: TemplateStamp | undefined;
}

type TenantTemplates = Pick<HomesBatch["tenants"][number], "tenantId" | "templates">;

/** Of `template t`. */
const TEMPLATE_COLUMNS = `t.template_id as "templateId", t.version, t.definition,
  t.changed_at_ms as "changedAtMs", t.changed_in as "changedIn"`;
/** Any constant that no other lock of two numbers begins with: see migrate.ts. */
const LOCK_SPACE = 0x7465_6d70; // "temp"

export class SqlTemplates {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** `version` null: only the newest is asked for. Small: what a POST asks (an index scan of one id). */
  find(tenantId: string, templateId: string, version: number | null): Promise<TemplatesKnown> {
    return this.#pool.run("templates.find", async (sql) => {
      const rows = await sql<(TemplateStamp & { isNewest: boolean })[]>`
        select * from (
          select t.version, t.definition is null as "isDeleted", t.changed_at_ms as "changedAtMs",
            t.changed_in as "changedIn",
            row_number() over (order by t.changed_at_ms desc, t.changed_in desc) = 1 as "isNewest"
          from template t where t.tenant_id = ${tenantId} and t.template_id = ${templateId}
        ) known where "isNewest" or version = ${version}::int`;
      const [newest] = rows.filter(({ isNewest }) => isNewest).map(stampOf);
      if (version === null) return { newest, asked: newest };
      return { newest, asked: rows.filter((row) => row.version === version).map(stampOf)[0] };
    });
  }

  /** Whole; undefined: not known here. */
  read(tenantId: string, templateId: string, version: number): Promise<TemplateRecord | undefined> {
    return this.#pool.run("templates.read", async (sql) => {
      const [record] = await sql<TemplateRecord[]>`
        select ${sql.unsafe(TEMPLATE_COLUMNS)} from template t
        where t.tenant_id = ${tenantId} and t.template_id = ${templateId}
          and t.version = ${version}`;
      return record;
    });
  }

  /** Those that exist, by id, after `afterId`. As known here: other regions tell theirs. */
  list(
    tenantId: string,
    page: { readonly afterId: string; readonly limitCount: number },
  ): Promise<TemplateSummary[]> {
    return this.#pool.run("templates.list", async (sql) => {
      const rows = await sql<{ templateId: string; version: number; changedAtMs: number }[]>`
        select "templateId", version, "changedAtMs" from (
          select distinct on (t.template_id) t.template_id as "templateId", t.version,
            t.changed_at_ms as "changedAtMs", t.definition is null as is_deleted
          from template t where t.tenant_id = ${tenantId} and t.template_id > ${page.afterId}
          order by t.template_id, t.changed_at_ms desc, t.changed_in desc
        ) newest where not is_deleted order by "templateId" limit ${page.limitCount}`;
      return rows.map(({ templateId, version, changedAtMs }) => ({
        templateId,
        version,
        updatedAt: new Date(changedAtMs).toISOString(),
      }));
    });
  }

  /** Undefined: there is nothing to delete. Committed with what tells the other regions. */
  change(change: TemplateChange): Promise<ChangedTemplate | undefined> {
    return this.#pool.transaction("templates.change", (sql) => changeTemplate(sql, change));
  }

  /** What other regions told. Repeats change nothing. */
  async learn(tenants: readonly TenantTemplates[]): Promise<void> {
    const records = tenants.flatMap(({ tenantId, templates = [] }) =>
      templates.map((record) => ({ tenantId, ...record })),
    );
    if (records.length === 0) return;
    await this.#pool.transaction("templates.learn", (sql) => learnTemplates(sql, records));
  }
}

function stampOf({ version, isDeleted, changedAtMs, changedIn }: TemplateStamp): TemplateStamp {
  return { version, isDeleted, changedAtMs, changedIn };
}

async function readNewest(
  sql: Statements,
  tenantId: string,
  templateId: string,
): Promise<TemplateRecord | undefined> {
  const [newest] = await sql<TemplateRecord[]>`
    select ${sql.unsafe(TEMPLATE_COLUMNS)} from template t
    where t.tenant_id = ${tenantId} and t.template_id = ${templateId}
    order by t.changed_at_ms desc, t.changed_in desc limit 1`;
  return newest;
}

async function changeTemplate(
  sql: Statements,
  change: TemplateChange,
): Promise<ChangedTemplate | undefined> {
  const { tenantId, templateId, definition, nowMs, region, otherRegions } = change;
  const field = unstorableFieldOf({ templateId, definition }, "template");
  if (field !== undefined)
    throw rejected("templates.change", `${field} holds NUL or half a surrogate pair`);
  await lockTemplates(sql, [{ tenantId, templateId }]);
  const [before] = await sql<{ version: number; isDeleted: boolean; isSame: boolean }[]>`
    select t.version, t.definition is null as "isDeleted",
      coalesce(t.definition = ${JSON.stringify(definition ?? null)}::text::jsonb, false) as "isSame"
    from template t where t.tenant_id = ${tenantId} and t.template_id = ${templateId}
    order by t.changed_at_ms desc, t.changed_in desc limit 1`;
  const isThere = before?.isDeleted === false;
  if (definition === undefined && !isThere) return undefined;
  if (before?.isSame === true) {
    const record = await readNewest(sql, tenantId, templateId);
    if (record === undefined) throw rejected("templates.change", "a template has gone meanwhile");
    return { record, isCreated: false, isChanged: false };
  }
  const text = definition === undefined ? null : JSON.stringify(definition);
  const [record] = await sql<TemplateRecord[]>`
    insert into template as t (tenant_id, template_id, version, definition, changed_at_ms, changed_in)
    select ${tenantId}, ${templateId}, coalesce(max(k.version), 0) + 1, ${text}::text::jsonb,
      greatest(${nowMs}::bigint, coalesce(max(k.changed_at_ms), 0) + 1), ${region}
    from template k where k.tenant_id = ${tenantId} and k.template_id = ${templateId}
    returning ${sql.unsafe(TEMPLATE_COLUMNS)}`;
  if (record === undefined) throw rejected("templates.change", "an insert has returned nothing");
  await sql`
    delete from template where tenant_id = ${tenantId} and template_id = ${templateId}
      and version <= ${record.version - LIMITS.templateVersionsKept}`;
  await tellOthers(sql, { tenantId, record, region, otherRegions });
  return { record, isCreated: !isThere, isChanged: true };
}

/**
 * One change of a template at a time, told or made: there may be no row yet that both could lock, and two
 * must not make the same version. In one order by everybody (ST13).
 */
async function lockTemplates(
  sql: Statements,
  templates: readonly { readonly tenantId: string; readonly templateId: string }[],
): Promise<void> {
  const names = templates.map(({ tenantId, templateId }) => `${tenantId}/${templateId}`);
  await sql`
    select pg_advisory_xact_lock(${LOCK_SPACE}::int, hash) from (
      select distinct hashtext(name) as hash from unnest(${names}::text[]) as name order by 1
    ) as locks`;
}

async function tellOthers(
  sql: Statements,
  what: { readonly record: TemplateRecord } & Pick<
    TemplateChange,
    "tenantId" | "region" | "otherRegions"
  >,
): Promise<void> {
  const { tenantId, record, region, otherRegions } = what;
  const told: HomesBatch = {
    from: region,
    tenants: [{ tenantId, recipientIds: [], templates: [record] }],
  };
  await sql`
    insert into outbox (target_region, kind, payload, next_attempt_at)
    select region, 'homes', ${JSON.stringify(told)}::text::jsonb, now()
    from unnest(${otherRegions}::text[]) as region`;
}

async function learnTemplates(
  sql: Statements,
  records: readonly (TemplateRecord & { readonly tenantId: string })[],
): Promise<void> {
  await lockTemplates(sql, records);
  await sql`
    insert into template as t (tenant_id, template_id, version, definition, changed_at_ms, changed_in)
    select distinct on ("tenantId" collate "C", "templateId" collate "C", version)
      "tenantId", "templateId", version, nullif(definition, 'null'::jsonb), "changedAtMs", "changedIn"
    from jsonb_to_recordset(${JSON.stringify(records)}::text::jsonb) as told("tenantId" text,
      "templateId" text, version int, definition jsonb, "changedAtMs" bigint, "changedIn" text)
    order by "tenantId" collate "C", "templateId" collate "C", version, "changedAtMs" desc,
      "changedIn" collate "C" desc
    on conflict (tenant_id, template_id, version) do update set definition = excluded.definition,
      changed_at_ms = excluded.changed_at_ms, changed_in = excluded.changed_in
    where (excluded.changed_at_ms, excluded.changed_in) > (t.changed_at_ms, t.changed_in)`;
}
