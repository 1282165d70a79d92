// packages/delivery/src/rate-book.ts
// At what rate notifications are handed, at one owner: as they were posted, or as their senders changed it since,
// which is read from the register each `everyMs` (ADR 0033).
//   RA1  Before a partition serves it knows all rates that were changed; a change is heard within `everyMs`,
//        however long the store was away. What was heard 90 days ago is forgotten, as the register does (CB5).
import type { Notification, Rate } from "@carillon/contracts";
import { KEPT_MS, RegisterReader, type RegisterReading } from "./register-reader.ts";

interface ChangedRate {
  readonly notificationId: string;
  readonly ratePerMinute: number | null; // null: as fast as it goes
  readonly targetedCount: number;
}

export interface RateStore {
  /** Changed in the last so many seconds; null: all that were. Throws Fault. */
  readChanged(lastSeconds: number | null): Promise<readonly ChangedRate[]>;
}

export const NO_RATES: RateStore = { readChanged: () => Promise.resolve([]) };

export interface RateBookDeps extends RegisterReading {
  readonly store: RateStore;
  onChanged(notificationId: string): void;
}

export class RateBook {
  readonly #deps: RateBookDeps;
  readonly #rates = new Map<string, ChangedRate & { readonly atMs: number }>(); // in the order they were heard
  readonly #reader: RegisterReader<ChangedRate>;

  constructor(deps: RateBookDeps) {
    this.#deps = deps;
    this.#reader = new RegisterReader({
      ...deps,
      readChanged: (lastSeconds) => deps.store.readChanged(lastSeconds),
      take: (changed, askedAtMs) => this.#take(changed, askedAtMs),
    });
  }

  start(): void {
    this.#reader.start();
  }

  stop(): void {
    this.#reader.stop();
  }

  /** Rates that are remembered. */
  get count(): number {
    return this.#rates.size;
  }

  /** Undefined: as fast as it goes. Cost: a look-up. */
  rateOf(notification: Pick<Notification, "id" | "throttle">): Rate | undefined {
    const changed = this.#rates.size === 0 ? undefined : this.#rates.get(notification.id);
    if (changed === undefined) return notification.throttle;
    const { ratePerMinute, targetedCount } = changed;
    return ratePerMinute === null ? undefined : { ratePerMinute, targetedCount };
  }

  /** Throws Fault. */
  refresh(): Promise<void> {
    return this.#reader.refresh();
  }

  #take(changed: readonly ChangedRate[], askedAtMs: number): void {
    for (const [notificationId, { atMs }] of this.#rates) {
      if (atMs >= askedAtMs - KEPT_MS) break;
      this.#rates.delete(notificationId);
    }
    for (const { notificationId, ratePerMinute, targetedCount } of changed) {
      const known = this.#rates.get(notificationId);
      if (known?.ratePerMinute === ratePerMinute && known.targetedCount === targetedCount) continue;
      this.#rates.delete(notificationId);
      const heard = { notificationId, ratePerMinute, targetedCount, atMs: askedAtMs };
      this.#rates.set(notificationId, heard);
      this.#deps.onChanged(notificationId);
    }
  }
}
