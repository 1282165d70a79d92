// packages/store/src/directory-upsert.ts
// Storing recipients of one tenant in their home region, in one transaction.
//   ST18 A partition's indexes are dense and in order of creation, its directory version grows by
//        one with every change: both are dealt out under its row's lock. Locks in order of n (ST13).
//   ST19 What is stored already as given is not written again: importing the same file every night
//        changes no version and wakes no owner.
//   ST20 A home that is settled stays: a claim adds what is missing and reads what is there.
//   ST7  Other regions are told of new ids by the outbox, in the transaction that created them.
// Round trips: begin; lock and compare; write; commit. Two look-ups and four writes, pipelined.
import { type HomesBatch, partitionOf, type RecipientChange } from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
import { rejected } from "./faults.ts";
import type { Statements } from "./pool.ts";
import { unstorableFieldOf } from "./text.ts";

export interface UpsertRequest {
  readonly home: string;
  readonly tenantId: string;
  /** At most a few thousand; a repeated id counts again, and its last change stays. */
  readonly changes: readonly RecipientChange[];
  /** The configured regions but this home: they learn the new ids. */
  readonly otherRegions: readonly string[];
}

export interface UpsertResult {
  readonly created: number;
  readonly updated: number; // those that were stored as given already are counted too
  /** [partition, directoryVersion] of those that changed, ascending: what a poke carries. */
  readonly partitions: [number, number][];
}

interface Head {
  n: number;
  next_index: number;
  directory_version: number;
}
interface Known {
  recipient_id: string;
  idx: number;
  is_same: boolean;
}
interface Write {
  readonly change: RecipientChange;
  readonly partition: number;
  readonly index: number;
  readonly isNew: boolean;
}

/** Errors: Fault `store_rejected` for text that Postgres cannot keep, with its field. */
export async function upsertRecipients(
  sql: Statements,
  request: UpsertRequest,
): Promise<UpsertResult> {
  const field = unstorableFieldOf(request.changes, "changes");
  if (field !== undefined)
    throw rejected("directory.upsert", `${field} holds NUL or half a surrogate pair`);
  const changes = new Map(request.changes.map((change) => [change.recipientId, change]));
  const { heads, known } = await lockAndCompare(sql, request, [...changes.values()]);
  const writes = planWrites(request.tenantId, changes, heads, known);
  const partitions = [...new Set(writes.map(({ partition }) => partition))].toSorted(
    (left, right) => left - right,
  );
  for (const n of partitions) {
    const head = heads.get(n);
    if (head !== undefined) head.directory_version++;
  }
  if (writes.length > 0) await write(sql, request, { writes, partitions, heads });
  const created = writes.filter(({ isNew }) => isNew).length;
  return {
    created,
    updated: request.changes.length - created,
    partitions: partitions.map((n) => [n, heads.get(n)?.directory_version ?? 0]),
  };
}

async function lockAndCompare(
  sql: Statements,
  { home, tenantId }: UpsertRequest,
  changes: readonly RecipientChange[],
): Promise<{ heads: Map<number, Head>; known: Map<string, Known> }> {
  const partitions = new Set(changes.map((change) => partitionOf(tenantId, change.recipientId)));
  const [heads, known] = await Promise.all([
    sql<Head[]>`
      select n, next_index, directory_version from partition
      where home = ${home} and n = any(${intsOf([...partitions])}::int[])
      order by n for no key update`,
    // Runs after the locks were got, so it sees what the holders before us committed.
    sql<Known[]>`
      select r.recipient_id, r.idx, r.locale is not distinct from wanted.locale
        and r.time_zone is not distinct from wanted.time_zone
        and r.attributes = wanted.attributes::jsonb as is_same
      from unnest(${changes.map((change) => change.recipientId)}::text[],
        ${changes.map((change) => change.locale)}::text[],
        ${changes.map((change) => change.timeZone)}::text[],
        ${changes.map((change) => JSON.stringify(change.attributes))}::text[])
        as wanted(recipient_id, locale, time_zone, attributes)
      join recipient r on r.tenant_id = ${tenantId} and r.recipient_id = wanted.recipient_id`,
  ]);
  if (heads.length !== partitions.size)
    throw rejected("directory.upsert", `home ${home} has no partitions in this database`);
  return {
    heads: new Map(heads.map((head) => [head.n, head])),
    known: new Map(known.map((row) => [row.recipient_id, row])),
  };
}

/** New ones get the next index of their partition; `heads` moves along. */
function planWrites(
  tenantId: string,
  changes: ReadonlyMap<string, RecipientChange>,
  heads: ReadonlyMap<number, Head>,
  known: ReadonlyMap<string, Known>,
): Write[] {
  const writes: Write[] = [];
  for (const change of changes.values()) {
    const partition = partitionOf(tenantId, change.recipientId);
    const head = heads.get(partition);
    const row = known.get(change.recipientId);
    if (head === undefined || row?.is_same === true) continue;
    const index = row?.idx ?? head.next_index++;
    writes.push({ change, partition, index, isNew: row === undefined });
  }
  return writes;
}

