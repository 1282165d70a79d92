// packages/delivery/src/slots.ts
// Places for work that takes connections of the store: so many at a time, a bounded number waits in turn (D6).

export class Slots {
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #freeCount: number;

  constructor(limits: { readonly firingMax: number; readonly waitingMax: number }) {
    this.#freeCount = limits.firingMax;
    this.#waitingMax = limits.waitingMax;
  }

  /** Resolves when there is a place; whoever was given one gives it back. Undefined: too many wait. */
  take(): Promise<void> | undefined {
    if (this.#freeCount > 0) {
      this.#freeCount--;
      return Promise.resolve();
    }
    if (this.#waiting.length >= this.#waitingMax) return undefined;
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#freeCount++;
    else next();
  }
}
