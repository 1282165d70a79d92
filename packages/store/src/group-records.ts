// packages/store/src/group-records.ts
// A group's definition as table `recipient_group` keeps it.
import type { GroupRecord } from "@carillon/contracts";
import type { Statements } from "./pool.ts";

/** Of `recipient_group g`. */
export const GROUP_COLUMNS = `g.group_id as "groupId", g.generation, g.name, g.filter,
  g.is_deleted as "isDeleted", g.changed_at_ms as "changedAtMs", g.changed_in as "changedIn"`;

/** Those that are known here, deleted ones too, by id. */
export async function findGroups(
  sql: Statements,
  tenantId: string,
  groupIds: readonly string[],
): Promise<Map<string, GroupRecord>> {
  const rows = await sql<GroupRecord[]>`
    select ${sql.unsafe(GROUP_COLUMNS)} from recipient_group g
    where g.tenant_id = ${tenantId} and g.group_id = any(${groupIds}::text[])`;
  return new Map(rows.map((record) => [record.groupId, record]));
}
