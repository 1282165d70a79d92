// packages/store/src/timers.ts
// Durable timers for the owners of their partitions: TimerStore of @carillon/delivery. Hot statements.
//   TM1  A timer is claimed only when it is due by the database's clock, in the statement that claims
//        it: never early, whatever any clock does.
//   TM2  A claim is counted and committed before anybody sees the timer: whatever dies by firing it has
//        been counted. It stays until `done`, so it is fired at least once.
//   TM3  One timer per (partition, kind, key). Setting it again replaces it under another id, and what
//        belongs to an id (done, retry, bury) leaves a later setting alone.
//   TM4  A buried timer is never claimed and keeps its reason; setting it again revives it.
//   TM5  A claim is lost when its owner, the one of `claimed_epoch`, told no end of it and another one owns
//        the partition. Whoever finds that counts it, and only a later claim has the timer: among
//        DOUBTFUL_MAX others that lost one claim, or alone when it lost more. A told end forgives.
//   D4   Claims and changes are done only where the owner's epoch stands: `held`, as in ledger-flush.ts.
//   TM6  What is due of other kinds costs a claim nothing, and what is withheld an entry of the index.
// A kind that the caller does not name is left alone, so nodes of the previous build can own partitions
// with timers of this one. Of tenants that are withheld nothing is claimed (HM6).
// The table is empty or small most of the time, and a plan that was made then is kept: it would read the
// whole table, once for each change, when 100,000 wait (1,000 set: 766 ms; 20,000 others, 256 done: 391 ms).
// So everything is found by its id or its place, with sequential scans ruled out for the statement.
// Plan (claim): unnest → per partition and kind timer_due, index only, up to the limit → top-N sort, and
// timer_doubtful → partition_pkey → LockRows → update by timer_pkey; `next` reads one entry of timer_due
// per partition and kind.
import { LIMITS } from "@carillon/contracts";
import { assert } from "@carillon/kernel";
import { intsOf } from "./arrays.ts";
import type { HeldPartition, WriteOutcome } from "./ledger-flush.ts";
import type { Pool, Statements } from "./pool.ts";

export interface TimerPlace extends HeldPartition {
  readonly kind: string;
  readonly key: string;
}

/** By the database's clock: an instant, or so long from now. */
export type TimerDue = { readonly atMs: number } | { readonly inMs: number };

export type TimerChange = TimerPlace &
  (
    | {
        readonly change: "set";
        readonly tenantId: string;
        readonly due: TimerDue;
        readonly payload: unknown; // JSON
      }
    | { readonly change: "cancel" }
    | { readonly change: "done"; readonly id: number }
    /** It failed with a reason. */
    | { readonly change: "retry"; readonly id: number; readonly inMs: number }
    /** Its owner goes in good order before the end of it: that says nothing about the timer. */
    | { readonly change: "unclaim"; readonly id: number }
    | { readonly change: "bury"; readonly id: number; readonly reason: string }
  );

export interface ClaimedTimer {
  readonly partition: number;
  readonly kind: string;
  readonly key: string;
  readonly id: number; // of this setting
  readonly tenantId: string;
  readonly payload: unknown;
  readonly attemptCount: number; // claims, this one included
  readonly failureCount: number;
  readonly lostCount: number; // claims before this one whose owner was gone before the end, in a row
  readonly lateMs: number; // by the database's clock, when it was claimed
}

export interface TimerClaim {
  /** Soonest due first. */
  readonly timers: readonly ClaimedTimer[];
  /** Others may be due already. */
  readonly isMore: boolean;
  /** Until the next one of these partitions is due; null: there is none. */
  readonly nextInMs: number | null;
  readonly fencedPartitions: readonly number[];
}

export interface ClaimOptions {
  /** Each partition once. */
  readonly held: readonly HeldPartition[];
  readonly kinds: readonly string[];
  /** Ids that are being fired already. */
  readonly exceptIds: readonly number[];
  readonly limitCount: number;
  /** False: one of those that lost claims is being fired, and no other one is claimed until it ended. */
  readonly mayBeDoubtful: boolean;
}

/** The square root of the most that are claimed at once: of them a guilty one is found in two steps. */
const DOUBTFUL_MAX = 16;

