// packages/store/src/leases.ts
// Who owns which partition (DESIGN §6): LeaseStore of @carillon/cluster. One row per partition.
//   D4    Every change of owner locks the row for update first, in order of n: it waits for a flush
//         under way, and the flush that comes later finds another epoch (ledger-flush.ts).
//   ST11  Time is the database's, read after the lock was got; a member that counts from before its
//         request therefore always stops first.
//   ST12  An expired lease is not refreshed, even when nobody took it: its member gets the partition
//         only with a higher epoch, so that what it sent before cannot arrive after.
import { LIMITS } from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
import type { Pool } from "./pool.ts";

export interface LeaseRow {
  readonly partition: number;
  readonly ownerId: string | null;
  readonly epoch: number; // grows with every change of owner; 0: never owned
  readonly isExpired: boolean; // nobody holds it now, by the database's clock
  /** The last owner gave it back itself, so that nothing is in flight from before. */
  readonly isReleased: boolean;
}

export interface Lease {
  readonly partition: number;
  readonly epoch: number;
}

export class SqlLeases {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Creates the 256 rows of a home region, hosted at home. Idempotent. */
  async ensureHome(home: string): Promise<void> {
    await this.#pool.run("leases.ensureHome", async (sql) => {
      await sql`
        insert into home (home, host_region) values (${home}, ${home}) on conflict do nothing`;
      const { count } = await sql`
        with part as (select max(number) as newest from table_part
          where parent = 'ledger' and from_at <> 'infinity'),
        created as (
          insert into partition (home, n, ledger_part)
          select ${home}, n, newest
          from part, generate_series(0, ${LIMITS.partitionCount - 1}::int) as n
          order by n on conflict do nothing
          returning home, n, next_offset, ledger_part
        )
        insert into ledger_part (home, partition, first_offset, part)
        select home, n, next_offset, ledger_part from created`;
      if (count > 0) await sql`analyze partition`; // right for good: plans need not wait for it
    });
  }

  /** In order of partition. */
  list(home: string): Promise<LeaseRow[]> {
    return this.#pool.run("leases.list", async (sql) => [
      ...(await sql<LeaseRow[]>`
        select n as partition, owner_id as "ownerId", epoch,
          owner_id is null or lease_until <= clock_timestamp() as "isExpired",
          is_released as "isReleased"
        from partition where home = ${home} order by n`),
    ]);
  }

  /** Takes those that are free or expired, each with a higher epoch; returns the ones taken. */
  acquire(options: {
    home: string;
    memberId: string;
    partitions: readonly number[];
    leaseMs: number;
  }): Promise<Lease[]> {
    return this.#pool.run("leases.acquire", async (sql) => [
      ...(await sql<Lease[]>`
        with free as materialized (
          select n from partition
          where home = ${options.home} and n = any(${intsOf(options.partitions)}::int[])
            and (owner_id is null or lease_until <= clock_timestamp())
          order by n for update
        )
        update partition p set owner_id = ${options.memberId}, epoch = p.epoch + 1,
          lease_until = clock_timestamp() + ${options.leaseMs}::float8 * interval '1 ms',
          is_released = false
        from free where p.home = ${options.home} and p.n = free.n
        returning p.n as partition, p.epoch`),
    ]);
  }

  /**
   * Extends every lease this member holds, in one statement; returns what it still holds. With
   * `limitMs` the statement ends by it and all of it by twice that (ST24).
   */
  refresh(options: {
    home: string;
    memberId: string;
    leaseMs: number;
    limitMs?: number;
  }): Promise<Lease[]> {
    return this.#pool.transaction(
      "leases.refresh",
      async (sql) => [
        ...(await sql<Lease[]>`
        with mine as materialized (
          select n from partition
          where home = ${options.home} and owner_id = ${options.memberId}
            and lease_until > clock_timestamp()
          order by n for no key update
        )
        update partition p
        set lease_until = clock_timestamp() + ${options.leaseMs}::float8 * interval '1 ms'
        from mine where p.home = ${options.home} and p.n = mine.n
        returning p.n as partition, p.epoch`),
      ],
      options.limitMs,
    );
  }

  /**
   * Gives back; only where this member is still the owner. Waits for its flushes under way, and
   * fences later ones, so `isReleased` is true when others see it.
   */
  async release(options: {
    home: string;
    memberId: string;
    partitions: readonly number[];
  }): Promise<void> {
    await this.#pool.run(
      "leases.release",
      (sql) => sql`
      with mine as materialized (
        select n from partition
        where home = ${options.home} and owner_id = ${options.memberId}
          and n = any(${intsOf(options.partitions)}::int[])
        order by n for update
      )
      update partition p set owner_id = null, is_released = true, lease_until = clock_timestamp()
      from mine where p.home = ${options.home} and p.n = mine.n`,
    );
  }
}
