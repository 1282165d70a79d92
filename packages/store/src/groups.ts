// packages/store/src/groups.ts
// What groups are: a register of definitions that regions keep alike (ADR 0021). Their members stand
// in the rows of recipients: group-members.ts.
//   ST28 Of two records of a group the newer stays, in whatever order regions hear of them: all end
//        with the same one. A change made here is newer than all that is known here.
import type { GroupRecord, GroupRequest, HomesBatch } from "@carillon/contracts";
import { rejected } from "./faults.ts";
import {
  type MembersRequest,
  type MembersResult,
  setMembers,
  withoutMembers,
} from "./group-members.ts";
import { findGroups, GROUP_COLUMNS } from "./group-records.ts";
import type { Pool, Statements } from "./pool.ts";
import { unstorableFieldOf } from "./text.ts";

export interface GroupChange {
  readonly tenantId: string;
  readonly groupId: string;
  /** Undefined: it is deleted. */
  readonly definition: GroupRequest | undefined;
  readonly nowMs: number;
  readonly region: string;
  /** The configured regions but this one: the outbox tells them. */
  readonly otherRegions: readonly string[];
}

export interface ChangedGroup {
  readonly record: GroupRecord;
  readonly isCreated: boolean;
}

type TenantGroups = Pick<HomesBatch["tenants"][number], "tenantId" | "groups">;

export class SqlGroups {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Those that are known here, deleted ones too, by id. */
  find(tenantId: string, groupIds: readonly string[]): Promise<Map<string, GroupRecord>> {
    return this.#pool.run("groups.find", (sql) => findGroups(sql, tenantId, groupIds));
  }

  /** Undefined: there is nothing to delete. Committed with what tells the other regions. */
  change(change: GroupChange): Promise<ChangedGroup | undefined> {
    return this.#pool.transaction("groups.change", (sql) => changeGroup(sql, change));
  }

  /** What other regions told: the newer one stays. Repeats change nothing. */
  async learn(tenants: readonly TenantGroups[]): Promise<void> {
    const records = tenants.flatMap(({ tenantId, groups = [] }) =>
      groups.map((record) => ({ tenantId, record })),
    );
    if (records.length === 0) return;
    await this.#pool.run("groups.learn", (sql) => learnGroups(sql, records));
  }

  /** Of this home's own people. Repeats change nothing and wake no owner. */
  setMembers(request: MembersRequest): Promise<MembersResult> {
    if (request.recipientIds.length === 0) return Promise.resolve(withoutMembers());
    return this.#pool.transaction("groups.setMembers", (sql) => setMembers(sql, request));
  }
}

async function changeGroup(
  sql: Statements,
  change: GroupChange,
): Promise<ChangedGroup | undefined> {
  const { tenantId, groupId, definition, nowMs, region, otherRegions } = change;
  const field = unstorableFieldOf({ groupId, definition }, "group");
  if (field !== undefined)
    throw rejected("groups.change", `${field} holds NUL or half a surrogate pair`);
  const [before] = await sql<{ isDeleted: boolean }[]>`
    select is_deleted as "isDeleted" from recipient_group
    where tenant_id = ${tenantId} and group_id = ${groupId} for no key update`;
  const isThere = before?.isDeleted === false;
  if (definition === undefined && !isThere) return undefined;
  const filter = definition?.filter === undefined ? null : JSON.stringify(definition.filter);
  const [record] = await sql<GroupRecord[]>`
    insert into recipient_group as g (tenant_id, group_id, generation, name, filter, is_deleted,
      changed_at_ms, changed_in)
    values (${tenantId}, ${groupId}, 0, ${definition?.name ?? null}, ${filter}::text::jsonb,
      ${definition === undefined}, ${nowMs}::bigint, ${region})
    on conflict (tenant_id, group_id) do update set
      generation = g.generation + (g.is_deleted and not excluded.is_deleted)::int,
      name = excluded.name, filter = excluded.filter, is_deleted = excluded.is_deleted,
      changed_at_ms = greatest(excluded.changed_at_ms, g.changed_at_ms + 1),
      changed_in = excluded.changed_in
    returning ${sql.unsafe(GROUP_COLUMNS)}`;
  if (record === undefined) throw rejected("groups.change", "an insert has returned nothing");
  const told: HomesBatch = {
    from: region,
    tenants: [{ tenantId, recipientIds: [], groups: [record] }],
  };
  await sql`
    insert into outbox (target_region, kind, payload, next_attempt_at)
    select region, 'homes', ${JSON.stringify(told)}::text::jsonb, now()
    from unnest(${otherRegions}::text[]) as region`;
  return { record, isCreated: !isThere };
}

async function learnGroups(
  sql: Statements,
  records: readonly { readonly tenantId: string; readonly record: GroupRecord }[],
): Promise<void> {
  const rows = JSON.stringify(records.map(({ tenantId, record }) => ({ tenantId, ...record })));
  await sql`
    insert into recipient_group as g (tenant_id, group_id, generation, name, filter, is_deleted,
      changed_at_ms, changed_in)
    select distinct on ("tenantId" collate "C", "groupId" collate "C")
      "tenantId", "groupId", generation, name, nullif(filter, 'null'::jsonb), "isDeleted",
      "changedAtMs", "changedIn"
    from jsonb_to_recordset(${rows}::text::jsonb) as told("tenantId" text, "groupId" text,
      generation int, name text, filter jsonb, "isDeleted" boolean, "changedAtMs" bigint,
      "changedIn" text)
    order by "tenantId" collate "C", "groupId" collate "C", generation desc, "changedAtMs" desc,
      "changedIn" collate "C" desc
    on conflict (tenant_id, group_id) do update set generation = excluded.generation,
      name = excluded.name, filter = excluded.filter, is_deleted = excluded.is_deleted,
      changed_at_ms = excluded.changed_at_ms, changed_in = excluded.changed_in
    where (excluded.generation, excluded.changed_at_ms, excluded.changed_in)
      > (g.generation, g.changed_at_ms, g.changed_in)`;
}