/**
 * After an outage all partitions have many: 100,000 overdue took 106 ms to choose 256 from when up to
 * 256 of each were looked at. So some go before sooner ones of another partition, by one claim.
 */
const OF_EACH_MIN = 16;
const REASON_CHARACTERS_MAX = 200;

interface ClaimRecord extends ClaimedTimer {
  nextInMs: number | null;
  isMore: boolean;
  dueIn: number[] | null;
  heldIn: number[] | null;
}

export class SqlTimers {
  readonly #pool: Pool;
  readonly #withheldTenants: () => readonly string[];
  constructor(pool: Pool, withheldTenants: () => readonly string[]) {
    this.#pool = pool;
    this.#withheldTenants = withheldTenants;
  }

  /**
   * Takes what is due, soonest first, at most `limitCount`, and of one of many partitions and kinds at
   * most OF_EACH_MIN or four times its share; counts the attempt. One statement.
   */
  claim(home: string, options: ClaimOptions): Promise<TimerClaim> {
    return this.#byIndex("timers.claim", (sql) =>
      claimDue(sql, home, options, this.#withheldTenants()),
    );
  }

  /**
   * One epoch per partition; of a place one setting or cancelling, or what is about several ids of it,
   * each once (assert). One statement.
   */
  write(home: string, changes: readonly TimerChange[]): Promise<WriteOutcome> {
    if (changes.length === 0) return Promise.resolve({ fencedPartitions: [] });
    return this.#byIndex("timers.write", (sql) => writeChanges(sql, home, changes));
  }

  /** One round trip more; its plans do not depend on how large the table was when they were made. */
  #byIndex<T>(operation: string, work: (sql: Statements) => Promise<T>): Promise<T> {
    return this.#pool.transaction(operation, async (sql) => {
      const set = sql`select set_config('enable_seqscan', 'off', true)`.execute();
      const [result] = await Promise.all([work(sql), set]); // in this order
      return result;
    });
  }
}

