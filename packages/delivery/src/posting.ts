// packages/delivery/src/posting.ts
// Who has one value of one attribute. A value that few have (a date of birth, an employee number) is a
// short list, one that many have (a country) a bitset: a bitset of 4,000 recipients takes 500 bytes,
// which a key with 4,000 values would take 4,000 times.
import { readTimeText, type Scalar, type TimeText } from "@carillon/contracts";
import { Bitset } from "@carillon/kernel";

/** Above it a bitset is smaller and quicker to combine. */
const FEW_MAX = 16;

export class Posting {
  readonly value: Scalar;
  /** Of text that says a time: read once, and not again for every filter. */
  readonly time: TimeText | undefined;
  #few: number[] | undefined = []; // in no order
  #many: Bitset | undefined;
  #count = 0;

  constructor(value: Scalar) {
    this.value = value;
    const time = typeof value === "string" ? readTimeText(value) : "none";
    this.time = typeof time === "string" ? undefined : time;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  add(member: number): void {
    if (this.#few === undefined) {
      if (this.#many?.add(member) === true) this.#count++;
      return;
    }
    if (this.#few.includes(member)) return;
    this.#few.push(member);
    this.#count++;
    if (this.#count <= FEW_MAX) return;
    this.#many = Bitset.of(this.#few);
    this.#few = undefined;
  }

  remove(member: number): void {
    if (this.#few === undefined) {
      if (this.#many?.remove(member) === true) this.#count--;
      return;
    }
    const at = this.#few.indexOf(member);
    if (at < 0) return;
    this.#few.splice(at, 1);
    this.#count--;
  }

  /** Adds everybody who has it. */
  addTo(set: Bitset): void {
    if (this.#many !== undefined) set.or(this.#many);
    else if (this.#few !== undefined) for (const member of this.#few) set.add(member);
  }
}
