// packages/process/src/monitors.ts
// Who wants to know when a process ends (P7 to P9).
//   MO1  Each monitor tells once, after the name is free, in a later slice than the end.
//   MO2  After `demonitor` it tells nothing, also when the end has come already.
import { assert } from "@carillon/kernel";
import type { Down } from "./behaviour.ts";
import type { Engine } from "./engine.ts";
import type { Monitor } from "./table-api.ts";

export class MonitorRef implements Monitor {
  readonly slot: number;
  readonly #monitors: Monitors;
  readonly #watcher: (down: Down) => void;
  #isActive = true;

  constructor(monitors: Monitors, slot: number, watcher: (down: Down) => void) {
    assert(typeof watcher === "function", "P25 a monitor's watcher is a function");
    this.#monitors = monitors;
    this.slot = slot;
    this.#watcher = watcher;
  }

  demonitor(): void {
    this.#isActive = false;
    this.#monitors.forget(this);
  }

  tell(down: Down): void {
    if (!this.#isActive) return;
    this.#isActive = false;
    this.#watcher(down);
  }
}

/** Held by a process: its DOWN waits in that process's mailbox, and neither outlives the holder. */
export class HeldMonitor implements Monitor {
  readonly slot: number;
  readonly #forget: (monitor: HeldMonitor) => void;
  /** False: the holder has ended, was told, or does not want to know any more. */
  isActive = true;
  /** Of the watched table; undefined: its DOWN is on the way. */
  ref: Monitor | undefined;

  constructor(slot: number, forget: (monitor: HeldMonitor) => void) {
    this.slot = slot;
    this.#forget = forget;
  }

  demonitor(): void {
    if (!this.isActive) return;
    this.isActive = false;
    this.ref?.demonitor();
    this.#forget(this);
  }
}

/** Of one table. */
export class Monitors {
  readonly #engine: Engine;
  readonly #onUnwatched: (slot: number) => void;
  readonly #bySlot = new Map<number, Set<MonitorRef>>();

  constructor(engine: Engine, onUnwatched: (slot: number) => void) {
    this.#engine = engine;
    this.#onUnwatched = onUnwatched;
  }

  add(slot: number, watcher: (down: Down) => void): MonitorRef {
    const ref = new MonitorRef(this, slot, watcher);
    const known = this.#bySlot.get(slot);
    if (known === undefined) this.#bySlot.set(slot, new Set([ref]));
    else known.add(ref);
    return ref;
  }

  /** Nobody is there: the watcher is told so, soon (P8). */
  addToNobody(down: Down, watcher: (down: Down) => void): MonitorRef {
    const ref = new MonitorRef(this, down.slot, watcher);
    this.#tellSoon(ref, down);
    return ref;
  }

  get slotsCount(): number {
    return this.#bySlot.size;
  }

  has(slot: number): boolean {
    return this.#bySlot.has(slot);
  }

  forget(ref: MonitorRef): void {
    const known = this.#bySlot.get(ref.slot);
    known?.delete(ref);
    if (known?.size !== 0) return;
    this.#bySlot.delete(ref.slot);
    this.#onUnwatched(ref.slot);
  }

  /** The incarnation has ended: everybody is told, soon. */
  fire(down: Down): void {
    const refs = this.#bySlot.get(down.slot);
    if (refs === undefined) return;
    this.#bySlot.delete(down.slot);
    for (const ref of refs) this.#tellSoon(ref, down);
  }

  fireAll(downOf: (slot: number) => Down): void {
    for (const slot of this.#bySlot.keys()) this.fire(downOf(slot));
  }

  #tellSoon(ref: MonitorRef, down: Down): void {
    this.#engine.downs.push({ ref, down });
    this.#engine.schedule();
  }
}
