// packages/store/src/home.ts
// Who hosts a home region, in its own database (spec C24, ADR 0015).
//   HM1  Once `fence` has answered nothing writes here any more, whoever tries: writes that came later
//        are refused in their own statement, those before it are committed and lie before `fenceLsn`.
//   HM2  A copy that is promoted serves nobody before a higher epoch is declared in it; whoever was
//        hosting in what was copied is not hosting in the copy.
//   HM3  An unplanned takeover renews the ledger epoch of every partition: offsets mean nothing more.
//   HM4  Ownership epochs of a later homeEpoch are above all of an earlier one, on whatever copy they
//        were dealt out.
import { HOME_EPOCH_MAX, type HomeClaim, type HomeLook } from "@carillon/contracts";
import { assert } from "@carillon/kernel";
import { unavailable } from "./faults.ts";
import { ISO_FORMAT, replicaOf } from "./home-replica.ts";
import type { Pool, Statements } from "./pool.ts";

/** What a database knows of its home; the rest of a HomeLook is the node's. */
export type StoredHome = Omit<HomeLook, "kind" | "home" | "place" | "memberId" | "standing">;

interface HomeRecord {
  in_recovery: boolean;
  epoch: number | null;
  host_region: string | null;
  state: "serving" | "draining" | "fenced" | null;
  moving_to: string | null;
  fence_lsn: string | null;
  superseded_epoch: number | null;
  superseded_host: string | null;
  is_planned: boolean | null;
  since_lsn: string | null;
  since_at: string | null;
  since_snapshot: string | null;
  leased_count: number;
  withheld: string[];
}

const LOCK_MAX_MS = 5_000;
const PROMOTE_MAX_SECONDS = 20;
/** homeEpoch above, the count of owners below: numbers stay exact up to HOME_EPOCH_MAX (HM4). */
const OWNERS_PER_HOME_EPOCH_BITS = 32;

export class SqlHome {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Whether this database is a copy that follows another one. */
  isInRecovery(): Promise<boolean> {
    return this.#pool.run("home.isInRecovery", (sql) => recoveryOf(sql));
  }

  look(home: string): Promise<StoredHome> {
    return this.#pool.run("home.look", (sql) => look(sql, home));
  }

