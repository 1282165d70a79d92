// packages/store/src/group-members.ts
// Who of this home is in a static group: tags in the recipients' rows, changed in one transaction.
//   ST29 A change of members takes the next directory version of each partition, under its row's lock
//        (ADR 0005); who is in the group, or not, already is not written. Locks in order of n (ST13).
// Tags of groups that are known to be deleted go with the next change of the recipient's groups.
import {
  groupIdOfTag,
  type GroupRecord,
  isDeadTag,
  LIMITS,
  partitionOf,
} from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
import { rejected } from "./faults.ts";
import { findGroups } from "./group-records.ts";
import type { Statements } from "./pool.ts";
import { unstorableFieldOf } from "./text.ts";

export interface MembersRequest {
  readonly home: string;
  readonly tenantId: string;
  readonly tag: string; // groupTagOf
  /** At most a few thousand. */
  readonly recipientIds: readonly string[];
  readonly isMember: boolean; // from now on
}

export interface MembersResult {
  readonly changed: number;
  readonly unchanged: number;
  readonly missing: string[]; // no such recipient here
  /** In `groupsPerRecipientMax` groups already. */
  readonly full: string[];
  /** [partition, directoryVersion] of those that changed, ascending: what a poke carries. */
  readonly partitions: [number, number][];
}

interface Member {
  recipient_id: string;
  partition: number;
  groups: string[];
}

export function withoutMembers(): MembersResult {
  return { changed: 0, unchanged: 0, missing: [], full: [], partitions: [] };
}

/** Errors: Fault `store_rejected` for text that Postgres cannot keep, with its field. */
export async function setMembers(sql: Statements, request: MembersRequest): Promise<MembersResult> {
  const { home, tenantId, tag, isMember } = request;
  const field = unstorableFieldOf([tag, ...request.recipientIds], "recipients");
  if (field !== undefined)
    throw rejected("groups.setMembers", `${field} holds NUL or half a surrogate pair`);
  const ids = [...new Set(request.recipientIds)];
  const numbers = [...new Set(ids.map((id) => partitionOf(tenantId, id)))];
  const [heads, rows] = await Promise.all([
    sql<{ n: number; directory_version: number }[]>`
      select n, directory_version from partition
      where home = ${home} and n = any(${intsOf(numbers)}::int[])
      order by n for no key update`,
    // Runs after the locks were got, so it sees what the holders before us committed.
    sql<Member[]>`
      select r.recipient_id, r.partition, r.groups
      from unnest(${ids}::text[]) as wanted(recipient_id)
      join recipient r on r.tenant_id = ${tenantId} and r.recipient_id = wanted.recipient_id
      where r.home || '' = ${home}`, // by the primary key: see accept-audience.ts
  ]);
  const known = await findGroups(sql, tenantId, idsIn(rows));
  const changes = rows.flatMap((row) => {
    const groups =
      row.groups.includes(tag) === isMember ? undefined : groupsAfter(row, request, known);
    return groups === undefined ? [] : [{ ...row, groups }];
  });
  const full = changes.filter(({ groups }) => groups.length > LIMITS.groupsPerRecipientMax);
  const writes = changes.filter((change) => !full.includes(change));
  const changedPartitions = new Set(writes.map(({ partition }) => partition));
  const partitions = heads
    .filter(({ n }) => changedPartitions.has(n))
    .map(({ n, directory_version: version }): [number, number] => [n, version + 1]);
  if (writes.length > 0) await write(sql, request, { writes, partitions });
  const found = new Set(rows.map((row) => row.recipient_id));
  return {
    changed: writes.length,
    unchanged: rows.length - changes.length,
    missing: ids.filter((id) => !found.has(id)),
    full: full.map((change) => change.recipient_id),
    partitions,
  };
}

function groupsAfter(
  { groups }: Member,
  { tag, isMember }: MembersRequest,
  known: ReadonlyMap<string, GroupRecord>,
): string[] {
  const kept = groups.filter((one) => one !== tag && !isDeadTag(one, known.get(groupIdOfTag(one))));
  return isMember ? [...kept, tag].toSorted() : kept;
}

function idsIn(rows: readonly Member[]): string[] {
  return [...new Set(rows.flatMap(({ groups }) => groups.map(groupIdOfTag)))];
}

async function write(
  sql: Statements,
  { home, tenantId }: MembersRequest,
  plan: { readonly writes: readonly Member[]; readonly partitions: readonly [number, number][] },
): Promise<void> {
  const { writes } = plan;
  const versions = new Map(plan.partitions);
  await Promise.all([
    sql`
      update recipient r set version = w.version, updated_at = now(),
        groups = array(select jsonb_array_elements_text(w.groups::jsonb))
      from unnest(${writes.map((row) => row.recipient_id)}::text[],
        ${writes.map(({ groups }) => JSON.stringify(groups))}::text[],
        ${intsOf(writes.map(({ partition }) => versions.get(partition) ?? 0))}::bigint[])
        as w(recipient_id, groups, version)
      where r.tenant_id = ${tenantId} and r.recipient_id = w.recipient_id`,
    sql`
      update partition p set directory_version = v.directory_version
      from unnest(${intsOf([...versions.keys()])}::int[], ${intsOf([...versions.values()])}::bigint[])
        as v(n, directory_version)
      where p.home = ${home} and p.n = v.n`,
  ]);
}
