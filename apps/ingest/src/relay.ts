// apps/ingest/src/relay.ts
// All links to other regions, and how an outbox row looks on them (DESIGN §5.2).
import type { Bus } from "@carillon/bus";
import type { RelayItem } from "@carillon/contracts";
import type { Clock, Random } from "@carillon/kernel";
import type { OutboxRow, Store } from "@carillon/store";
import { type RelayEntry, type RelayLimits, RelayLink, type RelayOutcome } from "./relay-link.ts";

/** Rows that a node has claimed come back to the others after this, if it dies. */
const CLAIM_RETRY_MS = 5_000;

export interface Relay {
  start(): void;
  offer(target: string, entries: readonly RelayEntry[]): void;
  /** Rows that are due at once were committed, or the connection is back. */
  sweepSoon(): void;
  stateOf(target: string): "direct" | "backlog" | undefined;
  readonly queuedCount: number;
  stop(): Promise<void>;
}

export interface RelayOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly limits: RelayLimits;
  readonly onOutcome: (outcome: RelayOutcome, itemCount: number) => void;
  readonly onFault: (operation: string, cause: unknown) => void;
  readonly onState: (target: string, state: "direct" | "backlog") => void;
}

export function createRelay(
  options: RelayOptions,
  deps: {
    readonly store: Store;
    readonly bus: Bus;
    readonly clock: Clock;
    readonly random: Random;
  },
): Relay {
  const { outbox } = deps.store;
  const links = new Map<string, RelayLink>();
  for (const target of options.regions) {
    if (target === options.region) continue;
    const claim = async (region: string, limitCount: number) =>
      (await outbox.claim(region, limitCount, CLAIM_RETRY_MS)).map(entryOfRow);
    const markDone = (outboxIds: readonly number[]) => outbox.markDone(outboxIds);
    const { limits, onOutcome, onFault, onState } = options;
    const linkOptions = { from: options.region, target, limits, onOutcome, onFault, onState };
    links.set(target, new RelayLink({ ...linkOptions, claim, markDone }, deps));
  }
  const sweepSoon = (): void => links.forEach((link) => link.sweepSoon());
  deps.bus.onConnection((isConnected) => {
    if (isConnected) sweepSoon();
  });
  return {
    start: () => links.forEach((link) => link.start()),
    offer: (target, entries) => links.get(target)?.offer(entries),
    sweepSoon,
    stateOf: (target) => links.get(target)?.state,
    get queuedCount() {
      return [...links.values()].reduce((sum, link) => sum + link.queuedCount, 0);
    },
    async stop() {
      await Promise.all([...links.values()].map((link) => link.stop()));
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
