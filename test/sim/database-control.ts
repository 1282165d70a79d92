// test/sim/database-control.ts
// The register of what senders do with notifications, as packages/store/src/controls.ts has it, and what of its
// timers a change wakes.
import { type ControlRecord, type ControlState, ROW_TIMER_KIND } from "@carillon/contracts";
import type { Database } from "./database.ts";

export interface ControlRow extends ControlRecord {
  readonly tenantId: string;
  readonly updatedAtMs: number; // by this database's clock
}

type Held = readonly { readonly partition: number; readonly epoch: number }[];

const RANKS: Readonly<Partial<Record<ControlState, number>>> = { recalled: 2, cancelled: 1 };

function rankOf({ state }: Pick<ControlRecord, "state">): number {
  return RANKS[state] ?? 0;
}

/** ST35, ST40: the newer stays, cancelled whatever comes later, and recalled in its place. */
export function learn(database: Database, told: Omit<ControlRow, "updatedAtMs">): void {
  const known = database.controls.get(told.notificationId);
  if (known !== undefined && (known.tenantId !== told.tenantId || !isToStay(told, known))) return;
  database.controls.set(told.notificationId, { ...told, updatedAtMs: database.nowMs() });
}

function isToStay(told: ControlRecord, known: ControlRecord): boolean {
  if (rankOf(told) + rankOf(known) > 0) return rankOf(told) > rankOf(known);
  return told.changedAtMs === known.changedAtMs
    ? told.changedIn > known.changedIn
    : told.changedAtMs > known.changedAtMs;
}

/** ST47: it is accepted for later. */
export function toldAgain(database: Database, notificationId: string): void {
  const known = database.controls.get(notificationId);
  if (known === undefined || known.state === "running") return;
  database.controls.set(notificationId, { ...known, updatedAtMs: database.nowMs() });
}

export function readChanged(database: Database, lastSeconds: number | null): ControlRecord[] {
  const sinceMs = database.nowMs() - (lastSeconds ?? 0) * 1_000;
  return [...database.controls.values()].filter(({ state, updatedAtMs }) =>
    lastSeconds === null ? state !== "running" : updatedAtMs > sinceMs,
  );
}

/** ST36 */
export function wake(
  database: Database,
  held: Held,
  heard: { readonly cancelled: readonly string[]; readonly running: readonly string[] | null },
): void {
  const epochs = new Map(held.map(({ partition, epoch }) => [partition, epoch]));
  const nowMs = database.nowMs();
  for (const timer of database.timers.rows.values()) {
    const { ownerId, epoch } = database.partition(timer.partition);
    if (ownerId === null || epochs.get(timer.partition) !== epoch) continue;
    if (timer.kind !== ROW_TIMER_KIND || timer.dueAtMs <= nowMs) continue;
    const { notificationId, reason } = timer.payload as { notificationId: string; reason: string };
    const control = database.controls.get(notificationId);
    if (control === undefined || control.tenantId !== timer.tenantId) continue;
    const isResumed =
      control.state === "running" &&
      reason === "paused" &&
      heard.running?.includes(notificationId) !== false;
    const isEnded = rankOf(control) > 0 && heard.cancelled.includes(notificationId);
    if (isResumed || isEnded) timer.dueAtMs = nowMs;
  }
}
