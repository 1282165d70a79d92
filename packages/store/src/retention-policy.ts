// packages/store/src/retention-policy.ts
// What is kept for how long, and which tables are cut into parts (ADR 0027).

export interface RetentionPolicy {
  /** Notifications, their ledger rows, inboxes and counts; at least so long. */
  readonly notificationDays: number;
  readonly buriedTimerDays: number;
  /** Explanations of deliveries (ADR 0026), by when the notification was accepted. */
  readonly journalDays: number;
}

/** A table cut by time, how long its rows are kept, and what must not be without them (RT1). */
interface TimeCut {
  readonly table: string;
  /** Which it is cut by: a UUIDv7 or an instant. */
  readonly column: string;
  readonly type: "uuid" | "timestamptz";
  readonly keepDays: (policy: RetentionPolicy) => number;
  /** Columns that name rows by that one. */
  readonly namedBy: readonly { readonly table: string; readonly column: string }[];
}

/** One more: `cut_by_time` in a migration, and an entry here. */
export const CUT_BY_TIME = [
  {
    table: "notification",
    column: "id",
    type: "uuid",
    keepDays: (policy: RetentionPolicy) => policy.notificationDays,
    namedBy: [
      // Before the ledger: what is released between two looks is in the second one (ADR 0022).
      { table: "timer", column: "notification_id" },
      { table: "ledger", column: "notification_id" },
      { table: "outbox", column: "notification_id" },
    ],
  },
  {
    table: "attempt",
    column: "notification_id",
    type: "uuid",
    keepDays: (policy: RetentionPolicy) => policy.journalDays,
    namedBy: [],
  },
] as const satisfies readonly TimeCut[];

export type TimeTable = (typeof CUT_BY_TIME)[number]["table"];
/** Tables that are cut into parts. */
export type CutTable = "ledger" | TimeTable;

/** A quarter of the time that is kept: so there are few parts, and nothing stays a quarter longer. */
export function partDaysOf(keepDays: number): number {
  return Math.max(1, Math.ceil(keepDays / 4));
}

export interface HeldPart {
  readonly table: CutTable;
  readonly name: string;
  readonly by: string; // a table
}
