// packages/bus/src/pauses.ts
// Waits between tries of a connection, which end early when the bus is drained.
//   BU4  The end is listened for once, not at each wait: a race against one long-lived promise would
//        keep a reaction on it for each try, for as long as the server is away.
import type { Clock } from "@carillon/kernel";

export class Pauses {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #isOver = false;

  constructor(clock: Clock, closing: Promise<void>) {
    this.#clock = clock;
    void closing.then(() => this.#endAll());
  }

  /** A sleep, not a timer: it keeps a node alive. */
  async pause(delayMs: number): Promise<void> {
    if (this.#isOver) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    await Promise.race([this.#clock.sleep(delayMs), promise]);
    this.#waiting.delete(resolve);
  }

  #endAll(): void {
    this.#isOver = true;
    for (const end of this.#waiting) end();
  }
}
