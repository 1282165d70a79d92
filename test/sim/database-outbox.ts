// test/sim/database-outbox.ts
// The statements of packages/store/src/outbox.ts, each at one instant.
import { assert } from "@carillon/kernel";
import type { OutboxProbe, OutboxRow, TakeOver, TakeOverOptions } from "@carillon/store";
import type { Database, OutboxRecord } from "./database.ts";

export function claim(
  database: Database,
  targetRegion: string,
  limits: { readonly limitCount: number; readonly retryInMs: number },
): OutboxRow[] {
  const nowMs = database.nowMs();
  const due = [...database.outbox.values()]
    .filter((row) => row.targetRegion === targetRegion && row.attemptCount > 0)
    .filter((row) => row.nextAttemptAtMs <= nowMs)
    .toSorted((a, b) => a.nextAttemptAtMs - b.nextAttemptAtMs || a.id - b.id)
    .slice(0, limits.limitCount);
  for (const row of due) {
    row.attemptCount++;
    row.nextAttemptAtMs = nowMs + limits.retryInMs;
  }
  return due.toSorted((a, b) => a.id - b.id).map((row) => rowOf(database, row));
}

export function takeOver(database: Database, options: TakeOverOptions): TakeOver {
  const { targetRegion, holder, holdMs, limitCount, isBeginning } = options;
  const nowMs = database.nowMs();
  const backlog = database.relayBacklogs.get(targetRegion);
  const oldest = waitingOf(database, targetRegion)[0];
  const isOverdue = oldest !== undefined && oldest.nextAttemptAtMs <= nowMs;
  if (!isBeginning && backlog === undefined && !isOverdue) return { kind: "none" };
  if (backlog !== undefined && backlog.holder !== holder && backlog.heldUntilMs > nowMs)
    return { kind: "held" };
  database.relayBacklogs.set(targetRegion, { holder, heldUntilMs: nowMs + holdMs });
  return { kind: "rows", rows: readWaiting(database, targetRegion, limitCount) };
}

export function giveBack(database: Database, targetRegion: string, holder: string): void {
  const backlog = database.relayBacklogs.get(targetRegion);
  if (backlog?.holder !== holder) return;
  database.relayBacklogs.set(targetRegion, { holder: "", heldUntilMs: database.nowMs() });
}

export function endBacklog(database: Database, targetRegion: string, holder: string): boolean {
  if (database.relayBacklogs.get(targetRegion)?.holder !== holder) return false;
  if (waitingOf(database, targetRegion).length > 0) return false;
  return database.relayBacklogs.delete(targetRegion);
}

export function readWaiting(database: Database, target: string, limitCount: number): OutboxRow[] {
  return waitingOf(database, target)
    .slice(0, limitCount)
    .map((row) => rowOf(database, row));
}

export function markDone(database: Database, ids: readonly number[]): void {
  for (const id of ids) database.outbox.delete(id);
}

export function defer(database: Database, ids: readonly number[], forMs: number): void {
  for (const id of ids) {
    const row = database.outbox.get(id);
    if (row === undefined) continue;
    row.attemptCount++;
    row.nextAttemptAtMs = database.nowMs() + forMs;
  }
}

export function withhold(database: Database, ids: readonly number[]): void {
  defer(database, ids, Infinity);
}

export function probe(
  database: Database,
  targetRegion: string,
  asked: { readonly afterTenantId: string; readonly limitCount: number },
): OutboxRow[] {
  const oldest = new Map<string, OutboxRow>();
  for (const withheld of withheldOf(database, targetRegion)) {
    const row = rowOf(database, withheld);
    assert(row.kind === "notification", "only notifications are withheld");
    const { tenantId } = row.item.notification;
    if (!oldest.has(tenantId)) oldest.set(tenantId, row);
  }
  const tenants = [...oldest.keys()].toSorted();
  const isLater = (tenantId: string): boolean => tenantId > asked.afterTenantId;
  return [...tenants.filter(isLater), ...tenants.filter((tenantId) => !isLater(tenantId))]
    .slice(0, asked.limitCount)
    .flatMap((tenantId) => oldest.get(tenantId) ?? []);
}

export function release(
  database: Database,
  targetRegion: string,
  { probes, limitCount }: { readonly probes: readonly OutboxProbe[]; readonly limitCount: number },
): number {
  const welcome = probes.filter(({ id }) => !database.outbox.has(id));
  const tenants = new Set(welcome.map(({ tenantId }) => tenantId));
  const due = withheldOf(database, targetRegion)
    .filter((row) => {
      const notification = database.notifications.get(row.notificationId)?.notification;
      return notification !== undefined && tenants.has(notification.tenantId);
    })
    .slice(0, limitCount);
  for (const row of due) row.nextAttemptAtMs = database.nowMs();
  return due.length;
}

function withheldOf(database: Database, targetRegion: string): OutboxRecord[] {
  return [...database.outbox.values()]
    .filter((row) => row.targetRegion === targetRegion && row.nextAttemptAtMs === Infinity)
    .toSorted((a, b) => a.id - b.id);
}

function waitingOf(database: Database, targetRegion: string): OutboxRecord[] {
  return [...database.outbox.values()]
    .filter((row) => row.targetRegion === targetRegion && row.attemptCount === 0)
    .toSorted((a, b) => a.id - b.id);
}

function rowOf(database: Database, row: OutboxRecord): OutboxRow {
  const notification = database.notifications.get(row.notificationId)?.notification;
  assert(notification, "an outbox row has its notification");
  const { id, attemptCount, audience } = row;
  const ageMs = database.nowMs() - row.createdAtMs;
  return { id, attemptCount, ageMs, kind: "notification", item: { notification, audience } };
}
