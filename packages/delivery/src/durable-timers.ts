// packages/delivery/src/durable-timers.ts
// Durable timers of the partitions that are served here. Nothing of them is in memory before it is due:
// the table is looked at when the next one is due, and every `lookMaxMs` for what others have set.
//   DT1  Never early by the database's clock: it is the database that says what is due, as it is claimed.
//   DT2  At least once: a timer is done only when its handler's effects are committed; a new owner finds
//        what the last one had not ended. A later setting of its key is another timer.
//   DT4  At most `firingMax` timers are in memory; the rest waits in the table, soonest due first.
//   DT5  Of a partition that is not served here nothing is fired, and nothing of it is written once it
//        is lost (D4). In a release what is being fired ends first, within the release's time.
//   DT6  A handler that fails or never ends delays no other timer but by its place among `firingMax`;
//        one that ended its owner before (DT8) those that did, too.
//   DT8  Timers whose owner was gone before their end are doubtful: one small group of them is fired at a
//        time, and in the end each alone, so that of all that died together the guilty one is buried.
import {
  assert,
  backoffDelayMs,
  type BackoffOptions,
  type Clock,
  Fault,
  type Random,
  type Timer,
} from "@carillon/kernel";
import type { TimerLimits } from "./delivery-limits.ts";
import type { ClaimedTimer, HeldPartition, TimerChange } from "./ports.ts";
import { type AfterFiring, afterFiring, lookDelayMs, refusalOf } from "./timer-decision.ts";
import { assertSetting, reasonOf, type TimerSetting } from "./timer-setting.ts";
import { TimerStatements, type TimerStatementsDeps } from "./timer-statements.ts";

/** What happens when timers of a kind are due. `Served`: what is served here of its partition. */
export interface TimerHandler<Served> {
  readonly kind: string;
  /**
   * Resolves when all that follows from the timer is committed; rejects: it is tried again. May be
   * called again for the same timer at any time after, by another owner, too.
   */
  fire(timer: ClaimedTimer, served: Served): Promise<void> | void;
}

export interface TimerObserver {
  /** `lateMs`: after it was due, at most. */
  onTimerFired(kind: string, lateMs: number): void;
  onTimerFailed(timer: ClaimedTimer, cause: unknown): void;
  onTimerBuried(timer: ClaimedTimer, reason: string): void;
}

export interface DurableTimersDeps<Served> extends TimerStatementsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: TimerLimits;
  /** After a write that failed because of the store. */
  readonly storeRetry: BackoffOptions;
  readonly handlers: readonly TimerHandler<Served>[];
  /** Undefined: not served here, or no longer. */
  servedOf(partition: number): Served | undefined;
  /** A loop of it has ended by a bug. */
  readonly onCrash: (cause: unknown) => void;
  readonly observer: TimerObserver;
}

interface Firing {
  readonly timer: ClaimedTimer;
  readonly epoch: number;
  /** Its handler has, and the end is being written. */
  hasEnded: boolean;
}

export class DurableTimers<Served> {
  readonly #deps: DurableTimersDeps<Served>;
  readonly #handlers: ReadonlyMap<string, TimerHandler<Served>>;
  readonly #served = new Map<number, number>(); // partition → epoch
  readonly #firing = new Map<number, Firing>(); // by the timer's id
  readonly #statements: TimerStatements;
  #onSettled: (() => void)[] = [];
  #look: Timer | undefined;
  #looksAtMs = Infinity; // monotonic
  #isLooking = false;
  #isLookWanted = false; // while another one ran, or there was no room
  #doubtfulCount = 0; // of those being fired
  #failuresCount = 0;
  #isStopped = false;

  constructor(deps: DurableTimersDeps<Served>) {
    this.#deps = deps;
    this.#handlers = new Map(deps.handlers.map((handler) => [handler.kind, handler]));
    this.#statements = new TimerStatements(deps);
  }

  /** Settings, cancellings and ends on their way to the store. */
  get changes(): Pick<TimerStatements, "waitingCount" | "refusedCount"> {
    return this.#statements;
  }

