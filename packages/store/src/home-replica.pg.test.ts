// Goal: HM7, what a copy tells of itself, fact by fact. Method: the real statement on a real Postgres, whose
// search path finds what the test says of the stream before pg_catalog's own. With a real copy:
// test/e2e/home-copy.test.ts.
import { afterAll, beforeAll, expect, test } from "vitest";
import { replicaOf } from "./home-replica.ts";
import { startTestPostgres, type TestPostgres } from "./test-database.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

interface Stream {
  /** Null: nothing streams. */
  readonly sent: string | null;
  readonly received: string;
  readonly replayed: string;
}

/** Whole seconds since the last transaction that was replayed, 60 s ago, and since a word of the primary. */
async function lagOf({ sent, received, replayed }: Stream): Promise<(number | null)[]> {
  const { sql } = await postgres.newDatabase();
  const copy = await sql.reserve();
  await copy.unsafe(`
    create schema told;
    create view told.pg_stat_wal_receiver as
      select 'streaming'::text as status, '${sent ?? "0/0"}'::pg_lsn as latest_end_lsn,
        clock_timestamp() - interval '9 s' as last_msg_receipt_time
      where ${sent !== null};
    create function told.pg_last_wal_receive_lsn() returns pg_lsn return '${received}'::pg_lsn;
    create function told.pg_last_wal_replay_lsn() returns pg_lsn return '${replayed}'::pg_lsn;
    create function told.pg_last_xact_replay_timestamp() returns timestamptz
      return clock_timestamp() - interval '60 s';
    set search_path = told, pg_catalog, public`);
  const replica = await replicaOf(copy);
  await copy`reset search_path`;
  copy.release();
  expect([replica.isStreaming, replica.receivedLsn, replica.replayedLsn]).toEqual([
    sent !== null,
    received,
    replayed,
  ]);
  const { lagMs, silentMs = null } = replica;
  return [lagMs, silentMs].map((ms) => ms && Math.floor(ms / 1_000));
}

test("HM7 — all that the primary has was replayed: no lag, however long ago it was written", async () => {
  expect(await lagOf({ sent: "0/500", received: "0/500", replayed: "0/500" })).toEqual([0, 9]);
});

test("HM7 — received and not replayed, or told of and not received: as old as what was replayed last", async () => {
  expect(await lagOf({ sent: "0/500", received: "0/500", replayed: "0/400" })).toEqual([60, 9]);
  expect(await lagOf({ sent: "0/900", received: "0/500", replayed: "0/500" })).toEqual([60, 9]);
  expect(await lagOf({ sent: "0/300", received: "0/500", replayed: "0/400" })).toEqual([60, 9]);
});

test("HM7 — nothing streams: neither lag nor silence is known, whatever has been replayed", async () => {
  expect(await lagOf({ sent: null, received: "0/500", replayed: "0/500" })).toEqual([null, null]);
});
