// packages/delivery/src/fake-timer-store.ts
// A TimerStore for tests of this package: MemoryTimers behind a fence of its own, with planted faults.
import { type Clock, Fault } from "@carillon/kernel";
import { MemoryTimers } from "./memory-timers.ts";
import type { TimerChange, TimerClaim, TimerStore, WriteOutcome } from "./ports.ts";

export class FakeTimerStore implements TimerStore {
  readonly memory: MemoryTimers;
  /** The owner's epoch of each partition. */
  readonly epochs: Map<number, number>;
  /** Every write that was asked for, in order. */
  readonly writes: TimerChange[][] = [];
  claimsCount = 0;
  /** Calls that are still to fail, before they are done or after. */
  failuresLeft = 0;
  lostAnswersLeft = 0;

  /** `clock`'s wall clock is the database's. */
  constructor(clock: Pick<Clock, "wallClockMs">, epochs: Map<number, number>) {
    this.epochs = epochs;
    this.memory = new MemoryTimers(
      () => clock.wallClockMs(),
      (partition, epoch) => epochs.get(partition) === epoch,
    );
  }

  async claim(_: string, options: Parameters<TimerStore["claim"]>[1]): Promise<TimerClaim> {
    this.claimsCount++;
    return this.#answered(() => this.memory.claim(options));
  }

  async write(_: string, changes: readonly TimerChange[]): Promise<WriteOutcome> {
    this.writes.push([...changes]);
    return this.#answered(() => this.memory.write(changes));
  }

  #answered<Answer>(statement: () => Answer): Answer {
    const broken = new Fault("planted", { code: "store_unavailable", isRetryable: true });
    if (this.failuresLeft-- > 0) throw broken;
    const answer = statement();
    if (this.lostAnswersLeft-- > 0) throw broken;
    return answer;
  }
}