async function write(
  sql: Statements,
  { home, tenantId, otherRegions }: UpsertRequest,
  plan: { writes: readonly Write[]; partitions: readonly number[]; heads: Map<number, Head> },
): Promise<void> {
  const { writes, partitions, heads } = plan;
  const newIds = writes.flatMap(({ change, isNew }) => (isNew ? change.recipientId : []));
  const homes: HomesBatch = { from: home, tenants: [{ tenantId, recipientIds: newIds }] };
  const headsOf = (name: "next_index" | "directory_version") =>
    intsOf(partitions.map((n) => heads.get(n)?.[name] ?? 0));
  await Promise.all([
    sql`
      insert into recipient (home, partition, idx, tenant_id, recipient_id, locale, time_zone,
        attributes, version)
      select ${home}, w.partition, w.idx, ${tenantId}, w.recipient_id, w.locale, w.time_zone,
        w.attributes::jsonb, w.version
      from unnest(${intsOf(writes.map(({ partition }) => partition))}::int[],
        ${intsOf(writes.map(({ index }) => index))}::int[],
        ${writes.map(({ change }) => change.recipientId)}::text[],
        ${writes.map(({ change }) => change.locale)}::text[],
        ${writes.map(({ change }) => change.timeZone)}::text[],
        ${writes.map(({ change }) => JSON.stringify(change.attributes))}::text[],
        ${intsOf(writes.map(({ partition }) => heads.get(partition)?.directory_version ?? 0))}::bigint[])
        as w(partition, idx, recipient_id, locale, time_zone, attributes, version)
      on conflict (tenant_id, recipient_id) do update set locale = excluded.locale,
        time_zone = excluded.time_zone, attributes = excluded.attributes,
        version = excluded.version, updated_at = now()`,
    sql`
      update partition p set next_index = v.next_index, directory_version = v.directory_version
      from unnest(${intsOf(partitions)}::int[], ${headsOf("next_index")}::int[],
        ${headsOf("directory_version")}::bigint[]) as v(n, next_index, directory_version)
      where p.home = ${home} and p.n = v.n`,
    ...(newIds.length === 0
      ? []
      : [
          learnHomes(sql, homes),
          sql`
            insert into outbox (target_region, kind, payload, next_attempt_at)
            select region, 'homes', ${JSON.stringify(homes)}::text::jsonb, now()
            from unnest(${otherRegions}::text[]) as region`,
        ]),
  ]);
}

/**
 * Notes where recipients live; returns how many were noted elsewhere before. Homes are claimed before
 * they are told (ADR 0009), so that is none, but for claims that were lost: then the home whose name
 * sorts first wins, in every region.
 */
export async function learnHomes(sql: Statements, batch: HomesBatch): Promise<number> {
  const pairs = batch.tenants.flatMap(({ tenantId, recipientIds }) =>
    recipientIds.map((recipientId) => ({ tenantId, recipientId })),
  );
  if (pairs.length === 0) return 0;
  const [row] = await sql<{ conflict_count: number }[]>`
    with wanted as materialized (
      select distinct tenant_id collate "C" as tenant_id, recipient_id collate "C" as recipient_id
      from unnest(${pairs.map(({ tenantId }) => tenantId)}::text[],
        ${pairs.map(({ recipientId }) => recipientId)}::text[]) as w(tenant_id, recipient_id)
    ), learned as (
      insert into recipient_home (tenant_id, recipient_id, home)
      select tenant_id, recipient_id, ${batch.from} from wanted order by 1, 2
      on conflict (tenant_id, recipient_id) do update set home = excluded.home
      where recipient_home.home > excluded.home
    )
    select count(*) as conflict_count from wanted
    join recipient_home known using (tenant_id, recipient_id) where known.home <> ${batch.from}`;
  return row?.conflict_count ?? 0;
}

/** First come, first served (ST20, ADR 0009). The read sees what the claims before us have committed. */
export async function claimHomes(
  sql: Statements,
  tenantId: string,
  wishes: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const ids = [...wishes.keys()];
  const field = unstorableFieldOf(ids, "recipientIds");
  if (field !== undefined)
    throw rejected("directory.claimHomes", `${field} holds NUL or half a surrogate pair`);
  const [, rows] = await Promise.all([
    sql`
      insert into recipient_home (tenant_id, recipient_id, home)
      select ${tenantId}, w.recipient_id, w.home
      from unnest(${ids}::text[], ${[...wishes.values()]}::text[]) as w(recipient_id, home)
      order by w.recipient_id collate "C" on conflict (tenant_id, recipient_id) do nothing`,
    sql<{ recipient_id: string; home: string }[]>`
      select recipient_id, home from recipient_home
      where tenant_id = ${tenantId} and recipient_id = any(${ids}::text[])`,
  ]);
  return new Map(rows.map(({ recipient_id, home }) => [recipient_id, home]));
}
