// packages/process/src/systemic.ts
// Tells a storm from bad luck: how many different processes of a table crashed lately (S41).
//   SY1  Only distinct processes inside the window count; one that crashes again counts once.
// While no more crashes are noted than processes may crash, nobody needs to be told apart: they are
// two numbers each in rings. Above that they move to a map by slot until the storm is over.
import type { RuntimeLimits } from "./limits.ts";

const FIRST_CAPACITY_COUNT = 16; // power of two, as every later capacity

export class CrashStorm {
  /** Crashes, oldest first; a process may be there several times. */
  #slots = new Int32Array(0);
  #atMs = new Float64Array(0);
  #head = 0;
  #length = 0;
  /** Instead of them when there are too many: last crash by slot, oldest first. */
  #lastCrashMs: Map<number, number> | undefined;

  /** Notes a crash. Returns how many distinct processes crashed when that is too many, else 0. */
  note(slot: number, nowMs: number, processCount: number, limits: RuntimeLimits): number {
    const allowed = Math.max(limits.systemicMax, limits.systemicShare * processCount);
    if (this.#lastCrashMs === undefined) {
      this.#push(slot, nowMs);
      if (this.#length <= allowed) return 0;
      this.#forgetOld(nowMs - limits.systemicWindowMs);
      if (this.#length <= allowed) return 0;
    }
    const last = (this.#lastCrashMs ??= this.#bySlot());
    last.delete(slot);
    last.set(slot, nowMs);
    if (last.size <= allowed) return 0;
    for (const [old, atMs] of last) {
      if (nowMs - atMs < limits.systemicWindowMs) break;
      last.delete(old);
    }
    return last.size > allowed ? last.size : 0;
  }

  clear(): void {
    this.#slots = new Int32Array(0);
    this.#atMs = new Float64Array(0);
    this.#head = 0;
    this.#length = 0;
    this.#lastCrashMs = undefined;
  }

  #push(slot: number, nowMs: number): void {
    if (this.#length === this.#slots.length) this.#grow();
    const place = (this.#head + this.#length++) & (this.#slots.length - 1);
    this.#slots[place] = slot;
    this.#atMs[place] = nowMs;
  }

  #forgetOld(untilMs: number): void {
    while (this.#length > 0 && (this.#atMs[this.#head] ?? 0) <= untilMs) {
      this.#head = (this.#head + 1) & (this.#slots.length - 1);
      this.#length--;
    }
  }

  /** Empties the rings. */
  #bySlot(): Map<number, number> {
    const last = new Map<number, number>();
    for (let n = 0; n < this.#length; n++) {
      const place = (this.#head + n) & (this.#slots.length - 1);
      const slot = this.#slots[place] ?? 0;
      last.delete(slot);
      last.set(slot, this.#atMs[place] ?? 0);
    }
    this.clear();
    return last;
  }

  #grow(): void {
    const capacityCount = Math.max(FIRST_CAPACITY_COUNT, this.#slots.length * 2);
    const slots = new Int32Array(capacityCount);
    const atMs = new Float64Array(capacityCount);
    for (let n = 0; n < this.#length; n++) {
      const place = (this.#head + n) & (this.#slots.length - 1);
      slots[n] = this.#slots[place] ?? 0;
      atMs[n] = this.#atMs[place] ?? 0;
    }
    this.#slots = slots;
    this.#atMs = atMs;
    this.#head = 0;
  }
}