  /** Claimed and not done. */
  get firingCount(): number {
    return this.#firing.size;
  }

  /** From now on what is due in it is fired; what became due before, at once. */
  serve({ partition, epoch }: HeldPartition): void {
    this.#served.set(partition, epoch);
    this.#lookWithin(0);
  }

  /** Nothing of it is fired any more. */
  drop(partition: number): void {
    this.#served.delete(partition);
  }

  /**
   * Fires nothing more of these; resolves when what was being fired has ended, or after `maxMs`. What
   * has not ended by then is the next owner's, and not doubtful for it.
   */
  async drain(partitions: readonly number[], maxMs: number): Promise<void> {
    for (const partition of partitions) this.drop(partition);
    const of = new Set(partitions);
    const isWritten = this.#unclaim(of);
    const late = Promise.withResolvers<void>();
    const timer = this.#deps.clock.setTimer(maxMs, late.resolve);
    try {
      await Promise.race([Promise.all([isWritten, this.#settled(of)]), late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /**
   * Resolves when it is committed; false: another owner has the partition (D4). Rejects with a Fault
   * when the store is down or too much waits: it may be set, or not. Replaces the timer of this key.
   */
  async set(held: HeldPartition, setting: TimerSetting): Promise<boolean> {
    assert(this.#handlers.has(setting.kind), `DT1 nobody handles timers of kind ${setting.kind}`);
    assertSetting(setting); // DT7
    const isSet = await this.#statements.add({ ...held, ...setting, change: "set" });
    if (isSet && "inMs" in setting.due) this.#lookWithin(Math.ceil(setting.due.inMs));
    return isSet;
  }

  /** As `set`. What is being fired already ends by itself. */
  cancel(held: HeldPartition, { kind, key }: Pick<TimerSetting, "kind" | "key">): Promise<boolean> {
    return this.#statements.add({ ...held, kind, key, change: "cancel" });
  }

  stop(): void {
    this.#isStopped = true;
    this.#served.clear();
    this.#look?.cancel();
  }

  // --- looking ------------------------------------------------------------------------------

  #lookWithin(delayMs: number): void {
    if (this.#isStopped || this.#handlers.size === 0) return;
    const { clock } = this.#deps;
    const atMs = clock.monotonicMs() + delayMs;
    if (atMs >= this.#looksAtMs) return;
    this.#look?.cancel();
    this.#looksAtMs = atMs;
    this.#look = clock.setTimer(delayMs, () => {
      this.#looksAtMs = Infinity;
      this.#lookNow().catch(this.#deps.onCrash);
    });
  }

  /** One look at a time; whoever wants another one meanwhile gets it afterwards. */
  async #lookNow(): Promise<void> {
    const { claimMax, firingMax, lookMinMs } = this.#deps.limits;
    const room = Math.min(claimMax, firingMax - this.#firing.size);
    if (this.#isLooking || room <= 0) {
      this.#isLookWanted = true; // DT4
      return;
    }
    if (this.#served.size === 0) return; // the next one that is served looks
    this.#isLooking = true;
    let delayMs: number;
    try {
      delayMs = await this.#claim(room);
      this.#failuresCount = 0;
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#deps.onFault(cause);
      delayMs = backoffDelayMs(this.#deps.storeRetry, ++this.#failuresCount, this.#deps.random);
    } finally {
      this.#isLooking = false;
    }
    this.#lookWithin(this.#isLookWanted ? Math.min(delayMs, lookMinMs) : delayMs);
    this.#isLookWanted = false;
  }

  async #claim(limitCount: number): Promise<number> {
    const { clock, limits } = this.#deps;
    const held = Array.from(this.#served, ([partition, epoch]) => ({ partition, epoch }));
    const askedAtMs = clock.monotonicMs();
    const claim = await this.#statements.claim({
      held,
      kinds: [...this.#handlers.keys()],
      exceptIds: [...this.#firing.keys()],
      limitCount,
      mayBeDoubtful: this.#doubtfulCount === 0, // DT8
    });
    const epochs = new Map(held.map(({ partition, epoch }) => [partition, epoch]));
    for (const timer of claim.timers) {
      const epoch = epochs.get(timer.partition);
      const served = this.#deps.servedOf(timer.partition);
      if (epoch === undefined || served === undefined) continue;
      if (this.#served.get(timer.partition) !== epoch) continue; // DT5: lost, or lost and won again
      this.#firing.set(timer.id, { timer, epoch, hasEnded: false });
      if (timer.lostCount > 0) this.#doubtfulCount++;
      this.#fire(timer, { served, epoch, askedAtMs }).catch(this.#deps.onCrash);
    }
    return lookDelayMs(claim, limits);
  }

  // --- firing -------------------------------------------------------------------------------

  async #fire(
    timer: ClaimedTimer,
    { served, epoch, askedAtMs }: { served: Served; epoch: number; askedAtMs: number },
  ): Promise<void> {
    const { limits, random, observer, clock } = this.#deps;
    const { partition, kind, key, id, failureCount, lostCount } = timer;
    const refusal = refusalOf(lostCount, limits);
    let after: AfterFiring;
    if (refusal === undefined) {
      observer.onTimerFired(kind, timer.lateMs + clock.monotonicMs() - askedAtMs);
      after = afterFiring(await this.#handle(timer, served), failureCount, limits, random);
    } else after = { change: "bury", reason: refusal };
    const firing = this.#firing.get(id);
    if (firing !== undefined) firing.hasEnded = true;
    await this.#settle({ partition, epoch, kind, key, id, ...after });
    if (after.change === "bury") observer.onTimerBuried(timer, after.reason);
    this.#firing.delete(id);
    if (lostCount > 0 && --this.#doubtfulCount === 0) this.#lookWithin(limits.lookMinMs); // the next
    for (const tell of this.#onSettled.splice(0)) tell();
    if (!this.#isLookWanted || this.#isLooking) return;
    this.#isLookWanted = false;
    this.#lookWithin(limits.lookMinMs); // there is room again
  }

  /** Undefined: done. Otherwise why it failed. */
  async #handle(timer: ClaimedTimer, served: Served): Promise<string | undefined> {
    const { clock, limits, observer } = this.#deps;
    const late = Promise.withResolvers<never>();
    const deadline = clock.setTimer(limits.fireMaxMs, () =>
      late.reject(new Error(`has not ended within ${limits.fireMaxMs} ms`)),
    );
    try {
      await Promise.race([this.#handlers.get(timer.kind)?.fire(timer, served), late.promise]);
      return undefined;
    } catch (cause) {
      observer.onTimerFailed(timer, cause);
      return reasonOf(cause);
    } finally {
      deadline.cancel();
    }
  }

  /** Written for as long as the partition is held: by its id it cannot meet a later setting (DT2). */
  async #settle(change: TimerChange): Promise<void> {
    const { clock, storeRetry, random } = this.#deps;
    for (let attempt = 1; !this.#isStopped && this.#deps.isHeld(change); attempt++) {
      try {
        await this.#statements.add(change);
        return;
      } catch (cause) {
        if (!(cause instanceof Fault)) throw cause;
        await clock.sleep(backoffDelayMs(storeRetry, attempt, random)); // told already
      }
    }
  }

  /** While they may still end here: nobody else claims them before the lease is given back. */
  async #unclaim(partitions: ReadonlySet<number>): Promise<void> {
    const unended = [...this.#firing.values()].filter(
      ({ timer, hasEnded }) => partitions.has(timer.partition) && !hasEnded,
    );
    await Promise.all(
      unended.map(async ({ timer: { partition, kind, key, id }, epoch }) => {
        try {
          await this.#statements.add({ partition, epoch, kind, key, id, change: "unclaim" });
        } catch (cause) {
          if (!(cause instanceof Fault)) throw cause; // told already: it counts as lost
        }
      }),
    );
  }

  async #settled(partitions: ReadonlySet<number>): Promise<void> {
    const isFiring = (): boolean =>
      [...this.#firing.values()].some(({ timer }) => partitions.has(timer.partition));
    while (isFiring()) await new Promise<void>((resolve) => void this.#onSettled.push(resolve));
  }
}
