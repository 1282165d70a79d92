// packages/delivery/src/row-moves.ts
// Who of a ledger row is put off to a later one, until the database has it (ADR 0022).
//   RM1  A write that puts somebody off is the same again until it has succeeded: who is put off meanwhile
//        comes with the next one. So it can be numbered, and a repeated one does nothing.
import type { DeferReason } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";

export interface MovedGroup {
  readonly untilMs: number;
  readonly reason: DeferReason;
  readonly positions: Bitset;
}

interface Batch {
  readonly groups: readonly MovedGroup[];
  readonly positions: Bitset; // of all groups
}

export class RowMoves {
  /** Writes that put somebody off, the one under way included. */
  #count: number;
  readonly #moving = new Bitset(); // not known to be written
  #waiting = new Map<string, MovedGroup>();
  #batch: Batch | undefined;

  constructor(count: number) {
    this.#count = count;
  }

  /** Of the next write, and those that are not known to be written. */
  get batch(): (Batch & { readonly count: number }) | undefined {
    return this.#batch && { ...this.#batch, count: this.#count };
  }

  /** Somebody was put off since the write under way began: another one is to follow. */
  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  has(position: number): boolean {
    return this.#moving.has(position);
  }

  /** False when it is put off already. */
  add(position: number, untilMs: number, reason: DeferReason): boolean {
    if (!this.#moving.add(position)) return false;
    const key = `${untilMs}/${reason}`;
    let group = this.#waiting.get(key);
    if (group === undefined) {
      group = { untilMs, reason, positions: new Bitset() };
      this.#waiting.set(key, group);
    }
    group.positions.add(position);
    return true;
  }

  writeBegins(): void {
    if (this.#batch !== undefined || this.#waiting.size === 0) return; // RM1
    const groups = [...this.#waiting.values()];
    const positions = new Bitset();
    for (const group of groups) positions.or(group.positions);
    this.#waiting = new Map();
    this.#batch = { groups, positions };
    this.#count++;
  }

  /** By position, who has left the row with it; undefined: nobody. */
  writeSucceeded(): Bitset | undefined {
    const left = this.#batch?.positions;
    this.#batch = undefined;
    if (left !== undefined) this.#moving.andNot(left);
    return left;
  }
}
