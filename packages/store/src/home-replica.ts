// packages/store/src/home-replica.ts
// How far a copy of a home's database has come, and what we may do with it (ADR 0015).
//   HM7  What the copy cannot know is told as not known: without the right to see the stream, whether it
//        streams; over a link on which nothing arrives, how far behind it is (`silentMs`).
import type { HomeLook } from "@carillon/contracts";
import { unavailable } from "./faults.ts";
import type { Statements } from "./pool.ts";

interface ReplicaRecord {
  is_streaming: boolean;
  received_lsn: string | null;
  replayed_lsn: string | null;
  replayed_at: string | null;
  lag_ms: number | null;
  silent_ms: number | null;
  user_name: string;
  may_promote: boolean;
  may_see_streaming: boolean;
}

export const ISO_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"';

/**
 * Nothing streams: how far behind it is is not known, whatever has been replayed. `latest_end_lsn` is how
 * far the primary's log went when it sent the last message: all of it is here, or the copy is behind.
 */
export async function replicaOf(sql: Statements): Promise<NonNullable<HomeLook["replica"]>> {
  const [row] = await sql<ReplicaRecord[]>`
    with receiver as (select coalesce(bool_or(status = 'streaming'), false) as is_streaming,
        max(latest_end_lsn) as sent_lsn, max(last_msg_receipt_time) as heard_at
      from pg_stat_wal_receiver)
    select is_streaming, pg_last_wal_receive_lsn()::text as received_lsn,
      pg_last_wal_replay_lsn()::text as replayed_lsn,
      to_char(pg_last_xact_replay_timestamp() at time zone 'UTC', ${ISO_FORMAT}) as replayed_at,
      case when not is_streaming then null
        when pg_last_wal_replay_lsn() >= greatest(pg_last_wal_receive_lsn(), sent_lsn) then 0
        else (extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)
      end::float8 as lag_ms,
      case when is_streaming then extract(epoch from clock_timestamp() - heard_at) * 1000
        end::float8 as silent_ms,
      quote_ident(current_user) as user_name,
      has_function_privilege('pg_catalog.pg_promote(boolean, integer)', 'execute') as may_promote,
      pg_has_role('pg_read_all_stats', 'usage') as may_see_streaming
    from receiver`;
  if (row === undefined) throw unavailable("home.look", "no answer");
  return {
    isStreaming: row.is_streaming,
    receivedLsn: row.received_lsn,
    replayedLsn: row.replayed_lsn,
    replayedAt: row.replayed_at,
    lagMs: wholeMs(row.lag_ms),
    silentMs: wholeMs(row.silent_ms),
    rights: {
      user: row.user_name,
      mayPromote: row.may_promote,
      maySeeStreaming: row.may_see_streaming,
    },
  };
}

/** Rounded up: what is behind at all is never told as 0, which means that everything is here. */
function wholeMs(ms: number | null): number | null {
  return ms === null ? null : Math.ceil(ms);
}
