// packages/delivery/src/zone-clock.ts
// One zone's clock for whole minutes asked for again and again: wall time ↔ instants, mostly by an
// addition. What it says is what LocalTimes says (LT1–LT4); a zone that Node does not know is UTC.
import type { LocalTimes } from "./local-time.ts";

const DAY_MS = 86_400_000;
/** Instants that are kept around a change of the offset: every minute of three days. */
const KEPT_MAX = 4_320;
/** Around a day: no wall time asked about lies further away. No zone changes twice so soon. */
const STEADY_BEFORE_DAYS = 3;
const STEADY_AFTER_DAYS = 5;

export interface WallInstants {
  readonly first: number;
  readonly last: number;
}

export class ZoneClock {
  readonly #times: LocalTimes;
  readonly #zone: string;
  readonly #kept = new Map<number, WallInstants>();
  #day = Number.NaN;
  /** Undefined: the offset changes around `#day`. */
  #steadyOffsetMs: number | undefined;

  constructor(times: LocalTimes, zone: string) {
    this.#times = times;
    this.#zone = zone;
  }

  /** What the clock shows there. */
  wallAt(instantMs: number): number {
    return instantMs + (this.#steadyAt(instantMs) ?? this.#offsetAt(instantMs));
  }

  /** When it shows `wallMs`, which is within two days of `nearMs`. */
  instantsOf(wallMs: number, nearMs: number): WallInstants {
    const offsetMs = this.#steadyAt(nearMs);
    if (offsetMs !== undefined) return { first: wallMs - offsetMs, last: wallMs - offsetMs };
    const kept = this.#kept.get(wallMs);
    if (kept !== undefined) return kept;
    const instants = {
      first: this.#times.instantOf(wallMs, this.#zone) ?? wallMs,
      last: this.#times.lastInstantOf(wallMs, this.#zone) ?? wallMs,
    };
    if (this.#kept.size >= KEPT_MAX) this.#kept.clear();
    this.#kept.set(wallMs, instants);
    return instants;
  }

  #steadyAt(instantMs: number): number | undefined {
    const day = Math.floor(instantMs / DAY_MS);
    if (day !== this.#day) {
      const before = this.#offsetAt((day - STEADY_BEFORE_DAYS) * DAY_MS);
      const after = this.#offsetAt((day + STEADY_AFTER_DAYS) * DAY_MS);
      if (before === after) this.#kept.clear();
      this.#day = day;
      this.#steadyOffsetMs = before === after ? before : undefined;
    }
    return this.#steadyOffsetMs;
  }

  #offsetAt(instantMs: number): number {
    return this.#times.offsetMsAt(instantMs, this.#zone) ?? 0;
  }
}
