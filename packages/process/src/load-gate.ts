// packages/process/src/load-gate.ts
// Few loads at once (P20, S41): a million processes that come back must not ask the store together.
//   LG1  At most `loadsMax` async `onContinue` are under way; the others wait in the order they came.
import { ReadyQueue } from "./ready-queue.ts";

export class LoadGate {
  readonly #loadsMax: number;
  readonly #waiting = new ReadyQueue();
  /** Lets a process that waited go on; false: it is gone. */
  readonly #release: (tableId: number, slot: number) => boolean;
  #runningCount = 0;

  constructor(loadsMax: number, release: (tableId: number, slot: number) => boolean) {
    this.#loadsMax = loadsMax;
    this.#release = release;
  }

  get runningCount(): number {
    return this.#runningCount;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  get isFull(): boolean {
    return this.#runningCount >= this.#loadsMax;
  }

  /** A load is under way. */
  begin(): void {
    this.#runningCount++;
  }

  /** The process must not begin to load now; `release` tells when. */
  wait(tableId: number, slot: number): void {
    this.#waiting.push(tableId, slot);
  }

  end(): void {
    this.#runningCount--;
  }

  /** After every slice: lets as many go on as may run. One that finds no room waits again. */
  pump(): void {
    let roomCount = this.#loadsMax - this.#runningCount;
    while (roomCount > 0 && this.#waiting.shift())
      if (this.#release(this.#waiting.tableId, this.#waiting.slot)) roomCount--;
  }

  clear(): void {
    this.#waiting.clear();
  }
}
