// packages/store/src/deferred-rows.ts
// Ledger rows that come later (ADR 0022): sent at a time of their own, or put off for some of a row's
// recipients. Until then each is a durable timer of kind "row"; `release` makes them ledger rows.
//   ST34 A row that waits becomes a ledger row once: the statement that gives it the next offset deletes
//        its timer, under the owner's fence. When its answer is lost, the row is found as any other.
//   ST37 When it is to be acknowledged, the timer for that is set in the same statement (ADR 0030).
// Plan (release, 256 rows): partition_pkey → LockRows; timer_pkey, deleted; as the group commit from there on.
import {
  deferredMembersOf,
  type DeferredPayload,
  deferredPayloadOf,
  type DeferredMembers,
  type DeferredRow,
  FLOW_TIMER_KIND,
  type PokeEntry,
} from "@carillon/contracts";
import { assert, Bitset } from "@carillon/kernel";
import { bytesOf, intsOf } from "./arrays.ts";
import type { HeldPartition } from "./ledger-flush.ts";
import type { Statements } from "./pool.ts";

/** Entry i of each belongs to row i. */
export function deferredColumnsOf(
  rows: readonly {
    readonly ord: number;
    readonly partition: number;
    readonly place: string; // with the notification's id the timer's key
    readonly row: DeferredRow;
  }[],
) {
  return {
    ords: intsOf(rows.map(({ ord }) => ord)),
    partitions: intsOf(rows.map(({ partition }) => partition)),
    places: rows.map(({ place }) => place),
    dueAtMs: intsOf(rows.map(({ row }) => row.untilMs)),
    payloads: rows.map(({ row }) => JSON.stringify(deferredPayloadOf(row))),
  };
}

export interface Release extends HeldPartition {
  readonly timerId: number;
  readonly notificationId: string;
  readonly members: DeferredMembers;
  /** So long it waits for acknowledgements first; absent: nothing follows from there being none. */
  readonly ackSeconds?: number;
}

export interface Released {
  /** In the order of partition and offset; what was released or cancelled before is not among them. */
  readonly entries: readonly (PokeEntry & {
    readonly timerId: number;
    readonly notificationId: string;
  })[];
  readonly fencedPartitions: readonly number[];
}

interface ReleaseRecord {
  partition: number;
  offset: number;
  directory_version: number;
  ord: number;
}

/** One epoch per partition (assert). One statement. */
export async function releaseRows(
  sql: Statements,
  home: string,
  releases: readonly Release[],
): Promise<Released> {
  const epochs = new Map<number, number>();
  for (const { partition, epoch } of releases) {
    assert((epochs.get(partition) ?? epoch) === epoch, "D4 one epoch per partition in a release");
    epochs.set(partition, epoch);
  }
  const partitions = [...epochs.keys()];
  const rows = await sql<(ReleaseRecord & { held: number[] | null })[]>`
    with held as materialized (
      select n, next_offset, directory_version, ledger_part from partition
      where home = ${home} and n = any(${intsOf(partitions)}::int[]) and owner_id is not null
        and epoch = (${intsOf([...epochs.values()])}::bigint[])[
          array_position(${intsOf(partitions)}::int[], n::int)]
      order by n for no key update
    ), gone as (
      delete from timer t using unnest(${intsOf(releases.map(({ timerId }) => timerId))}::bigint[],
        ${intsOf(releases.map(({ partition }) => partition))}::int[])
        with ordinality as asked(id, n, ord)
      where t.id = asked.id and asked.n = any(array(select n from held))
      returning asked.ord, asked.n, t.tenant_id
    ), numbered as materialized (
      select gone.ord, gone.tenant_id, held.n, held.directory_version, held.ledger_part,
        held.next_offset - 1 + row_number() over (partition by held.n order by gone.ord) as at_offset
      from gone join held using (n)
    ), bumped as (
      update partition p set next_offset = p.next_offset + dealt.count
      from (select n, count(*) as count from numbered group by n) as dealt
      where p.home = ${home} and p.n = dealt.n
    ), planned as (
      insert into ledger (home, partition, part, "offset", notification_id, directory_version, state,
        members, targeted)
      select ${home}, numbered.n, ledger_part, at_offset, row.notification_id, directory_version,
        row.state, row.members::int[], row.targeted
      from numbered
      join unnest(${releases.map(({ notificationId }) => notificationId)}::uuid[],
        ${intsOf(releases.map(({ members }) => (members.kind === "all" ? 0 : 1)))}::int[],
        ${releases.map(({ members: m }) => (m.kind === "members" ? intsOf(m.members) : null))}::text[],
        ${bytesOf(releases.map(({ members: m }) => (m.kind === "set" ? m.set : NOBODY)))}::bytea[])
        with ordinality as row(notification_id, state, members, targeted, ord) using (ord)
      order by numbered.n, at_offset
    ), timed as (
      insert into timer (home, partition, kind, key, tenant_id, due_at, payload)
      select ${home}, numbered.n, ${FLOW_TIMER_KIND}, ack.notification_id || '/' || at_offset, tenant_id,
        clock_timestamp() + ack.seconds * interval '1 s',
        jsonb_build_object('notificationId', ack.notification_id, 'offset', at_offset)
      from numbered
      join unnest(${releases.map(({ notificationId }) => notificationId)}::uuid[],
        ${`{${releases.map(({ ackSeconds }) => ackSeconds ?? "null").join(",")}}`}::float8[])
        with ordinality as ack(notification_id, seconds, ord) using (ord)
      where ack.seconds is not null
    )
    select numbered.n::int as partition, at_offset as offset, directory_version, ord::int,
      (select array_agg(n::int) from held) as held
    from (select 1) as one left join numbered on true
    order by numbered.n, at_offset`;
  const held = new Set(rows[0]?.held);
  return {
    entries: rows.flatMap(({ partition, offset, directory_version: directoryVersion, ord }) => {
      const release = releases[ord - 1];
      if (release === undefined) return []; // nothing was released
      const { timerId, notificationId, members } = release;
      const small = members.kind === "members" ? [...members.members] : null;
      return [{ partition, offset, directoryVersion, members: small, timerId, notificationId }];
    }),
    fencedPartitions: partitions.filter((partition) => !held.has(partition)),
  };
}

/** The soonest of those that hold the recipient, by name or as part of an audience. */
export async function readWaitOf(
  sql: Statements,
  place: {
    readonly home: string;
    readonly partition: number;
    readonly index: number;
    readonly notificationId: string;
  },
): Promise<{ readonly untilMs: number; readonly isForAudience: boolean } | undefined> {
  const rows = await sql<{ until_ms: number; payload: DeferredPayload }[]>`
    select (extract(epoch from due_at) * 1000)::float8 as until_ms, payload from timer
    where notification_id = ${place.notificationId}::uuid and home = ${place.home}
      and partition = ${place.partition}::int
    order by due_at`;
  for (const { until_ms: untilMs, payload } of rows) {
    const members = deferredMembersOf(payload);
    if (members?.kind === "all") return { untilMs, isForAudience: true };
    if (members !== undefined && holds(members, place.index))
      return { untilMs, isForAudience: false };
  }
  return undefined;
}

function holds(members: Exclude<DeferredMembers, { kind: "all" }>, index: number): boolean {
  if (members.kind === "members") return members.members.includes(index);
  return Bitset.fromBytes(members.set).has(index);
}

const NOBODY = new Uint8Array();