  /** Planned, 1: nodes stop serving when they see it. False: a failover to another region runs. */
  drain(home: string, to: string): Promise<boolean> {
    return this.#pool.run("home.drain", async (sql) => {
      const rows = await sql`
        update home set state = case when state = 'fenced' then state else 'draining' end,
          moving_to = ${to}, changed_at = now()
        where home = ${home} and (state = 'serving' or moving_to = ${to})
        returning 1`;
      return rows.length > 0;
    });
  }

  /**
   * HM1. `by`: who has the home now; null: a planned failover, to `movingTo`. Repeats change nothing.
   * Throws Fault `store_unavailable` when a writer does not end in time: then writes are refused
   * already, and the fence is complete (`fenceLsn`) after a repeat.
   */
  async fence(home: string, by: HomeClaim | null): Promise<void> {
    await this.#pool.run("home.fence", async (sql) => {
      await sql`
        update home set state = 'fenced', changed_at = now(),
          superseded_epoch = ${by?.epoch ?? null}, superseded_host = ${by?.host ?? null}
        where home = ${home}
          and (state <> 'fenced' or coalesce(superseded_epoch, 0) < ${by?.epoch ?? 0}::bigint)`;
    });
    const { fenceLsn } = await this.look(home);
    if (fenceLsn !== null) return;
    for (const table of await this.#guardedTables()) await this.#awaitWriters(table);
    await this.#pool.run("home.fence", async (sql) => {
      // One more record behind the position: whoever has replayed this row has replayed the position.
      await sql`
        update home set fence_lsn = pg_current_wal_lsn()
        where home = ${home} and state = 'fenced' and fence_lsn is null`;
    });
  }

  /** HM4. Takes a planned failover back that nobody has finished: a new epoch here. */
  async resume(home: string, claim: HomeClaim): Promise<void> {
    await this.#pool.transaction("home.resume", async (sql) => {
      const rows = await sql`
        update home set state = 'serving', epoch = ${claim.epoch}, moving_to = null, fence_lsn = null,
          changed_at = now()
        where home = ${home} and host_region = ${claim.host} and epoch < ${claim.epoch}::bigint
          and superseded_epoch is null
        returning 1`;
      if (rows.length === 0) return;
      await sql`
        update partition set epoch = greatest(epoch + 1, ${firstEpochOf(claim)}::bigint)
        where home = ${home}`;
    });
  }

  /**
   * What has been replayed here; of a copy, just before it is promoted. The snapshot sees what ended
   * before the oldest transaction under way: on a copy pg_current_snapshot() lists none of those (HM5).
   */
  replayed(): Promise<{ lsn: string | null; snapshot: string }> {
    return this.#pool.run("home.replayed", async (sql) => {
      const [row] = await sql<{ lsn: string | null; snapshot: string }[]>`
        select pg_last_wal_replay_lsn()::text as lsn, x || ':' || x || ':' as snapshot
        from (select pg_snapshot_xmin(pg_current_snapshot())::text as x) as oldest`;
      if (row === undefined) throw unavailable("home.replayed", "no answer");
      return row;
    });
  }

  /** Ends recovery; true when this database takes writes. */
  promote(): Promise<boolean> {
    return this.#pool.run("home.promote", async (sql) => {
      if (!(await recoveryOf(sql))) return true;
      await sql.begin(async (own) => {
        await own.unsafe(`set local statement_timeout = ${(PROMOTE_MAX_SECONDS + 5) * 1_000}`);
        await own`select pg_promote(true, ${PROMOTE_MAX_SECONDS}::int)`;
      });
      return !(await recoveryOf(sql));
    });
  }

  /**
   * HM2–HM4. The database was promoted; from now on `claim.host` serves it. `from`: the claim that was
   * read before. False: there is another one by now, and nothing was changed.
   */
  async declare(
    home: string,
    claim: HomeClaim,
    how: {
      readonly from: HomeClaim;
      readonly isPlanned: boolean;
      readonly replayed: string | null;
      readonly snapshot: string | null;
    },
  ): Promise<boolean> {
    return this.#pool.transaction("home.declare", async (sql) => {
      const rows = await sql`
        update home set state = 'serving', epoch = ${claim.epoch}, host_region = ${claim.host},
          moving_to = null, fence_lsn = null, superseded_epoch = null, superseded_host = null,
          is_planned = ${how.isPlanned}, replayed_at = pg_last_xact_replay_timestamp(),
          replayed_lsn = coalesce(${how.replayed}::text::pg_lsn, pg_last_wal_replay_lsn()),
          replayed_snapshot = ${how.snapshot}, changed_at = now()
        where home = ${home} and epoch = ${how.from.epoch} and host_region = ${how.from.host}
        returning 1`;
      if (rows.length === 0) return false;
      await sql`
        update partition set owner_id = null, lease_until = clock_timestamp(),
          is_released = ${how.isPlanned}, epoch = greatest(epoch + 1, ${firstEpochOf(claim)}::bigint),
          ledger_epoch = case when ${how.isPlanned} then ledger_epoch
            else left(gen_random_uuid()::text, 8) end
        where home = ${home}`;
      return true;
    });
  }

  /** Of other homes and of this one, whatever this database was told. */
  heard(): Promise<Map<string, HomeClaim>> {
    return this.#pool.run("home.heard", async (sql) => {
      if (!(await isThere(sql))) return new Map();
      const rows = await sql<{ home: string; epoch: number; host: string }[]>`
        select home, epoch, host_region as host from home_heard`;
      return new Map(rows.map(({ home, epoch, host }) => [home, { epoch, host }]));
    });
  }

  /** Kept for whoever asks after everybody has been restarted. */
  async hear(home: string, { epoch, host }: HomeClaim): Promise<void> {
    await this.#pool.run("home.hear", async (sql) => {
      if (!(await isThere(sql))) return;
      await sql`
        insert into home_heard (home, epoch, host_region) values (${home}, ${epoch}, ${host})
        on conflict (home) do update set epoch = excluded.epoch, host_region = excluded.host_region,
          heard_at = now()
        where home_heard.epoch < excluded.epoch
          or (home_heard.epoch = excluded.epoch and home_heard.host_region > excluded.host_region)`;
    });
  }

  /** Where else a tenant may be served; none: nowhere. False: there is no such tenant. */
  setResidency(tenantId: string, failoverTo: readonly string[]): Promise<boolean> {
    return this.#pool.run("home.setResidency", async (sql) => {
      const rows = await sql`
        update tenant set failover_to = ${[...failoverTo]}::text[] where tenant_id = ${tenantId}
        returning 1`;
      return rows.length > 0;
    });
  }

  /** With the trigger that refuses writes, whatever version the schema has; parts by their parent. */
  #guardedTables(): Promise<string[]> {
    return this.#pool.run("home.fence", async (sql) => {
      const rows = await sql<{ name: string }[]>`
        select t.tgrelid::regclass::text as name from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where t.tgname = 'fence' and not c.relispartition order by 1`;
      return rows.map(({ name }) => name);
    });
  }

  /**
   * Waits until everybody who wrote before the fence has ended (HM1): their lock excludes ours. Each
   * table is locked alone.
   */
  async #awaitWriters(table: string): Promise<void> {
    await this.#pool.transaction("home.fence", async (sql) => {
      await sql.unsafe(`set local lock_timeout = ${LOCK_MAX_MS}`);
      await sql.unsafe(`lock table ${table} in share row exclusive mode`);
    });
  }
}

