// packages/store/src/controls.ts
// What senders do with notifications under way: a register that regions keep alike (ADR 0029).
//   ST35 Of two records of a notification the newer stays, and cancelled stays whatever comes later; all regions
//        end with the same one.
//   ST40 Recalled outranks cancelled, and stays whatever comes later; with it the withdrawal is named, and a region
//        that has the withdrawal has the record (ADR 0032).
//   ST36 Woken is what waits of a cancelled or recalled notification, and what was paused of one that goes on; by its
//        owner alone: one that was cannot have it released to one that has not heard.
//   ST47 What is accepted for later after something was done with it tells owners that again (accept-statement.ts).
// What waits in timers is woken by owners that have heard of the change, and not here: who had not would send it.
// Plan (wake): partition_pkey → LockRows; the register by its key, or whole for a new owner (few rows of it say
// "running"); for each, timer_row → update by timer_pkey. Beside 100,000 timers and 3,000 records: 28 ms to wake
// 256 of them, 4 to 8 ms for a new owner, with statistics and without (2026-12-01, shared cores). As one join it
// read all timers for each record where statistics were missing: 8.9 s for a new owner.
import {
  type ControlRecord,
  type ControlState,
  type HomesBatch,
  type Notification,
  withdrawalIdOf,
} from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
import type { HeldPartition } from "./ledger-flush.ts";
import type { Pool, Statements } from "./pool.ts";

export interface ControlChange {
  readonly tenantId: string;
  readonly notificationId: string; // is the tenant's
  readonly state: ControlState;
  readonly nowMs: number;
  readonly region: string;
  /** The configured regions but this one: the outbox tells them. */
  readonly otherRegions: readonly string[];
}

/** Notification ids; what was committed since is not theirs to wake. */
export interface Heard {
  readonly cancelled: readonly string[]; // or recalled
  readonly running: readonly string[] | null; // null: all that are not paused
}

type TenantNews = Pick<HomesBatch["tenants"][number], "tenantId" | "controls">;
type ControlRow = ControlRecord & { tenantId: string };

const CONTROL_COLUMNS = `c.notification_id as "notificationId", c.state,
  c.changed_at_ms as "changedAtMs", c.changed_in as "changedIn"`;

export class SqlControls {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Undefined: nobody has done anything with it. */
  find(tenantId: string, notificationId: string): Promise<ControlRecord | undefined> {
    return this.#pool.run("controls.find", async (sql) => {
      const [row] = await sql<ControlRecord[]>`
        select ${sql.unsafe(CONTROL_COLUMNS)} from notification_control c
        where c.notification_id = ${notificationId}::uuid and c.tenant_id = ${tenantId}`;
      return row;
    });
  }

  /** Those that were changed here in the last so many seconds; null: all of 90 days that do not run. */
  readChanged(lastSeconds: number | null): Promise<ControlRecord[]> {
    return this.#pool.run("controls.readChanged", async (sql) => [
      ...(lastSeconds === null
        ? await sql<ControlRecord[]>`
            select ${sql.unsafe(CONTROL_COLUMNS)} from notification_control c
            where c.state <> 'running'
              and c.notification_id >= uuid_at(now() - interval '90 days')`
        : await sql<ControlRecord[]>`
            select ${sql.unsafe(CONTROL_COLUMNS)} from notification_control c
            where c.updated_at > clock_timestamp() - ${lastSeconds}::float8 * interval '1 s'`),
    ]);
  }

  /**
   * What waits in these partitions and should no longer is due now: of notifications that the owner has heard to
   * be cancelled, and what was paused of those that go on. Of partitions that have another owner nothing.
   */
  wake(home: string, held: readonly HeldPartition[], heard: Heard): Promise<void> {
    const partitions = intsOf(held.map(({ partition }) => partition));
    const epochs = intsOf(held.map(({ epoch }) => epoch));
    const { cancelled, running } = heard;
    return this.#pool.run("controls.wake", async (sql) => {
      const isHeard = running === null ? sql`true` : sql`notification_id = any(${running}::uuid[])`;
      await sql`
        with held as materialized (
          select n from partition
          where home = ${home} and n = any(${partitions}::int[]) and owner_id is not null
            and epoch = (${epochs}::bigint[])[array_position(${partitions}::int[], n::int)]
          order by n for key share
        ), named as materialized (
          select notification_id, tenant_id, state = 'running' as is_resumed
          from notification_control
          where (control_rank(state) > 0 and notification_id = any(${cancelled}::uuid[]))
            or (state = 'running' and ${isHeard})
        ), found as materialized (
          select t.id from named c cross join lateral (
            select t.id from timer t
            where t.notification_id = c.notification_id and t.tenant_id = c.tenant_id
              and t.home = ${home} and t.partition = any(array(select n from held))
              and t.due_at > clock_timestamp()
              and (not c.is_resumed or t.payload ->> 'reason' = 'paused')
            offset 0
          ) t
        )
        update timer set due_at = clock_timestamp() where id = any(array(select id from found))`;
    });
  }

  /** Committed with what tells the other regions. The record that stays: cancelled may have been before. */
  change(change: ControlChange): Promise<ControlRecord> {
    return this.#pool.transaction("controls.change", (sql) => changeControl(sql, change));
  }

  /** What other regions told. Repeats change nothing. */
  async learn(tenants: readonly TenantNews[]): Promise<void> {
    const records = tenants.flatMap(({ tenantId, controls = [] }) =>
      controls.map((record) => ({ tenantId, ...record })),
    );
    if (records.length === 0) return;
    await this.#pool.transaction("controls.learn", async (sql) => {
      await keepNewer(sql, records);
    });
  }
}

