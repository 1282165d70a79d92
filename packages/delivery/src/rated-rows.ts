// packages/delivery/src/rated-rows.ts
// Held rows of notifications that have a rate: each waits in its notification's group, for its next token, for what
// its sender does with it, or for its end (ADR 0033).
//   RA4  What waits for its rate is handed to nobody otherwise: not by a lane, nor when a session opens; but with
//        what comes after it (PC4), and to whom more of his own waits than he may have (SH1).
//   RA5  What may not be handed any more (cancelled, expired) leaves its group at once for its lane, as what has
//        no rate any more; what is paused stays, and goes on at its rate.
//   RA6  All groups wait on one timer, which is armed for the next of them, and wakes 50 times a second at most.
//   RA7  At most `ratedRowsMax` rows of a partition wait, beside the room that others have (IN4); what is beyond
//        has no rate, and is counted.
import { fnv1a32, mix32 } from "@carillon/contracts";
import { type Clock, TimerWheel } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";
import { type HeldPlace, type Pace, RateGroup } from "./rate-group.ts";

export interface RatedRowsDeps {
  readonly clock: Clock;
  readonly home: string;
  readonly ratedRowsMax: number;
  /** Undefined: it is handed as fast as it goes, or not to be handed at all. */
  paceOf(entry: LedgerEntry): Pace | undefined;
  /** It has tokens: it is to be served, and then told `rest`. */
  onReady(group: RateGroup): void;
  /** These have no rate any more. */
  onFree(rows: readonly HeldPlace[]): void;
}

/** Clocks of the wall jump, and rows may be over that nobody told of: a look costs microseconds. */
const LOOK_MAX_MS = 60_000;

export class RatedRows {
  readonly #deps: RatedRowsDeps;
  readonly #wheel: TimerWheel;
  readonly #groups = new Map<string, RateGroup>(); // by notification id
  readonly #byKey = new Map<number, RateGroup>(); // those that a timer is armed for
  #lastKey = 0;
  #refusedCount = 0;

  constructor(deps: RatedRowsDeps) {
    this.#deps = deps;
    this.#wheel = new TimerWheel({ clock: deps.clock, onFire: (key) => this.#onDue(key) });
  }

  /** Rows that had no place for a rate, each time that they were looked at (RA7). */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  /** Whether the row waits here from now on. Cost where it has no rate: a look-up. */
  takes(place: HeldPlace): boolean {
    const { clock, home } = this.#deps;
    const { entry } = place.row;
    const pace = this.#deps.paceOf(entry);
    if (pace === undefined) return false;
    if (place.partition.ratedCount >= this.#deps.ratedRowsMax) {
      this.#refusedCount++;
      return false;
    }
    const { id } = entry.envelope.notification;
    const nowMs = clock.monotonicMs();
    let group = this.#groups.get(id);
    if (group === undefined) {
      const phase = mix32(fnv1a32(`${id}/${home}/${place.partition.partition}`)) / 2 ** 32;
      this.#groups.set(id, (group = new RateGroup(entry, { pace, phase, nowMs })));
    }
    group.add(place, nowMs);
    if (!group.isQueued) this.#look(group);
    return true;
  }

  /** Its rate has changed, or what its sender does with it. */
  changed(notificationId: string): void {
    const group = this.#groups.get(notificationId);
    if (group !== undefined) this.#look(group);
  }

  /** It was served: it waits for its next token. */
  rest(group: RateGroup): void {
    group.isQueued = false;
    this.#look(group);
  }

  stop(): void {
    this.#wheel.stop();
    this.#byKey.clear();
  }

  #onDue(key: number): void {
    const group = this.#byKey.get(key);
    this.#byKey.delete(key);
    if (group === undefined) return;
    group.timerKey = 0;
    this.#look(group);
  }

  #look(group: RateGroup): void {
    const { clock } = this.#deps;
    this.#disarm(group);
    group.prune();
    const pace = this.#deps.paceOf(group.entry);
    const nowMs = clock.monotonicMs();
    if (pace === undefined) {
      this.#forget(group);
      const rows = group.dissolve();
      if (rows.length > 0) this.#deps.onFree(rows); // RA5
      return;
    }
    group.setPace(pace, nowMs);
    if (group.isQueued) return;
    if (group.rowsCount === 0) this.#forget(group);
    else if (group.readyCount(nowMs) > 0) {
      group.isQueued = true;
      this.#deps.onReady(group);
    } else this.#arm(group, nowMs);
  }

  #forget(group: RateGroup): void {
    const { id } = group.entry.envelope.notification;
    if (this.#groups.get(id) === group) this.#groups.delete(id);
  }

  #arm(group: RateGroup, nowMs: number): void {
    const { expiresAtMs } = group.entry.envelope.notification;
    const lifeMs = Math.max(0, expiresAtMs - this.#deps.clock.wallClockMs());
    const delayMs = Math.min(group.waitMs(nowMs), lifeMs, LOOK_MAX_MS);
    group.timerKey = ++this.#lastKey;
    group.timerHandle = this.#wheel.arm(delayMs, group.timerKey, nowMs);
    this.#byKey.set(group.timerKey, group);
  }

  #disarm(group: RateGroup): void {
    if (group.timerKey === 0) return;
    this.#byKey.delete(group.timerKey);
    this.#wheel.cancel(group.timerHandle);
    group.timerKey = 0;
  }
}
