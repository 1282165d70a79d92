// packages/store/src/home-replica.ts
// How far a copy of a home's database has come (ADR 0015).
import type { HomeLook } from "@carillon/contracts";
import { unavailable } from "./faults.ts";
import type { Statements } from "./pool.ts";

interface ReplicaRecord {
  is_streaming: boolean;
  received_lsn: string | null;
  replayed_lsn: string | null;
  replayed_at: string | null;
  lag_ms: number | null;
}

export const ISO_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"';

/** Nothing streams: how far behind it is is not known, whatever has been replayed. */
export async function replicaOf(sql: Statements): Promise<NonNullable<HomeLook["replica"]>> {
  const [row] = await sql<ReplicaRecord[]>`
    with receiver as (select coalesce(bool_or(status = 'streaming'), false) as is_streaming
      from pg_stat_wal_receiver)
    select is_streaming, pg_last_wal_receive_lsn()::text as received_lsn,
      pg_last_wal_replay_lsn()::text as replayed_lsn,
      to_char(pg_last_xact_replay_timestamp() at time zone 'UTC', ${ISO_FORMAT}) as replayed_at,
      case when not is_streaming then null
        when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
        else (extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)
      end::float8 as lag_ms
    from receiver`;
  if (row === undefined) throw unavailable("home.look", "no answer");
  return {
    isStreaming: row.is_streaming,
    receivedLsn: row.received_lsn,
    replayedLsn: row.replayed_lsn,
    replayedAt: row.replayed_at,
    lagMs: row.lag_ms,
  };
}