/** ST40. Before what withdraws them is stored: nobody finds it without the record. */
export async function keepRecalled(
  sql: Statements,
  notifications: readonly Notification[],
): Promise<void> {
  const records = notifications.flatMap(
    ({ withdraws, tenantId, acceptedAtMs, acceptedRegion }): ControlRow[] =>
      withdraws === undefined
        ? []
        : [
            {
              ...{ tenantId, notificationId: withdraws, state: "recalled" },
              ...{ changedAtMs: acceptedAtMs, changedIn: acceptedRegion },
            },
          ],
  );
  if (records.length > 0) await keepNewer(sql, records);
}

async function changeControl(
  sql: Statements,
  { tenantId, notificationId, state, nowMs, region, otherRegions }: ControlChange,
): Promise<ControlRecord> {
  const [known] = await sql<{ changedAtMs: number }[]>`
    select changed_at_ms as "changedAtMs" from notification_control
    where notification_id = ${notificationId}::uuid for update`;
  const changedAtMs = Math.max(nowMs, (known?.changedAtMs ?? 0) + 1);
  const record: ControlRow = { tenantId, notificationId, state, changedAtMs, changedIn: region };
  await keepNewer(sql, [record]);
  const [kept] = await sql<ControlRecord[]>`
    select ${sql.unsafe(CONTROL_COLUMNS)} from notification_control c
    where c.notification_id = ${notificationId}::uuid`;
  const control: ControlRecord = kept ?? record;
  const told: HomesBatch = {
    from: region,
    tenants: [{ tenantId, recipientIds: [], controls: [control] }],
  };
  await sql`
    insert into outbox (target_region, kind, payload, next_attempt_at)
    select region, 'homes', ${JSON.stringify(told)}::text::jsonb, now()
    from unnest(${otherRegions}::text[]) as region`;
  return control;
}

async function keepNewer(sql: Statements, records: readonly ControlRow[]): Promise<void> {
  const rows = records.map((record) => ({
    ...record,
    changedAtMs: Math.trunc(record.changedAtMs),
    withdrawalId: record.state === "recalled" ? withdrawalIdOf(record.notificationId) : null,
  }));
  await sql`
    insert into notification_control as c (notification_id, tenant_id, state, changed_at_ms, changed_in,
      withdrawal_id)
    select distinct on ("notificationId") "notificationId", "tenantId", state, "changedAtMs", "changedIn",
      "withdrawalId"
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as told("notificationId" uuid,
      "tenantId" text, state text, "changedAtMs" bigint, "changedIn" text, "withdrawalId" uuid)
    order by "notificationId", control_rank(state) desc, "changedAtMs" desc, "changedIn" collate "C" desc
    on conflict (notification_id) do update set state = excluded.state,
      changed_at_ms = excluded.changed_at_ms, changed_in = excluded.changed_in,
      withdrawal_id = excluded.withdrawal_id, updated_at = clock_timestamp()
    where c.tenant_id = excluded.tenant_id and (control_rank(excluded.state) > control_rank(c.state)
      or (control_rank(excluded.state) = 0 and control_rank(c.state) = 0
        and (excluded.changed_at_ms, excluded.changed_in) > (c.changed_at_ms, c.changed_in)))`;
}
