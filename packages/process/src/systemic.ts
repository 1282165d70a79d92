// packages/process/src/systemic.ts
// Tells a storm from bad luck: how many different processes of a table crashed lately (S41).
//   SY1  Only distinct processes inside the window count; one that crashes again counts once.
import type { RuntimeLimits } from "./limits.ts";

export class CrashStorm {
  readonly #lastCrashMs = new Map<number, number>(); // by slot, oldest first

  /** Notes a crash. Returns how many distinct processes crashed when that is too many, else 0. */
  note(slot: number, nowMs: number, processCount: number, limits: RuntimeLimits): number {
    this.#lastCrashMs.delete(slot);
    this.#lastCrashMs.set(slot, nowMs);
    const allowed = Math.max(limits.systemicMax, limits.systemicShare * processCount);
    if (this.#lastCrashMs.size <= allowed) return 0;
    for (const [old, atMs] of this.#lastCrashMs) {
      if (nowMs - atMs < limits.systemicWindowMs) break;
      this.#lastCrashMs.delete(old);
    }
    return this.#lastCrashMs.size > allowed ? this.#lastCrashMs.size : 0;
  }

  clear(): void {
    this.#lastCrashMs.clear();
  }
}
