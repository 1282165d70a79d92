// packages/delivery/src/sparse-set.ts
// A set of recipients that are mostly few: a short list, and a bitset from some number on. A bitset of
// 4,000 recipients takes 500 bytes, which a key with 3,000 list elements would take 3,000 times.
import { Bitset } from "@carillon/kernel";

/** Above it a bitset is smaller and quicker to combine. */
const FEW_MAX = 16;

export class SparseSet {
  #few: number[] | undefined = []; // in no order
  #many: Bitset | undefined;

  add(member: number): void {
    if (this.#few === undefined) {
      this.#many?.add(member);
      return;
    }
    if (this.#few.includes(member)) return;
    this.#few.push(member);
    if (this.#few.length <= FEW_MAX) return;
    this.#many = Bitset.of(this.#few);
    this.#few = undefined;
  }

  remove(member: number): void {
    this.#many?.remove(member);
    const at = this.#few?.indexOf(member) ?? -1;
    if (at >= 0) this.#few?.splice(at, 1);
  }

  get isEmpty(): boolean {
    return this.#many?.isEmpty ?? this.#few?.length === 0;
  }

  toBitset(): Bitset {
    return this.#many?.clone() ?? Bitset.of(this.#few ?? []);
  }
}
