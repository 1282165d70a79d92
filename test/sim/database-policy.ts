// test/sim/database-policy.ts
// The register of policies, as packages/store/src/policies.ts has it, and what a new owner's caps begin with.
import type { PolicyRecord } from "@carillon/contracts";
import type { RecentQuestion, RecentRow } from "@carillon/store";
import type { Database } from "./database.ts";

export function findChanged(
  { policies }: Database,
  known: readonly (readonly [tenantId: string, changedAtMs: number, changedIn: string])[],
): { readonly tenantId: string; readonly record: PolicyRecord }[] {
  const versions = new Set(known.map((version) => version.join("/")));
  return [...policies]
    .map(([tenantId, record]) => ({ tenantId, record }))
    .filter(
      ({ tenantId, record: { changedAtMs, changedIn } }) =>
        !versions.has([tenantId, changedAtMs, changedIn].join("/")),
    )
    .toSorted((a, b) => (a.tenantId < b.tenantId ? -1 : 1));
}

/** ST32 */
export function readRecent(
  database: Database,
  partitions: readonly number[],
  question: RecentQuestion,
): RecentRow[] {
  const { tenantId, sinceMs, priorities, exceptCategories } = question;
  const found = [...new Set(partitions)]
    .toSorted((a, b) => a - b)
    .flatMap((n) => database.partition(n).ledger)
    .flatMap(({ partition, members, notificationId, sets }) => {
      const { deliveredSocket, receivedLate } = sets;
      const of = database.notifications.get(notificationId)?.notification;
      if (of === undefined || of.tenantId !== tenantId || of.acceptedAtMs <= sinceMs) return [];
      if (!priorities.includes(of.priority)) return [];
      if (of.category !== undefined && exceptCategories.includes(of.category)) return [];
      if (deliveredSocket.length + receivedLate.length === 0) return [];
      const row: RecentRow = {
        ...{ partition, acceptedAtMs: of.acceptedAtMs, members },
        ...{ deliveredSocket, receivedLate },
      };
      return [{ id: notificationId, row }];
    });
  return found
    .toSorted((a, b) => a.row.acceptedAtMs - b.row.acceptedAtMs || (a.id < b.id ? -1 : 1))
    .map(({ row }) => row);
}