async function claimDue(
  sql: Statements,
  home: string,
  { held, kinds, exceptIds, limitCount, mayBeDoubtful }: ClaimOptions,
  withheldTenants: readonly string[],
): Promise<TimerClaim> {
  const partitions = intsOf(held.map(({ partition }) => partition));
  const epochs = intsOf(held.map(({ epoch }) => epoch));
  const share = (4 * limitCount) / (held.length * kinds.length);
  const ofEachMax = Math.min(limitCount, Math.max(OF_EACH_MIN, share) | 0);
  const doubtfulMax = mayBeDoubtful ? DOUBTFUL_MAX : 0;
  const rows = await sql<ClaimRecord[]>`
    with clock as materialized (
      select clock_timestamp() as now
    ), found as materialized (
      select asked.n, asked.kind, t.id, t.due_at from (
        select n, kind from unnest(${partitions}::int[]) as n cross join unnest(${kinds}::text[]) as kind
      ) asked
      cross join lateral (
        select t.id, t.due_at from timer t
        where t.home = ${home} and t.partition = asked.n and t.kind = asked.kind
          and t.buried_at is null and t.lost_count = 0
          and t.due_at <= (select now from clock)
          and t.id <> all(${intsOf(exceptIds)}::bigint[])
          and t.tenant_id <> all(${withheldTenants}::text[])
        order by t.due_at, t.id limit ${ofEachMax}::int
      ) t
    ), doubtful as materialized (
      select t.partition, t.id, t.due_at, t.lost_count from timer t
      where t.home = ${home} and t.buried_at is null and t.lost_count > 0
        and t.due_at <= (select now from clock)
        and t.partition = any(${partitions}::int[]) and t.kind = any(${kinds}::text[])
        and t.id <> all(${intsOf(exceptIds)}::bigint[])
        and t.tenant_id <> all(${withheldTenants}::text[])
      order by t.due_at, t.id limit ${doubtfulMax}::int
    ), first_doubtful as materialized (
      select id, lost_count from doubtful order by due_at, id limit 1
    ), due as materialized (
      select *, (${epochs}::bigint[])[array_position(${partitions}::int[], partition::int)] as epoch
      from (
        select n as partition, id, due_at, false as is_doubtful from found
        union all
        select d.partition, d.id, d.due_at, true from doubtful d, first_doubtful first
        where d.id = first.id or (d.lost_count = 1 and first.lost_count = 1)
      ) any_of
      order by is_doubtful desc, due_at, id limit ${limitCount}::int
    ), held as materialized (
      select n from partition
      where home = ${home} and n = any(array(select distinct due.partition from due))
        and owner_id is not null
        and epoch = (${epochs}::bigint[])[array_position(${partitions}::int[], n::int)]
      order by n for key share
    ), claimed as (
      update timer t set
        claimed_epoch = case when coalesce(t.claimed_epoch, due.epoch) = due.epoch then due.epoch end,
        lost_count = t.lost_count + (coalesce(t.claimed_epoch, due.epoch) <> due.epoch)::int,
        attempt_count = t.attempt_count + (coalesce(t.claimed_epoch, due.epoch) = due.epoch)::int
      from due
      where due.partition = any(array(select n from held)) and t.id = due.id
      returning t.partition, t.kind, t.key, t.id, t.tenant_id, t.payload, t.attempt_count,
        t.failure_count, t.lost_count, t.due_at, t.claimed_epoch is null as was_lost
    ), next as (
      select min(due_at) as due_at from (
        select t.due_at from (
          select n, kind
          from unnest(${partitions}::int[]) as n cross join unnest(${kinds}::text[]) as kind
        ) asked
        cross join lateral (
          select t.due_at from timer t
          where t.home = ${home} and t.partition = asked.n and t.kind = asked.kind
            and t.buried_at is null and t.lost_count = 0
            and t.due_at > (select now from clock)
            and t.tenant_id <> all(${withheldTenants}::text[])
          order by t.due_at, t.id limit 1
        ) t
        union all (
          select t.due_at from timer t
          where t.home = ${home} and t.buried_at is null and t.lost_count > 0
            and t.due_at > (select now from clock)
            and t.partition = any(${partitions}::int[]) and t.kind = any(${kinds}::text[])
            and t.tenant_id <> all(${withheldTenants}::text[])
          order by t.due_at, t.id limit 1
        )
      ) any_of
    )
    select c.partition, c.kind, c.key, c.id, c.tenant_id as "tenantId", c.payload,
      c.attempt_count as "attemptCount", c.failure_count as "failureCount",
      c.lost_count as "lostCount",
      (extract(epoch from clock.now - c.due_at) * 1000)::float8 as "lateMs",
      (extract(epoch from next.due_at - clock.now) * 1000)::float8 as "nextInMs",
      (select count(*) from found) > (select count(*) from due where not is_doubtful)
        or exists (select from found group by n, kind having count(*) >= ${ofEachMax}::int)
        or exists (select from claimed where was_lost) as "isMore",
      (select array_agg(distinct partition::int) from due) as "dueIn",
      (select array_agg(n::int) from held) as "heldIn"
    from clock cross join next left join claimed c on not c.was_lost
    order by c.due_at, c.id`;
  const [first] = rows;
  assert(first !== undefined, "TM1 a claim always tells when to look again");
  const { nextInMs, isMore, dueIn, heldIn } = first;
  const heldSet = new Set(heldIn);
  return {
    timers: rows.flatMap(({ nextInMs: _n, isMore: _m, dueIn: _d, heldIn: _h, ...timer }) =>
      (timer.id as number | null) === null ? [] : [timer],
    ),
    isMore,
    nextInMs,
    fencedPartitions: (dueIn ?? []).filter((n) => !heldSet.has(n)),
  };
}

