// packages/delivery/src/collapse.ts
// Which rows of a partition have taken the place of others: those of one tenant and `collapseKey`.
//   CO1  Of what a recipient has not been sent, only the newest of a key is: newer by when it was accepted, since
//        one that was put off has a higher offset than one that was posted after it. It has been handed, or may
//        be now; and a critical one gives way to critical ones only.
// Rows in memory only: what is put off, or on the shelf (shelf.ts), is seen when it comes back.
import type { Notification } from "@carillon/contracts";
import type { LedgerEntry } from "./ledger-entry.ts";

export class CollapseIndex {
  readonly #byKey = new Map<string, Set<LedgerEntry>>();

  add(entry: LedgerEntry): void {
    const key = keyOf(entry.envelope.notification);
    if (key === undefined) return;
    const known = this.#byKey.get(key);
    if (known === undefined) this.#byKey.set(key, new Set([entry]));
    else known.add(entry);
  }

  remove(entry: LedgerEntry): void {
    const key = keyOf(entry.envelope.notification);
    const known = key === undefined ? undefined : this.#byKey.get(key);
    known?.delete(entry);
    if (key !== undefined && known?.size === 0) this.#byKey.delete(key);
  }

  /** `mayBeHanded`: asked of newer ones that nobody has. Cost O(rows of its key in memory). */
  isSuperseded(
    index: number,
    entry: LedgerEntry,
    mayBeHanded: (newer: LedgerEntry) => boolean,
  ): boolean {
    const key = keyOf(entry.envelope.notification);
    if (key === undefined) return false;
    for (const other of this.#byKey.get(key) ?? [])
      if (
        isNewer(other, entry) &&
        isOfRank(other, entry) &&
        other.isTargeted(index) &&
        (other.has("deliveredSocket", index) || (other.isPending(index) && mayBeHanded(other)))
      )
        return true;
    return false;
  }
}

function keyOf({ tenantId, collapseKey }: Notification): string | undefined {
  return collapseKey === undefined ? undefined : `${tenantId}/${collapseKey}`;
}

function isOfRank(one: LedgerEntry, than: LedgerEntry): boolean {
  const { priority } = than.envelope.notification;
  return priority !== "critical" || one.envelope.notification.priority === "critical";
}

function isNewer(one: LedgerEntry, other: LedgerEntry): boolean {
  const [a, b] = [one.envelope.notification, other.envelope.notification];
  return a.acceptedAtMs > b.acceptedAtMs || (a.acceptedAtMs === b.acceptedAtMs && a.id > b.id);
}
