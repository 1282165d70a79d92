// packages/bus/src/arrivals.ts
// Everything that reaches this process through its bus, in one order.
//   BU2  What arrived first is handed over first, across all subscriptions.
//   BU5  After a reply nothing more is handed over until whoever awaited it has run: all promise
//        callbacks that are due, and those that they cause.
//   BU6  What this process sends to itself is handed over in a later turn, never inside `publish`.
import type { Scheduler } from "@carillon/kernel";

export interface Arrival {
  /** Returns true when it settled a promise, whose awaiter must run before the next one (BU5). */
  deliver(): boolean;
}

const FORGET_MIN_COUNT = 1_024;

export class ArrivalQueue {
  readonly #scheduler: Scheduler;
  #waiting: Arrival[] = [];
  #nextIndex = 0;
  #isResumeDue = false;
  #idleListeners: (() => void)[] = [];

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** From the network: at once when nothing is before it. */
  arrive(arrival: Arrival): void {
    if (this.#isResumeDue) return void this.#waiting.push(arrival);
    if (arrival.deliver()) this.#resumeAfterAwaiters();
  }

  /** From this process itself (BU6). */
  enqueue(arrival: Arrival): void {
    this.#waiting.push(arrival);
    if (this.#isResumeDue) return;
    this.#isResumeDue = true;
    this.#scheduler.defer(this.#resume);
  }

  /** Resolves when nothing waits. */
  idle(): Promise<void> {
    if (!this.#isResumeDue) return Promise.resolve();
    return new Promise((resolve) => this.#idleListeners.push(resolve));
  }

  /** Not a turn of the event loop: I/O in between could bring more than one turn hands over. */
  #resumeAfterAwaiters(): void {
    this.#isResumeDue = true;
    // A tick asked for by a microtask runs when the queue of microtasks has become empty.
    queueMicrotask(() => process.nextTick(this.#resume));
  }

  /** Hands over what waits now; what that causes waits for the next turn, after I/O. */
  readonly #resume = (): void => {
    this.#forgetDelivered();
    const endIndex = this.#waiting.length;
    while (this.#nextIndex < endIndex)
      if (this.#waiting[this.#nextIndex++]?.deliver() === true) return this.#resumeAfterAwaiters();
    if (this.#nextIndex < this.#waiting.length) return this.#scheduler.defer(this.#resume);
    this.#waiting = [];
    this.#nextIndex = 0;
    this.#isResumeDue = false;
    for (const listener of this.#idleListeners.splice(0)) listener();
  };

  /** Not each time: a long queue with a reply now and then would be copied again and again. */
  #forgetDelivered(): void {
    if (this.#nextIndex < FORGET_MIN_COUNT || this.#nextIndex * 2 < this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#nextIndex);
    this.#nextIndex = 0;
  }
}
