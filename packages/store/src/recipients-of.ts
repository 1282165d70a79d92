// packages/store/src/recipients-of.ts
// Who is in which state of a notification, from the ledger's bits (DESIGN §5 step 7). A partition may have
// several rows of one notification, since what is put off for somebody is a row of its own.
// Plan: ledger_notification → one entry per row of the notification, as in counts.ts; then, for a page,
// recipient by (home, partition, idx).
import { COUNT_NAMES, type Counts, TERMINAL_COUNT_NAMES } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { intsOf } from "./arrays.ts";
import { type LedgerRecord, type LedgerRow, ledgerRowOf, type LedgerSets } from "./ledger-rows.ts";
import type { Statements } from "./pool.ts";

/** What a count counts, of who is in a row; or, as `pending`, who is targeted and has none of the ends. */
export type RecipientsState = Exclude<keyof Counts, "deferred"> | "pending";

/** Behind the last one of a page. */
export interface RecipientsCursor {
  readonly partition: number;
  readonly offset: number;
  readonly index: number;
}

export interface RecipientsPage {
  readonly recipientIds: readonly string[];
  /** Null: this was the last page. */
  readonly next: RecipientsCursor | null;
}

export interface RecipientsQuery {
  readonly home: string;
  readonly tenantId: string;
  readonly notificationId: string;
  readonly after: RecipientsCursor | null;
  readonly limit: number;
  readonly state: RecipientsState;
}

const ROWS_PER_READ = 16;
/** Any other set is the end of who is in it, in this row. */
const RECEIPTS: ReadonlySet<string> = new Set<string>(
  COUNT_NAMES.filter((name) => !TERMINAL_COUNT_NAMES.some((terminal) => terminal === name)),
);

/** Rows of the notification in one partition, ascending by offset. */
export async function readRowsOf(
  sql: Statements,
  place: { readonly home: string; readonly partition: number; readonly notificationId: string },
): Promise<LedgerRow[]> {
  const { home, partition, notificationId } = place;
  const rows = await selectRowsOf(sql, { home, partitions: [partition], notificationId });
  return rows.map(ledgerRowOf);
}

/** Of several partitions, ascending. Nothing but the notification's id is for an index, as in counts.ts. */
export function selectRowsOf(
  sql: Statements,
  place: {
    readonly home: string;
    readonly partitions: readonly number[];
    readonly notificationId: string;
  },
) {
  return sql<LedgerRecord[]>`
    select l.* from ledger l
    where l.notification_id = ${place.notificationId}::uuid
      and l.home is not distinct from ${place.home}
      and array_position(${intsOf(place.partitions)}::int[], l.partition::int) is not null
    order by l.partition, l.offset`;
}

/**
 * Ascending by partition, offset and index. Not one snapshot: who changes state while pages are read is
 * in one of them, in none, or, with several rows, in two.
 */
export async function readRecipients(
  sql: Statements,
  query: RecipientsQuery,
): Promise<RecipientsPage> {
  const places: RecipientsCursor[] = [];
  let at = query.after ?? { partition: -1, offset: 0, index: -1 };
  for (let isMore = true; isMore && places.length < query.limit;) {
    // oxlint-disable-next-line no-await-in-loop -- a page begins where the last one ended
    const rows = await readRows(sql, query, at);
    for (const { partition, offset, indexes } of rows) {
      const isSame = partition === at.partition && offset === at.offset;
      for (const index of indexes)
        if ((!isSame || index > at.index) && places.length < query.limit)
          places.push({ partition, offset, index });
    }
    const last = rows.at(-1);
    if (last !== undefined)
      at = { partition: last.partition, offset: last.offset, index: Infinity };
    isMore = rows.length === ROWS_PER_READ;
  }
  const next = places.length < query.limit ? null : (places.at(-1) ?? null);
  return { recipientIds: await idsOf(sql, query.home, places), next };
}

async function readRows(sql: Statements, query: RecipientsQuery, from: RecipientsCursor) {
  const { home, tenantId, notificationId } = query;
  const rows = await sql<LedgerRecord[]>`
    select l.* from notification n
    join ledger l on l.notification_id = n.id and l.home is not distinct from ${home}
    where n.id = ${notificationId}::uuid and n.tenant_id = ${tenantId}
      and (l.partition, l.offset) >= (${from.partition}::int, ${from.offset}::bigint)
    order by l.partition, l.offset limit ${ROWS_PER_READ}`;
  return rows.map(ledgerRowOf).map((row) => ({
    partition: row.partition,
    offset: row.offset,
    indexes: membersIn(row, query.state).toArray(),
  }));
}

/** In the order of the places; who is not in the directory is left out. */
async function idsOf(
  sql: Statements,
  home: string,
  places: readonly RecipientsCursor[],
): Promise<string[]> {
  if (places.length === 0) return [];
  const rows = await sql<{ recipient_id: string }[]>`
    select r.recipient_id
    from unnest(${intsOf(places.map(({ partition }) => partition))}::int[],
      ${intsOf(places.map(({ index }) => index))}::int[]) with ordinality as wanted(n, idx, place)
    join recipient r on r.home = ${home} and r.partition = wanted.n and r.idx = wanted.idx
    order by wanted.place`;
  return rows.map(({ recipient_id }) => recipient_id);
}

/** By index. */
function membersIn(row: LedgerRow, state: RecipientsState): Bitset {
  const { members, sets } = row;
  if (state === "targeted")
    return byIndex(members, sets, state).andNot(byIndex(members, sets, "moved")); // is in a later row
  if (state !== "pending") return byIndex(members, sets, state);
  const pending = byIndex(members, sets, "targeted");
  for (const name of setNamesOf(sets))
    if (!RECEIPTS.has(name)) pending.andNot(byIndex(members, sets, name));
  return pending;
}

/** With members, a bit stands for a place among them, and all of them are targeted. */
function byIndex(members: LedgerRow["members"], sets: LedgerSets, name: keyof LedgerSets): Bitset {
  const set = Bitset.fromBytes(sets[name]);
  if (members === null) return set;
  if (name === "targeted") return Bitset.of(members);
  return Bitset.of(members.filter((_, position) => set.has(position)));
}

/** The sets that hold the recipient, `targeted` too; none: the row is not meant for it. */
export function setsWith(row: LedgerRow, index: number): (keyof LedgerSets)[] {
  return setNamesOf(row.sets).filter((name) => byIndex(row.members, row.sets, name).has(index));
}

export function targetedCountOf({ members, sets }: LedgerRow): number {
  return members?.length ?? Bitset.fromBytes(sets.targeted).count();
}

function setNamesOf(sets: LedgerSets): (keyof LedgerSets)[] {
  return Object.keys(sets) as (keyof LedgerSets)[];
}
