// packages/store/src/recipients-of.ts
// Who is in which state of a notification, from the ledger's bits (DESIGN §5 step 7) and from what waits. A
// partition may have several rows of one notification, since what is put off for somebody is a row of its own.
//   ST44 A list holds who is in its state, wherever he is: in any row, or waiting for a later time. Pages are in the
//        order of partition and index, which no move changes: whoever is in the state from the first page to the
//        last is in one of them, once. So many are listed as the status counts.
// Plan: ledger_notification of each part and timer_row → the next partitions; then, for each of them, both again as
// in counts.ts; then, for a page, recipient by (home, partition, idx).
import {
  COUNT_NAMES,
  type Counts,
  deferredMembersOf,
  type DeferredPayload,
  TERMINAL_COUNT_NAMES,
} from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";
import { intsOf } from "./arrays.ts";
import {
  type LedgerRecord,
  type LedgerRow,
  ledgerRowOf,
  type LedgerSets,
  setByIndex,
} from "./ledger-rows.ts";
import type { Statements } from "./pool.ts";

/** What a count counts; or, as `pending`, who is targeted and has none of the ends. */
export type RecipientsState = keyof Counts | "pending";

/** Behind the last one of a page. */
export interface RecipientsCursor {
  readonly partition: number;
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

/** With all their rows: a set of each state is some hundred bytes. */
const PARTITIONS_PER_READ = 16;
/** Any other set is the end of who is in it, in this row. */
const RECEIPTS: ReadonlySet<string> = new Set<string>(
  COUNT_NAMES.filter((name) => !TERMINAL_COUNT_NAMES.some((terminal) => terminal === name)),
);
/** States of those who wait for a later time. */
const OF_WAITING: ReadonlySet<RecipientsState> = new Set(["deferred", "targeted", "pending"]);

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

/** ST44. Ascending by partition and index. */
export async function readRecipients(
  sql: Statements,
  query: RecipientsQuery,
): Promise<RecipientsPage> {
  const places: RecipientsCursor[] = [];
  let at = query.after ?? { partition: 0, index: -1 };
  for (let isMore = true; isMore && places.length < query.limit;) {
    // oxlint-disable-next-line no-await-in-loop -- a page begins where the last one ended
    const found = await readPartitions(sql, query, at.partition);
    for (const [partition, members] of found)
      for (const index of members.toArray())
        if ((partition !== at.partition || index > at.index) && places.length < query.limit)
          places.push({ partition, index });
    isMore = found.size === PARTITIONS_PER_READ;
    at = { partition: Math.max(at.partition, ...found.keys()) + 1, index: -1 };
  }
  const next = places.length < query.limit ? null : (places.at(-1) ?? null);
  return { recipientIds: await idsOf(sql, query.home, places), next };
}

interface PlaceRecord {
  place: number;
  waits: DeferredPayload[] | null;
}

/** Those in the state in the next partitions: one snapshot, so that who moves meanwhile is in one place. */
async function readPartitions(
  sql: Statements,
  { home, tenantId, notificationId, state }: RecipientsQuery,
  fromPartition: number,
): Promise<Map<number, Bitset>> {
  const records = await sql<((PlaceRecord & LedgerRecord) | (PlaceRecord & { offset: null }))[]>`
    with known as materialized (
      select id from notification where id = ${notificationId}::uuid and tenant_id = ${tenantId}
    ), places as materialized (
      (select distinct l.partition from known join ledger l on l.notification_id = known.id
        where l.home is not distinct from ${home} and l.partition >= ${fromPartition}::int
        order by 1 limit ${PARTITIONS_PER_READ})
      union
      (select distinct t.partition from known join timer t on t.notification_id = known.id
        where t.home is not distinct from ${home} and t.partition >= ${fromPartition}::int
        order by 1 limit ${PARTITIONS_PER_READ})
      order by 1 limit ${PARTITIONS_PER_READ}
    )
    select places.partition::int as place, l.*,
      (select json_agg(t.payload) from timer t
        where t.notification_id = known.id and t.home is not distinct from ${home}
          and t.partition = places.partition) as waits
    from known cross join places
    left join lateral (
      select * from ledger l
      where l.notification_id = known.id and l.home is not distinct from ${home}
        and l.partition is not distinct from places.partition
      offset 0
    ) l on true
    order by places.partition`;
  const found = new Map<number, Bitset>();
  for (const record of records) {
    const { place, waits } = record;
    const members = found.get(place) ?? waitingIn(waits ?? [], state);
    found.set(place, members);
    if (record.offset !== null) members.or(membersIn(ledgerRowOf(record), state));
  }
  return found;
}

/** Who waits by number: whom an audience comes to when it is due, nobody knows. */
function waitingIn(waits: readonly DeferredPayload[], state: RecipientsState): Bitset {
  const waiting = new Bitset();
  if (!OF_WAITING.has(state)) return waiting;
  for (const payload of waits) {
    const members = deferredMembersOf(payload);
    if (members?.kind === "members") waiting.or(Bitset.of(members.members));
    if (members?.kind === "set") waiting.or(Bitset.fromBytes(members.set));
  }
  return waiting;
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

/** By index. Who was put off is in a later row, or waits. */
function membersIn(row: LedgerRow, state: RecipientsState): Bitset {
  if (state === "deferred") return new Bitset();
  if (state === "targeted") return setByIndex(row, state).andNot(setByIndex(row, "moved"));
  if (state !== "pending") return setByIndex(row, state);
  const pending = setByIndex(row, "targeted");
  for (const name of setNamesOf(row.sets))
    if (!RECEIPTS.has(name)) pending.andNot(setByIndex(row, name));
  return pending;
}

/** The sets that hold the recipient, `targeted` too; none: the row is not meant for it. */
export function setsWith(row: LedgerRow, index: number): (keyof LedgerSets)[] {
  return setNamesOf(row.sets).filter((name) => setByIndex(row, name).has(index));
}

export function targetedCountOf({ members, sets }: LedgerRow): number {
  return members?.length ?? Bitset.fromBytes(sets.targeted).count();
}

function setNamesOf(sets: LedgerSets): (keyof LedgerSets)[] {
  return Object.keys(sets) as (keyof LedgerSets)[];
}