async function writeChanges(
  sql: Statements,
  home: string,
  changes: readonly TimerChange[],
): Promise<WriteOutcome> {
  const epochs = new Map<number, number>();
  for (const { partition, epoch } of changes) {
    assert((epochs.get(partition) ?? epoch) === epoch, "D4 one epoch per partition in a write");
    epochs.set(partition, epoch);
  }
  assertOnceEach(changes);
  const partitions = [...epochs.keys()];
  const columns = columnsOf(changes);
  const rows = await sql<{ held: number[] | null }[]>`
    with held as materialized (
      select n from partition
      where home = ${home} and n = any(${intsOf(partitions)}::int[]) and owner_id is not null
        and epoch = (${intsOf([...epochs.values()])}::bigint[])[
          array_position(${intsOf(partitions)}::int[], n::int)]
      order by n for key share
    ), change as materialized (
      select * from unnest(
        ${intsOf(changes.map(({ partition }) => partition))}::int[],
        ${changes.map(({ kind }) => kind)}::text[], ${changes.map(({ key }) => key)}::text[],
        ${changes.map(({ change }) => change)}::text[], ${columns.ids}::bigint[],
        ${columns.atMs}::float8[], ${columns.inMs}::float8[], ${columns.tenantIds}::text[],
        ${columns.payloads}::text[], ${columns.reasons}::text[]
      ) as c(n, kind, key, change, id, at_ms, in_ms, tenant_id, payload, reason)
      where c.n = any(array(select n from held))
    ), done as (
      delete from timer t using change c where c.change = 'done' and t.id = c.id
    ), cancelled as (
      delete from timer t using change c
      cross join lateral (
        select known.id from timer known
        where known.home = ${home} and known.partition = c.n and known.kind = c.kind
          and known.key = c.key
        limit 1
      ) found
      where c.change = 'cancel' and t.id = found.id
    ), put_off as (
      update timer t set
        due_at = case c.change when 'retry'
          then clock_timestamp() + c.in_ms * interval '1 ms' else t.due_at end,
        failure_count = t.failure_count + (c.change = 'retry')::int,
        lost_count = case c.change when 'retry' then 0 else t.lost_count end,
        claimed_epoch = null,
        buried_at = case c.change when 'bury' then now() end, buried_reason = c.reason
      from change c
      where c.change in ('retry', 'bury', 'unclaim') and t.id = c.id and t.buried_at is null
    ), set_anew as (
      insert into timer (home, partition, kind, key, tenant_id, due_at, payload)
      select ${home}, c.n, c.kind, c.key, c.tenant_id,
        coalesce(to_timestamp(c.at_ms / 1000), clock_timestamp() + c.in_ms * interval '1 ms'),
        c.payload::jsonb
      from change c where c.change = 'set'
      on conflict (home, partition, kind, key) do update set id = excluded.id,
        tenant_id = excluded.tenant_id, due_at = excluded.due_at, payload = excluded.payload,
        attempt_count = 0, failure_count = 0, lost_count = 0, claimed_epoch = null,
        buried_at = null, buried_reason = null
    )
    select (select array_agg(n::int) from held) as held`;
  const held = new Set(rows[0]?.held);
  return { fencedPartitions: partitions.filter((partition) => !held.has(partition)) };
}

/** So no two parts of the statement meet in a row; of several ids of one place one is there at most. */
function assertOnceEach(changes: readonly TimerChange[]): void {
  const ofPlaces = changes.filter((change) => !("id" in change)).map(placeOf);
  const places = new Set(ofPlaces);
  const ofIds = changes.flatMap((change) => ("id" in change ? [change] : []));
  const isOnce =
    places.size === ofPlaces.length && new Set(ofIds.map(({ id }) => id)).size === ofIds.length;
  const isMixed = ofIds.some((one) => places.has(placeOf(one)));
  assert(isOnce && !isMixed, "TM3 a write changes a timer once");
}

function placeOf({ partition, kind, key }: TimerChange): string {
  return JSON.stringify([partition, kind, key]);
}

/** Entry i of each belongs to change i; null where its kind of change has none. */
function columnsOf(changes: readonly TimerChange[]) {
  const payloads = changes.map((one) =>
    one.change === "set" ? JSON.stringify(one.payload) : null,
  );
  for (const payload of payloads)
    assert((payload?.length ?? 0) <= LIMITS.timerPayloadMaxCharacters, "TM3 a payload is small");
  return {
    payloads,
    ids: changes.map((one) => ("id" in one ? one.id : null)),
    atMs: changes.map((one) => (one.change === "set" && "atMs" in one.due ? one.due.atMs : null)),
    inMs: changes.map((one) => {
      if (one.change === "retry") return one.inMs;
      return one.change === "set" && "inMs" in one.due ? one.due.inMs : null;
    }),
    tenantIds: changes.map((one) => (one.change === "set" ? one.tenantId : null)),
    reasons: changes.map((one) =>
      one.change === "bury" ? one.reason.slice(0, REASON_CHARACTERS_MAX) : null,
    ),
  };
}
