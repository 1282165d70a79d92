// packages/process/src/load-gate.ts
// Few loads at once (P20, S41): a million processes that come back must not ask the store together.
//   LG1  At most `loadsMax` async `onContinue` are under way; the others wait in the order they came.
//        One more per table whose `onContinue` gave no promise the first time and does later.
import { ReadyQueue } from "./ready-queue.ts";

export class LoadGate {
  readonly #loadsMax: number;
  readonly #waiting = new ReadyQueue();
  /** Runs a process that waited, unless it is gone. */
  readonly #run: (tableId: number, slot: number) => void;
  #runningCount = 0;
  #isPumping = false;

  constructor(loadsMax: number, run: (tableId: number, slot: number) => void) {
    this.#loadsMax = loadsMax;
    this.#run = run;
  }

  get runningCount(): number {
    return this.#runningCount;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** A process that wants to load has to wait: there is no room, or others came before it. */
  get isClosed(): boolean {
    return this.#isFull || (this.#waiting.length > 0 && !this.#isPumping);
  }

  /** Someone waits and need not. */
  get mayPump(): boolean {
    return this.#waiting.length > 0 && !this.#isFull;
  }

  get #isFull(): boolean {
    return this.#runningCount >= this.#loadsMax;
  }

  /** A load is under way. */
  begin(): void {
    this.#runningCount++;
  }

  /** The process must not begin to load now; it runs when it may. */
  wait(tableId: number, slot: number): void {
    this.#waiting.push(tableId, slot);
  }

  end(): void {
    this.#runningCount--;
  }

  /** After every slice: as many as may load begin. Bounded, as some may turn out not to load. */
  pump(): void {
    this.#isPumping = true;
    for (let count = 0; count < this.#loadsMax && this.mayPump; count++)
      if (this.#waiting.shift()) this.#run(this.#waiting.tableId, this.#waiting.slot);
    this.#isPumping = false;
  }

  clear(): void {
    this.#waiting.clear();
  }
}
