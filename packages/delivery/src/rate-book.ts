// packages/delivery/src/rate-book.ts
// At what rate notifications are handed, at one owner: as they were posted, or as their senders changed it since,
// which is read from the register each `everyMs` (ADR 0033).
//   RA1  Before a partition serves it knows all rates that were changed; a change is heard within `everyMs`,
//        however long the store was away. What was heard 90 days ago is forgotten, as the register does (CB5).
import type { Notification, Rate } from "@carillon/contracts";
import { type Clock, Fault, type Timer } from "@carillon/kernel";

/** As what is paused or cancelled (control-book.ts). */
const KEPT_MS = 90 * 86_400_000;

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

export interface RateBookDeps {
  readonly store: RateStore;
  readonly clock: Clock;
  readonly everyMs: number;
  onChanged(notificationId: string): void;
  readonly onFault: (cause: unknown) => void;
  readonly onCrash: (cause: unknown) => void;
}

/** What was committed late by a clock that stands, or by a transaction that took long. */
const MARGIN_SECONDS = 30;

export class RateBook {
  readonly #deps: RateBookDeps;
  readonly #rates = new Map<string, ChangedRate & { readonly atMs: number }>(); // in the order they were heard
  #readAtMs: number | undefined; // monotonic, of the last answer's question
  #refreshing: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(deps: RateBookDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, everyMs, onCrash } = this.#deps;
    this.#timer = clock.setTimer(everyMs, () => {
      this.#look()
        .finally(() => {
          if (!this.#isStopped) this.start();
        })
        .catch(onCrash);
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
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

  /** One after the other: an older answer must not take the place of a newer one. Throws Fault. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.catch(ignored).then(() => this.#read());
    return this.#refreshing;
  }

  async #read(): Promise<void> {
    const askedAtMs = this.#deps.clock.monotonicMs();
    const sinceMs = this.#readAtMs;
    const lastSeconds =
      sinceMs === undefined ? null : (askedAtMs - sinceMs) / 1_000 + MARGIN_SECONDS;
    const changed = await this.#deps.store.readChanged(lastSeconds);
    this.#readAtMs = askedAtMs;
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

  async #look(): Promise<void> {
    try {
      await this.refresh();
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#deps.onFault(cause);
    }
  }
}

function ignored(): void {}
