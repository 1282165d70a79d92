// Who took which partition, and when by the database's own clock: a trigger on its lease rows writes
// down each new epoch, in the statement that makes it. A look from outside is late by its own time.

/** Of apps/worker: what an acquire adds to the clock that it reads. */
const LEASE_MS = 10_000;

export interface Taken {
  readonly partition: number;
  readonly memberId: string;
  readonly epoch: number;
  /** As the statement read it: `lease_until` less the lease. */
  readonly atMs: number;
  /** After it was taken before, exact to the microsecond; null: not since the log began. */
  readonly sinceLastMs: number | null;
}

export interface LeaseLog {
  /** The database's; what is done when this has resolved is later. */
  nowMs(): Promise<number>;
  /** In order of time. */
  takenSince(atMs: number): Promise<Taken[]>;
  close(): Promise<void>;
}

export async function openLeaseLog(url: string): Promise<LeaseLog> {
  await import("@carillon/store"); // first: it loads the driver mended (ADR 0018)
  const { default: postgres } = await import("postgres");
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  await sql.unsafe(`
    create table test_taken (partition int, member_id text, epoch int, lease_until timestamptz);
    create function test_note_taken() returns trigger language plpgsql as $$ begin
      insert into test_taken values (new.n, new.owner_id, new.epoch, new.lease_until);
      return null;
    end $$;
    create trigger test_taken after update on partition for each row
      when (new.epoch <> old.epoch) execute function test_note_taken();`);
  return {
    async nowMs() {
      const [row] = await sql<{ nowMs: number }[]>`
        select (extract(epoch from clock_timestamp()) * 1000)::float8 as "nowMs"`;
      return row!.nowMs;
    },
    async takenSince(atMs) {
      const rows = await sql<Taken[]>`
        select partition, member_id as "memberId", epoch,
          (extract(epoch from lease_until) * 1000)::float8 - ${LEASE_MS}::float8 as "atMs",
          (extract(epoch from lease_until - lag(lease_until)
            over (partition by partition order by epoch)) * 1000)::float8 as "sinceLastMs"
        from test_taken order by lease_until, partition`;
      return rows.filter((taken) => taken.atMs >= atMs);
    },
    close: () => sql.end({ timeout: 5 }),
  };
}
