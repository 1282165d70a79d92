// packages/store/src/notifications.ts
// Notifications: accepting them, and what became of them.
import type { Notification, RegionAudience, RelayItem } from "@carillon/contracts";
import {
  accept,
  acceptRelayed,
  type AcceptItem,
  type AcceptResult,
  type RelayResult,
} from "./accept.ts";
import { keepRecalled } from "./controls.ts";
import { type RegionProgress, readProgress } from "./counts.ts";
import { readWaitOf } from "./deferred-rows.ts";
import { type IdempotencyClaim, readRepeat, type Repeat } from "./idempotency.ts";
import { type InboxPage, type InboxPlace, readInbox } from "./inbox.ts";
import {
  NOTIFICATION_COLUMNS,
  type NotificationRecord,
  notificationOf,
} from "./notification-rows.ts";
import type { Pool } from "./pool.ts";
import {
  readRecipients,
  readRowsOf,
  type RecipientsPage,
  type RecipientsQuery,
  setsWith,
  targetedCountOf,
} from "./recipients-of.ts";
import type { LedgerRowState, LedgerSets } from "./ledger-rows.ts";

export interface NotificationDetails {
  readonly notification: Notification;
  readonly audience: RegionAudience | null; // of this region
  readonly targetRegions: readonly string[]; // empty unless accepted here
  readonly unknownCount: number | null; // null: not asked for by name
  readonly isAcceptedHere: boolean;
}

export class SqlNotifications {
  readonly #pool: Pool;
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Commits a batch of posted notifications; results in their order. Errors: Fault, and then none
   * of them is accepted as far as is known (a commit whose answer was lost may stand; the same
   * Idempotency-Key finds it). Guarantee: D1 for every `accepted`.
   */
  accept(home: string, items: readonly AcceptItem[]): Promise<AcceptResult[]> {
    return this.#pool.run("notifications.accept", async (sql) => {
      await keepRecalled(sql, items.map(notificationIn)); // ST40
      return await accept(sql, home, items);
    });
  }

  /** What the key stands for already; undefined: nothing (ST50). */
  repeatOf(tenantId: string, claim: IdempotencyClaim): Promise<Repeat | undefined> {
    return this.#pool.run("notifications.repeatOf", (sql) => readRepeat(sql, tenantId, claim));
  }

  /** Commits this region's copies of what another one accepted. Repeats change nothing. */
  acceptRelayed(home: string, items: readonly RelayItem[]): Promise<RelayResult[]> {
    return this.#pool.run("notifications.acceptRelayed", async (sql) => {
      await keepRecalled(sql, items.map(notificationIn)); // ST40
      return await acceptRelayed(sql, home, items);
    });
  }

  /** Undefined when it is not here, another tenant's, a withdrawal, or older than the ledger (ADR 0027, 0032). */
  get(tenantId: string, id: string): Promise<NotificationDetails | undefined> {
    return this.#pool.run("notifications.get", async (sql) => {
      const [record] = await sql<DetailsRecord[]>`
        select ${sql.unsafe(NOTIFICATION_COLUMNS)}, n.audience, n.target_regions, n.unknown_count,
          n.is_accepted_here
        from notification n where n.id = ${id} and n.tenant_id = ${tenantId}
          and n.options ->> 'withdraws' is null
          and n.accepted_at >= (
            select case when min(number) = 0 then '-infinity' else min(from_at) end
            from table_part where parent = 'ledger' and detached_at is null)`;
      return (
        record && {
          notification: notificationOf(record),
          audience: record.audience,
          targetRegions: record.target_regions,
          unknownCount: record.unknown_count,
          isAcceptedHere: record.is_accepted_here,
        }
      );
    });
  }

  /** One entry per id; `waiting` with zeros for what is not here or another tenant's. */
  countsOf(
    scope: { readonly home: string; readonly tenantId: string },
    ids: readonly string[],
  ): Promise<Map<string, RegionProgress>> {
    return this.#pool.run("notifications.countsOf", (sql) => readProgress(sql, scope, ids));
  }

  /** Until when it waits for the recipient, or for an audience that is not worked out; undefined: it does not. */
  waitOf(
    place: InboxPlace & { readonly notificationId: string },
  ): Promise<{ readonly untilMs: number; readonly isForAudience: boolean } | undefined> {
    return this.#pool.run("notifications.waitOf", (sql) => readWaitOf(sql, place));
  }

  /** All rows of the notification in the recipient's partition, ascending: perhaps several. */
  rowsOf(place: InboxPlace & { readonly notificationId: string }): Promise<RecipientRow[]> {
    return this.#pool.run("notifications.rowsOf", async (sql) =>
      (await readRowsOf(sql, place)).map((row) => ({
        offset: row.offset,
        state: row.state,
        targetedCount: targetedCountOf(row),
        sets: setsWith(row, place.index),
      })),
    );
  }

  /** A page of the recipients whose home this is and who are in a state. */
  recipientsIn(query: RecipientsQuery): Promise<RecipientsPage> {
    return this.#pool.run("notifications.recipientsIn", (sql) => readRecipients(sql, query));
  }

  /** Newest first. `limit` ≥ 1. Rows still `planned` are left out. */
  inboxOf(
    place: InboxPlace,
    options: { readonly limit: number; readonly beforeOffset: number | null },
  ): Promise<InboxPage> {
    return this.#pool.run("notifications.inboxOf", (sql) => readInbox(sql, place, options));
  }
}

function notificationIn({ notification }: Pick<AcceptItem, "notification">): Notification {
  return notification;
}

/** One row of a notification, as it concerns one recipient. */
export interface RecipientRow {
  readonly offset: number;
  readonly state: LedgerRowState;
  readonly targetedCount: number; // of the whole row
  /** Those that hold the recipient; empty: not targeted, or not known yet (`planned`). */
  readonly sets: readonly (keyof LedgerSets)[];
}

interface DetailsRecord extends NotificationRecord {
  audience: RegionAudience | null;
  target_regions: string[];
  unknown_count: number | null;
  is_accepted_here: boolean;
}
