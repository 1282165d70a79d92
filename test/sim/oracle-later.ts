// test/sim/oracle-later.ts
// A2: what waits for its time is a ledger row at most a second after it, where nothing is wrong.
import type { Cluster } from "./cluster.ts";
import type { Database } from "./database.ts";
import { ownerChangesOf } from "./oracle-cut.ts";
import { touches, type Weather } from "./weather.ts";

const LATE_MAX_MS = 1_000;

interface Release {
  readonly home: string;
  readonly partition: number;
  /** When it was due, or was set if that was later. */
  readonly dueMs: number;
  readonly atMs: number;
}

/** What has waited, and when it came. */
export class Waits {
  readonly releases: Release[] = [];
  readonly #setAtMs = new Map<string, number>(); // "home/timer"

  /** Whatever has been set by now. */
  look({ home, timers }: Database, nowMs: number): void {
    for (const { id } of timers.rows.values()) {
      const key = `${home}/${id}`;
      if (!this.#setAtMs.has(key)) this.#setAtMs.set(key, nowMs);
    }
  }

  released(
    { home, nowMs: databaseNowMs }: Database,
    nowMs: number,
    timer: { readonly id: number; readonly partition: number } & Record<
      "dueAtMs" | "attemptCount",
      number
    >,
  ): void {
    if (timer.attemptCount > 1) return; // something went wrong before: it was tried again, later each time
    const dueMs = timer.dueAtMs - (databaseNowMs() - nowMs);
    const setAtMs = this.#setAtMs.get(`${home}/${timer.id}`) ?? 0;
    const { partition } = timer;
    this.releases.push({ home, partition, dueMs: Math.max(dueMs, setAtMs), atMs: nowMs });
  }
}

export interface LaterCounts {
  /** How often something had to be there within a second, since nothing was wrong. */
  readonly inTime: number;
}

export function checkLater(cluster: Cluster, weather: Weather): LaterCounts {
  const { world, oracle } = cluster;
  let inTime = 0;
  for (const { home, partition, dueMs, atMs } of oracle.waits.releases) {
    const limitMs = dueMs + LATE_MAX_MS;
    const spans = [...weather.settledTroublesOf(home), ...ownerChangesOf(oracle, home, partition)];
    if (touches(spans, dueMs, limitMs)) continue;
    inTime++;
    if (atMs <= limitMs) continue;
    const lateMs = Math.round(atMs - dueMs);
    world.violate("A2", `${home}/${partition} got a row ${lateMs} ms after it was due`);
    return { inTime };
  }
  return { inTime };
}