function firstEpochOf(claim: HomeClaim): number {
  assert(claim.epoch <= HOME_EPOCH_MAX, "HM4 an epoch more is none");
  return claim.epoch * 2 ** OWNERS_PER_HOME_EPOCH_BITS;
}

/** The schema of a database that is older than this build has no such table. */
async function isThere(sql: Statements): Promise<boolean> {
  const [row] = await sql<{ is_there: boolean }[]>`
    select to_regclass('home') is not null as is_there`;
  return row?.is_there === true;
}

async function recoveryOf(sql: Statements): Promise<boolean> {
  const [row] = await sql<{ is_recovering: boolean }[]>`
    select pg_is_in_recovery() as is_recovering`;
  return row?.is_recovering === true;
}

async function look(sql: Statements, home: string): Promise<StoredHome> {
  if (!(await isThere(sql))) return nothingKnown(await recoveryOf(sql));
  const [row] = await sql<HomeRecord[]>`
    select pg_is_in_recovery() as in_recovery, h.epoch, h.host_region, h.state, h.moving_to,
      h.fence_lsn::text, h.superseded_epoch, h.superseded_host, h.is_planned,
      h.replayed_lsn::text as since_lsn,
      to_char(h.replayed_at at time zone 'UTC', ${ISO_FORMAT}) as since_at,
      h.replayed_snapshot as since_snapshot,
      (select count(*) from partition p where p.home = ${home} and p.owner_id is not null
        and p.lease_until > clock_timestamp()) as leased_count,
      array(select t.tenant_id from tenant t where h.host_region <> h.home
        and not h.host_region = any(t.failover_to) order by 1) as withheld
    from (values (1)) as one left join home h on h.home = ${home}`;
  if (row === undefined) throw unavailable("home.look", "no answer");
  const { epoch, host_region: host } = row;
  return {
    isInRecovery: row.in_recovery,
    claim: epoch === null || host === null ? null : { epoch, host },
    state: row.state,
    movingTo: row.moving_to,
    fenceLsn: row.fence_lsn,
    supersededBy:
      row.superseded_epoch === null || row.superseded_host === null
        ? null
        : { epoch: row.superseded_epoch, host: row.superseded_host },
    replica: row.in_recovery ? await replicaOf(sql) : null,
    since:
      row.is_planned === null
        ? null
        : {
            isPlanned: row.is_planned,
            replayedLsn: row.since_lsn,
            replayedAt: row.since_at,
            snapshot: row.since_snapshot,
          },
    leasedCount: row.leased_count,
    withheldTenants: row.withheld,
  };
}

function nothingKnown(isInRecovery: boolean): StoredHome {
  return {
    isInRecovery,
    claim: null,
    state: null,
    movingTo: null,
    fenceLsn: null,
    supersededBy: null,
    replica: null,
    since: null,
    leasedCount: 0,
    withheldTenants: [],
  };
}
