// packages/delivery/src/control-book.ts
// Which notifications are paused or cancelled, at one owner: read from the register each `controlEveryMs`.
//   CB1  Before a partition serves it knows all that is paused or cancelled; a change is heard within
//        `controlEveryMs`, however long the store was away.
//   CB2  What waits in timers is woken when the change has been heard, and all who were put off before are
//        written; else by the next owner. So nothing that is cancelled is released to an owner that does not
//        know it, and nobody stays put off by a pause that is over. It is woken again for half a minute, since
//        what was accepted before the change may be committed after it (and what comes later tells it anew, ST47).
import { type Clock, Fault, type Timer } from "@carillon/kernel";
import type { ControlState } from "@carillon/contracts";
import type { LedgerEntry, Suppression } from "./ledger-entry.ts";
import type { HeldPartition } from "./ports.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

export interface ControlStore {
  /** Changed in the last so many seconds; null: all that do not run. Throws Fault. */
  readChanged(
    lastSeconds: number | null,
  ): Promise<readonly { readonly notificationId: string; readonly state: ControlState }[]>;
  /** What waits there and should no longer, by what was heard, is due now; under the fence. Throws Fault. */
  wake(
    home: string,
    held: readonly HeldPartition[],
    heard: {
      readonly cancelled: readonly string[];
      readonly running: readonly string[] | null; // null: all that are not paused
    },
  ): Promise<void>;
}

export const NO_CONTROLS: ControlStore = {
  readChanged: () => Promise.resolve([]),
  wake: () => Promise.resolve(),
};

export interface ControlBookDeps {
  readonly store: ControlStore;
  readonly clock: Clock;
  readonly everyMs: number;
  readonly home: string;
  held(): readonly HeldPartition[];
  /** Writes what is dirty now; false: something is left. */
  flush(): Promise<boolean>;
  /** It may be done something else with these than before. Rejects never. */
  onChanged(notificationId: string): Promise<void>;
  readonly onFault: (cause: unknown) => void;
  readonly onCrash: (cause: unknown) => void;
}

/** What was committed late by a clock that stands, or by a transaction that took long. */
const MARGIN_SECONDS = 30;

export class ControlBook {
  readonly #deps: ControlBookDeps;
  readonly #states = new Map<string, ControlState>();
  readonly #toWake = new Set<string>(); // notification ids
  #readAtMs: number | undefined; // monotonic, of the last answer's question
  #refreshing: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(deps: ControlBookDeps) {
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

  /** What becomes of whoever has not been handed it; undefined: its sender has not ended it. */
  endOf(notificationId: string): Suppression | undefined {
    return this.#states.get(notificationId) === "cancelled" ? "cancelled" : undefined;
  }

  isPaused(notificationId: string): boolean {
    return this.#states.get(notificationId) === "paused";
  }

  /** Cost: a look-up. A pause is until the notification expires, or is resumed. */
  verdictOf({ envelope: { notification } }: Pick<LedgerEntry, "envelope">): Verdict {
    if (this.#states.size === 0) return ALLOW;
    const outcome = this.endOf(notification.id);
    if (outcome !== undefined) return { kind: "suppress", outcome };
    if (!this.isPaused(notification.id)) return ALLOW;
    return { kind: "defer", untilMs: notification.expiresAtMs, reason: "paused" };
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
    for (const { notificationId, state } of changed) {
      if (state !== "paused") this.#toWake.add(notificationId);
      if ((this.#states.get(notificationId) ?? "running") === state) continue;
      if (state === "running") this.#states.delete(notificationId);
      else this.#states.set(notificationId, state);
      await this.#deps.onChanged(notificationId);
    }
  }

  /** CB1, CB2. Right before these serve: asks once more, then wakes what waits. Throws Fault. */
  async load(held: readonly HeldPartition[]): Promise<void> {
    await this.refresh();
    const cancelled = this.#in("cancelled", [...this.#states.keys()]);
    await this.#deps.store.wake(this.#deps.home, held, { cancelled, running: null });
  }

  /** CB2. Nobody is put off by these any more: when all who were are written, they are woken. */
  async #wake(): Promise<void> {
    const { store, home } = this.#deps;
    const ids = [...this.#toWake];
    if (ids.length === 0 || !(await this.#deps.flush())) return;
    const [cancelled, running] = [this.#in("cancelled", ids), this.#in("running", ids)];
    await store.wake(home, this.#deps.held(), { cancelled, running });
    for (const id of ids) this.#toWake.delete(id);
  }

  #in(state: ControlState, ids: readonly string[]): string[] {
    return ids.filter((id) => (this.#states.get(id) ?? "running") === state);
  }

  async #look(): Promise<void> {
    try {
      await this.refresh();
      await this.#wake();
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#deps.onFault(cause);
    }
  }
}

function ignored(): void {}
