// apps/ingest/src/relay-outbox.ts
// The outbox as a link sees it: for one target, as one node, its rows encoded (DESIGN §5.2).
import type { RelayItem } from "@carillon/contracts";
import type { OutboxRow, Store } from "@carillon/store";
import type { RelayEntry } from "./relay-sender.ts";

/** How a row goes out: as the commit that made it has seen it (`AcceptResult.backlogs`). */
export type RelayWay = "direct" | "backlog";

/** The outbox, for one target and one node. All throw Fault. */
export interface RelayOutbox {
  takeOver(options: {
    readonly limitCount: number;
    readonly holdMs: number;
    readonly isBeginning: boolean;
  }): Promise<
    | { readonly kind: "none" }
    | { readonly kind: "held" }
    | { readonly kind: "rows"; readonly rows: readonly RelayEntry[] }
  >;
  giveBack(): Promise<void>;
  endBacklog(): Promise<boolean>;
  readWaiting(limitCount: number): Promise<RelayEntry[]>;
  /** Out of turn, due; kept from other nodes for a while. */
  claim(limitCount: number): Promise<RelayEntry[]>;
  markDone(outboxIds: readonly number[]): Promise<void>;
  defer(outboxIds: readonly number[]): Promise<void>;
  withhold(outboxIds: readonly number[]): Promise<void>;
  /** One withheld row of each of the tenants whose turn it is: so many together, then the next ones. */
  probe(): Promise<RelayProbe>;
}

export interface RelayProbe {
  readonly rows: readonly RelayEntry[];
  /**
   * Makes the others due of tenants whose row is done by now: a statement's worth, and `isWhole` false when
   * there may be more.
   */
  release(): Promise<{ readonly count: number; readonly isWhole: boolean }>;
}

export type StoredOutbox = Omit<Store["outbox"], "oldestAgeMs" | "backlog">;

/** Rows that a node has claimed come back to the others after this, if it dies. */
const CLAIM_RETRY_MS = 5_000;
/** Rows that the target refuses. */
const PUT_OFF_RETRY_MS = 15_000;
/** Tenants that are probed together: a statement and a few messages. */
const PROBES_MAX = 1_024;
/** One statement's worth; another one, at once, releases more. */
const RELEASED_MAX = 10_000;

/** `holder`: this node, in this run. */
export function relayOutboxOf(
  outbox: StoredOutbox,
  targetRegion: string,
  holder: string,
): RelayOutbox {
  let probedTenantId = ""; // the last one
  return {
    async takeOver(options) {
      const taken = await outbox.takeOver({ ...options, targetRegion, holder });
      if (taken.kind !== "rows") return taken;
      return { kind: "rows", rows: taken.rows.map(entryOfRow) };
    },
    giveBack: () => outbox.giveBack(targetRegion, holder),
    endBacklog: () => outbox.endBacklog(targetRegion, holder),
    readWaiting: async (limitCount) =>
      (await outbox.readWaiting(targetRegion, limitCount)).map(entryOfRow),
    claim: async (limitCount) =>
      (await outbox.claim(targetRegion, limitCount, CLAIM_RETRY_MS)).map(entryOfRow),
    markDone: (outboxIds) => outbox.markDone(outboxIds),
    defer: (outboxIds) => outbox.defer(outboxIds, PUT_OFF_RETRY_MS),
    withhold: (outboxIds) => outbox.withhold(outboxIds),
    async probe() {
      const asked = { afterTenantId: probedTenantId, limitCount: PROBES_MAX };
      const rows = await outbox.probe(targetRegion, asked);
      const probes = rows.flatMap((row) =>
        row.kind === "notification" ? { id: row.id, tenantId: row.item.notification.tenantId } : [],
      );
      probedTenantId = probes.at(-1)?.tenantId ?? "";
      return {
        rows: rows.map(entryOfRow),
        async release() {
          const count = await outbox.release(targetRegion, probes, RELEASED_MAX);
          return { count, isWhole: count < RELEASED_MAX };
        },
      };
    },
  };
}

/** `notificationJson` is shared by all targets; only the audience differs. */
export function relayItemJson(notificationJson: string, audience: RelayItem["audience"]): string {
  return `{"notification":${notificationJson},"audience":${JSON.stringify(audience)}}`;
}

function entryOfRow(row: OutboxRow): RelayEntry {
  if (row.kind === "homes") {
    const json = row.homes.tenants.map((tenant) => JSON.stringify(tenant)).join(",");
    return { outboxId: row.id, kind: "homes", json };
  }
  const json = relayItemJson(JSON.stringify(row.item.notification), row.item.audience);
  return { outboxId: row.id, kind: "notification", json };
}
