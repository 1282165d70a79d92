// packages/delivery/src/control-book.ts
// Which notifications are paused, cancelled or recalled, at one owner: read from the register each `controlEveryMs`.
//   CB1  Before a partition serves it knows all that is paused or cancelled; a change is heard within
//        `controlEveryMs`, however long the store was away.
//   CB2  What waits in timers is woken when the change has been heard, and all who were put off before are
//        written; else by the next owner. So nothing that is cancelled is released to an owner that does not
//        know it, and nobody stays put off by a pause that is over. It is woken again for half a minute, since
//        what was accepted before the change may be committed after it (and what comes later tells it anew, ST47).
//   RC1  A recall is known when its withdrawal comes to one of the partitions, at the latest: what is handed after
//        that row, or comes to a later one, is cancelled for whoever has not been handed it (ADR 0032).
//   CB5  What was heard 90 days ago is forgotten: no life is as long, and the register does not tell it either.
import { type ControlState, isStopped } from "@carillon/contracts";
import type { LedgerEntry, Suppression } from "./ledger-entry.ts";
import type { HeldPartition } from "./ports.ts";
import { KEPT_MS, RegisterReader, type RegisterReading } from "./register-reader.ts";
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
      readonly cancelled: readonly string[]; // or recalled
      readonly running: readonly string[] | null; // null: all that are not paused
    },
  ): Promise<void>;
}

export const NO_CONTROLS: ControlStore = {
  readChanged: () => Promise.resolve([]),
  wake: () => Promise.resolve(),
};

export interface ControlBookDeps extends RegisterReading {
  readonly store: ControlStore;
  readonly home: string;
  held(): readonly HeldPartition[];
  /** Writes what is dirty now; false: something is left. */
  flush(): Promise<boolean>;
  /** It may be done something else with these than before. Rejects never. */
  onChanged(notificationId: string): Promise<void>;
}

interface Heard {
  readonly state: ControlState;
  readonly atMs: number; // monotonic
}

export class ControlBook {
  readonly #deps: ControlBookDeps;
  readonly #states = new Map<string, Heard>(); // in the order they were heard
  /** Notification ids, as long as the register tells them: what is accepted beside a change is committed after it. */
  readonly #toWake = new Set<string>();
  readonly #reader: RegisterReader<{ notificationId: string; state: ControlState }>;

  constructor(deps: ControlBookDeps) {
    this.#deps = deps;
    this.#reader = new RegisterReader({
      ...deps,
      readChanged: (lastSeconds) => deps.store.readChanged(lastSeconds),
      take: (changed, askedAtMs) => this.#take(changed, askedAtMs),
      afterLook: () => this.#wake(),
    });
  }

  /** Notifications that it holds something of: as many as senders have stopped in 90 days (ADR 0029). */
  get count(): number {
    return this.#states.size + this.#toWake.size;
  }

  start(): void {
    this.#reader.start();
  }

  stop(): void {
    this.#reader.stop();
  }

  /** What becomes of whoever has not been handed it; undefined: its sender has not ended it. */
  endOf(notificationId: string): Suppression | undefined {
    return isStopped(this.stateOf(notificationId)) ? "cancelled" : undefined;
  }

  isPaused(notificationId: string): boolean {
    return this.stateOf(notificationId) === "paused";
  }

  /** Cost: a look-up. A pause is until the notification expires, or is resumed. */
  verdictOf({ envelope: { notification } }: Pick<LedgerEntry, "envelope">): Verdict {
    if (this.#states.size === 0) return ALLOW;
    const outcome = this.endOf(notification.id);
    if (outcome !== undefined) return { kind: "suppress", outcome };
    if (!this.isPaused(notification.id)) return ALLOW;
    return { kind: "defer", untilMs: notification.expiresAtMs, reason: "paused" };
  }

  /** Cost: a look-up. */
  isRecalled({ envelope: { notification } }: LedgerEntry): boolean {
    return this.#states.size > 0 && this.stateOf(notification.id) === "recalled";
  }

  /** RC1. The register has it by now (ST40). */
  recalled(notificationId: string): void {
    if (!this.#set(notificationId, "recalled")) return;
    this.#toWake.add(notificationId);
    this.#deps.onChanged(notificationId).catch(this.#deps.onCrash);
  }

  /** As far as it was heard. */
  stateOf(notificationId: string): ControlState {
    return this.#states.get(notificationId)?.state ?? "running";
  }

  /** Throws Fault. */
  refresh(): Promise<void> {
    return this.#reader.refresh();
  }

  async #take(
    changed: readonly { readonly notificationId: string; readonly state: ControlState }[],
    askedAtMs: number,
  ): Promise<void> {
    this.#forgetBefore(askedAtMs - KEPT_MS);
    for (const { notificationId, state } of changed) {
      if (state !== "paused") this.#toWake.add(notificationId);
      const isChanged = this.#set(notificationId, state);
      if (isChanged) await this.#deps.onChanged(notificationId);
    }
  }

  /** False: it is no news. */
  #set(notificationId: string, state: ControlState): boolean {
    const known = this.stateOf(notificationId);
    if (known === state || known === "recalled") return false; // an answer may be older than a withdrawal
    const atMs = this.#deps.clock.monotonicMs();
    this.#states.delete(notificationId);
    if (state !== "running") this.#states.set(notificationId, { state, atMs });
    return true;
  }

  /** CB1, CB2. Right before these serve: asks once more, then wakes what waits. Throws Fault. */
  async load(held: readonly HeldPartition[]): Promise<void> {
    await this.refresh();
    const cancelled = this.#stoppedOf([...this.#states.keys()]);
    await this.#deps.store.wake(this.#deps.home, held, { cancelled, running: null });
  }

  /** CB2. Nobody is put off by these any more: when all who were are written, they are woken. */
  async #wake(): Promise<void> {
    const { store, home } = this.#deps;
    const ids = [...this.#toWake];
    if (ids.length === 0 || !(await this.#deps.flush())) return;
    const cancelled = this.#stoppedOf(ids);
    const running = ids.filter((id) => !this.#states.has(id));
    await store.wake(home, this.#deps.held(), { cancelled, running });
    for (const id of ids) this.#toWake.delete(id);
  }

  #stoppedOf(ids: readonly string[]): string[] {
    return ids.filter((id) => isStopped(this.stateOf(id)));
  }

  /** CB5. */
  #forgetBefore(beforeMs: number): void {
    for (const [notificationId, { atMs }] of this.#states) {
      if (atMs >= beforeMs) return;
      this.#states.delete(notificationId);
    }
  }
}
