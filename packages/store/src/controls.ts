// packages/store/src/controls.ts
// What senders do with notifications under way: a register that regions keep alike (ADR 0029).
//   ST35 Of two records of a notification the newer stays, and cancelled stays whatever comes later; all regions
//        end with the same one.
//   ST40 Recalled outranks cancelled, and stays whatever comes later; with it the withdrawal is named, and a region
//        that has the withdrawal has the record (ADR 0032).
//   ST36 Woken is what waits of a cancelled or recalled notification, and what was paused of one that goes on; what
//        comes here after its cancel does not wait.
// What waits in timers is woken by owners that have heard of the change, and not here: who had not would send it.
import {
  type ControlRecord,
  type ControlState,
  type HomesBatch,
  type Notification,
  withdrawalIdOf,
} from "@carillon/contracts";
import { intsOf } from "./arrays.ts";
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
   * be cancelled, and what was paused of those that go on. Another owner may not have heard it: partitions of a
   * higher epoch are passed by (D4).
   * Plan, 102,400 waiting rows of 400 notifications, with statistics and without: the register by its key, then
   * timer_row; one cancelled one in 64 partitions 1.6–9.6 ms, nothing to wake 0.1 ms. At a load: timers of the
   * partitions by their key, hashed with the register, 33 ms.
   */
  wake(
    home: string,
    held: readonly { readonly partition: number; readonly epoch: number }[],
    heard: Heard,
  ): Promise<void> {
    const partitions = intsOf(held.map(({ partition }) => partition));
    const epochs = intsOf(held.map(({ epoch }) => epoch));
    return this.#pool.run("controls.wake", async (sql) => {
      await sql`
        update timer t set due_at = clock_timestamp()
        from notification_control c
        where t.notification_id = c.notification_id and t.tenant_id = c.tenant_id
          and t.home = ${home} and t.partition = any(array(
            select p.n from unnest(${partitions}::int[], ${epochs}::bigint[]) as held(n, epoch)
            join partition p on p.home = ${home} and p.n = held.n and p.epoch = held.epoch))
          and t.due_at > clock_timestamp()
          and ((control_rank(c.state) > 0 and c.notification_id = any(${heard.cancelled}::uuid[]))
            or (c.state = 'running' and t.payload ->> 'reason' = 'paused'
              and (${heard.running === null} or c.notification_id = any(${heard.running ?? []}::uuid[]))))`;
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

/**
 * ST36. These came after their cancel, and wait: owners are told of it once more, and wake them. A node that ends before
 * leaves them to wait until they are due.
 */
export async function tellStopped(
  sql: Statements,
  notificationIds: readonly string[],
): Promise<void> {
  if (notificationIds.length === 0) return;
  await sql`
    update notification_control set updated_at = clock_timestamp()
    where notification_id = any(${notificationIds}::uuid[]) and control_rank(state) > 0`;
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
