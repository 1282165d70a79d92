// packages/store/src/retention-rows.ts
// What goes row by row, oldest first, in batches that are over in milliseconds. A row that somebody holds
// is passed over, so a group commit that takes a key again and this never wait for each other (ST13).
//   RT4  A key must be alone for 24 hours across any boundary: a table in parts cannot keep that (ADR 0027).
import { LIMITS, ROW_TIMER_KIND } from "@carillon/contracts";
import type { Pool } from "./pool.ts";
import { CUT_BY_TIME, type RetentionPolicy, type TimeTable } from "./retention-policy.ts";

export type RowTable =
  | "idempotency"
  | "timer"
  | "quarantine"
  | "notification_control"
  | "notification_rate"
  | `${TimeTable}_rest`;

interface RowRule {
  readonly table: RowTable;
  /** Of rows `t` that may go, before `at` ($1), with $2 = seconds kept. */
  readonly where: string;
  readonly order: string;
  readonly keepSeconds: (policy: RetentionPolicy) => number;
}

const DAY_SECONDS = 86_400;
const LAST = "($1::timestamptz - $2::float8 * interval '1 s')";

/** One more table: one more line, and an index for its order. */
const RULES: readonly RowRule[] = [
  { ...agedBy("idempotency", "created_at"), keepSeconds: () => LIMITS.idempotencyTtlSeconds },
  {
    // Who waits in a row that was given up has no outcome yet: it stays until somebody revives it (D1).
    table: "timer",
    where: `t.buried_at < ${LAST} and t.kind <> '${ROW_TIMER_KIND}'`,
    order: "t.buried_at",
    keepSeconds: (policy) => policy.buriedTimerDays * DAY_SECONDS,
  },
  // Its last time is remembered for a day after it ended: the next one is twice as long.
  { ...agedBy("quarantine", "until"), keepSeconds: () => 2 * DAY_SECONDS },
  {
    ...agedBy("notification_control", "updated_at"),
    keepSeconds: (policy) => policy.notificationDays * DAY_SECONDS,
  },
  {
    ...agedBy("notification_rate", "updated_at"),
    keepSeconds: (policy) => policy.notificationDays * DAY_SECONDS,
  },
  ...CUT_BY_TIME.map((cut) => restOf(cut)),
];

const BATCH_COUNT = 1_000;
/** A second of work; the rest in the next sweep, which comes soon. */
const BATCHES_MAX = 100;

export async function deleteOld(
  pool: Pool,
  policy: RetentionPolicy,
  at: string,
): Promise<{ readonly deleted: Partial<Record<RowTable, number>>; readonly isMore: boolean }> {
  const deleted: Partial<Record<RowTable, number>> = {};
  let isMore = false;
  for (const { table, where, order, keepSeconds } of RULES) {
    const text = `delete from ${table} where ctid = any(array(
      select t.ctid from ${table} t where ${where} order by ${order} limit ${BATCH_COUNT}
      for update skip locked))`;
    let count = BATCH_COUNT;
    for (let batch = 0; batch < BATCHES_MAX && count === BATCH_COUNT; batch++) {
      // oxlint-disable-next-line no-await-in-loop -- one batch at a time is the point
      ({ count } = await pool.run("retention.deleteOld", (sql) =>
        sql.unsafe(text, [at, keepSeconds(policy)]),
      ));
      deleted[table] = (deleted[table] ?? 0) + count;
    }
    isMore ||= count === BATCH_COUNT;
  }
  return { deleted, isMore };
}

function agedBy(table: RowTable, column: string): Omit<RowRule, "keepSeconds"> {
  return { table, where: `t.${column} < ${LAST}`, order: `t.${column}` };
}

/** What no part was for: as a part goes, but row by row (RT1). */
function restOf({ table, column, type, keepDays, namedBy }: (typeof CUT_BY_TIME)[number]): RowRule {
  const unnamed = namedBy.map(
    (by) => `not exists (select from ${by.table} x where x.${by.column} = t.${column})`,
  );
  return {
    table: `${table}_rest`,
    where: [`t.${column} < cut_value('${table}', ${LAST})::${type}`, ...unnamed].join(" and "),
    order: `t.${column}`,
    keepSeconds: (policy) => keepDays(policy) * DAY_SECONDS,
  };
}
