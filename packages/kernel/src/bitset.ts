// packages/kernel/src/bitset.ts
// A growing set of small whole numbers: who is targeted, delivered, read (DESIGN §5).
//   BS1  `toBytes` is little-endian by bit: number n is bit (n mod 8) of byte n/8, as Postgres'
//        get_bit(bytea, n) counts, without trailing zero bytes.
//   BS2  Sets of different lengths combine as if the shorter one were filled with zeros.

const WORD_BITS = 32;

export class Bitset {
  #words: Uint32Array;

  constructor(capacityCount = 0) {
    this.#words = new Uint32Array(Math.ceil(capacityCount / WORD_BITS));
  }

  static of(members: Iterable<number>): Bitset {
    const set = new Bitset();
    for (const member of members) set.add(member);
    return set;
  }

  /** Numbers 0 … count−1. */
  static firstN(count: number): Bitset {
    const set = new Bitset(count);
    for (let index = 0; index < set.#words.length; index++) set.#words[index] = 0xffffffff;
    const rest = count % WORD_BITS;
    if (rest > 0) set.#words[set.#words.length - 1] = 2 ** rest - 1;
    return set;
  }

  static fromBytes(bytes: Uint8Array): Bitset {
    const set = new Bitset(bytes.length * 8);
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index] ?? 0;
      if (byte !== 0)
        set.#words[index >> 2] = (set.#words[index >> 2] ?? 0) | (byte << ((index & 3) * 8));
    }
    return set;
  }

  /** Returns whether `member` was new. Grows as needed. */
  add(member: number): boolean {
    const index = member >>> 5;
    if (index >= this.#words.length) this.#grow(index + 1);
    const before = this.#words[index] ?? 0;
    const after = (before | (1 << (member & 31))) >>> 0;
    if (before === after) return false;
    this.#words[index] = after;
    return true;
  }

  remove(member: number): boolean {
    const index = member >>> 5;
    const before = this.#words[index] ?? 0;
    const after = (before & ~(1 << (member & 31))) >>> 0;
    if (before === after) return false;
    this.#words[index] = after;
    return true;
  }

  has(member: number): boolean {
    return ((this.#words[member >>> 5] ?? 0) & (1 << (member & 31))) !== 0;
  }

  get isEmpty(): boolean {
    return this.#words.every((word) => word === 0);
  }

  count(): number {
    let total = 0;
    for (const word of this.#words) total += popcount(word);
    return total;
  }

  clone(): Bitset {
    const copy = new Bitset();
    copy.#words = this.#words.slice();
    return copy;
  }

  /** In place; returns this. */
  or(other: Bitset): this {
    if (other.#words.length > this.#words.length) this.#grow(other.#words.length);
    const [words, others] = [this.#words, other.#words];
    for (let index = 0; index < others.length; index++)
      words[index] = (words[index] ?? 0) | (others[index] ?? 0);
    return this;
  }

  /** In place; returns this. */
  and(other: Bitset): this {
    const [words, others] = [this.#words, other.#words];
    for (let index = 0; index < words.length; index++)
      words[index] = (words[index] ?? 0) & (others[index] ?? 0);
    return this;
  }

  /** Removes the members of `other`, in place; returns this. */
  andNot(other: Bitset): this {
    const [words, others] = [this.#words, other.#words];
    const length = Math.min(words.length, others.length);
    for (let index = 0; index < length; index++)
      words[index] = (words[index] ?? 0) & ~(others[index] ?? 0);
    return this;
  }

  /** Removes the `countMax` lowest members, or all there are, and returns them. */
  takeLowest(countMax: number): Bitset {
    const taken = new Bitset();
    taken.#words = new Uint32Array(this.#words.length);
    let leftCount = countMax;
    for (let index = 0; index < this.#words.length && leftCount > 0; index++) {
      const word = this.#words[index] ?? 0;
      if (word === 0) continue;
      const part = lowestBits(word, leftCount);
      taken.#words[index] = part;
      this.#words[index] = (word ^ part) >>> 0;
      leftCount -= popcount(part);
    }
    return taken;
  }

  /** Members in ascending order, without an object per member. */
  forEach(visit: (member: number) => void): void {
    for (let index = 0; index < this.#words.length; index++) {
      let word = this.#words[index] ?? 0;
      while (word !== 0) {
        const lowest = word & -word;
        visit(index * WORD_BITS + (31 - Math.clz32(lowest)));
        word = (word ^ lowest) >>> 0;
      }
    }
  }

  toArray(): number[] {
    const members: number[] = [];
    this.forEach((member) => members.push(member));
    return members;
  }

  toBytes(): Uint8Array {
    let last = this.#words.length - 1;
    while (last >= 0 && this.#words[last] === 0) last--;
    if (last < 0) return new Uint8Array();
    const usedBytes = last * 4 + 4 - (Math.clz32(this.#words[last] ?? 0) >> 3);
    const bytes = new Uint8Array(usedBytes);
    for (let index = 0; index < usedBytes; index++)
      bytes[index] = (this.#words[index >> 2] ?? 0) >>> ((index & 3) * 8);
    return bytes;
  }

  #grow(wordCount: number): void {
    const grown = new Uint32Array(Math.max(wordCount, this.#words.length * 2));
    grown.set(this.#words);
    this.#words = grown;
  }
}

/** The `countMax` lowest ones of its bits. */
function lowestBits(word: number, countMax: number): number {
  if (popcount(word) <= countMax) return word;
  let part = 0;
  let rest = word;
  for (let count = 0; count < countMax; count++) {
    const lowest = rest & -rest;
    part |= lowest;
    rest ^= lowest;
  }
  return part >>> 0;
}

function popcount(word: number): number {
  let value = word - ((word >>> 1) & 0x55555555);
  value = (value & 0x33333333) + ((value >>> 2) & 0x33333333);
  return Math.imul((value + (value >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
