// test/sim/oracle-rows.ts
// What a ledger row says, read from its bytes beside the product's own reading: for whom it is, what
// became of it for each of them.
import { Bitset } from "@carillon/kernel";
import type { LedgerRow } from "@carillon/store";
import type { Database } from "./database.ts";
import { type Outcome, type Receipt, RECEIPTS, TERMINAL } from "./oracle-outcome.ts";

export function isSame(indexes: readonly number[], truth: ReadonlySet<number>): boolean {
  return indexes.length === truth.size && indexes.every((index) => truth.has(index));
}

/**
 * As it is planned: from the request, not from what the owner makes of it; of one that waited, and is not for
 * an audience, those who waited, which is held against the request apart (oracle-places.ts).
 */
export function targetsOf(database: Database, row: LedgerRow): Set<number> {
  if (row.members !== null) return new Set(row.members);
  if (row.state === "open") return new Set(Bitset.fromBytes(row.sets.targeted).toArray());
  return audienceOf(database, row.partition, row.notificationId);
}

/** Everybody in a partition whom a notification is for. The directory stands still in a run. */
export function audienceOf(
  database: Database,
  partition: number,
  notificationId: string,
): Set<number> {
  const record = database.notifications.get(notificationId);
  const audience = record?.audience;
  if (record === undefined || audience === undefined || audience === null) return new Set();
  const { notification } = record;
  const indexes = new Set<number>();
  for (const recipient of database.partition(partition).recipients) {
    if (recipient.tenantId !== notification.tenantId) continue;
    if (notification.exclude.includes(recipient.recipientId)) continue;
    if (audience.kind === "recipients" && !audience.recipientIds.includes(recipient.recipientId))
      continue;
    const filter = audience.kind === "filter" ? (audience.filter as { val?: unknown }) : null;
    if (filter !== null && recipient.attributes["team"] !== filter.val) continue;
    indexes.add(recipient.index);
  }
  return indexes;
}

/** Outcomes of a row as it stands. */
export function readOutcomes(row: LedgerRow): ReadonlyMap<number, Outcome> {
  const found = new Map<number, Outcome>();
  for (const name of TERMINAL)
    for (const bit of Bitset.fromBytes(row.sets[name]).toArray())
      found.set(row.members?.[bit] ?? bit, name);
  return found;
}

/** Who has left the row for a later one. */
export function readMoved({ sets, members }: Pick<LedgerRow, "sets" | "members">): Set<number> {
  return new Set(
    Bitset.fromBytes(sets.moved)
      .toArray()
      .map((bit) => members?.[bit] ?? bit),
  );
}

export function hasReceipt(row: LedgerRow, name: Receipt, index: number): boolean {
  const bit = row.members === null ? index : row.members.indexOf(index);
  return bit >= 0 && Bitset.fromBytes(row.sets[name]).has(bit);
}

/** Who has a receipt in `sets` that the row had not. */
export function newReceipts(row: LedgerRow, sets: LedgerRow["sets"]): [Receipt, number][] {
  return RECEIPTS.flatMap((name) => {
    const added = Bitset.fromBytes(sets[name]).andNot(Bitset.fromBytes(row.sets[name]));
    return added.toArray().map((bit): [Receipt, number] => [name, row.members?.[bit] ?? bit]);
  });
}
