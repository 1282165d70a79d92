// packages/kernel/src/ring.ts
// A queue in one array that grows by doubling up to a limit.
//   RG1  First in, first out. RG2  `push` never takes more than `limitCount`: it refuses.
//   RG3  A place that is empty holds nothing: what was taken out can be collected.

const FIRST_CAPACITY_COUNT = 4; // power of two, as every later capacity

export class Ring<Value extends NonNullable<unknown>> {
  readonly limitCount: number;
  #slots: (Value | undefined)[] = [];
  #head = 0;
  #length = 0;

  constructor(limitCount: number) {
    this.limitCount = limitCount;
  }

  get length(): number {
    return this.#length;
  }

  /** False when the ring is full; nothing is kept then. */
  push(value: Value): boolean {
    if (this.#length >= this.limitCount) return false;
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = value;
    this.#length++;
    return true;
  }

  /** At the tail, not bound by the limit: for what is bounded elsewhere. */
  pushBeyond(value: Value): void {
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = value;
    this.#length++;
  }

  /** Puts back what was taken from the head, at the head. Not bound by the limit. */
  unshift(value: Value): void {
    if (this.#length === this.#slots.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#slots.length - 1);
    this.#slots[this.#head] = value;
    this.#length++;
  }

  peek(): Value | undefined {
    return this.#length === 0 ? undefined : this.#slots[this.#head];
  }

  shift(): Value | undefined {
    if (this.#length === 0) return undefined;
    const value = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length--;
    return value;
  }

  /** Puts `value` in the place of the oldest one that matches; false: none does. */
  replaceFirst(matches: (value: Value) => boolean, value: Value): boolean {
    for (let offset = 0; offset < this.#length; offset++) {
      const place = (this.#head + offset) & (this.#slots.length - 1);
      const there = this.#slots[place];
      if (there === undefined || !matches(there)) continue;
      this.#slots[place] = value;
      return true;
    }
    return false;
  }

  /** Oldest first; the ring must not be changed meanwhile. */
  forEach(visit: (value: Value) => void): void {
    for (let offset = 0; offset < this.#length; offset++) {
      const value = this.#slots[(this.#head + offset) & (this.#slots.length - 1)];
      if (value !== undefined) visit(value);
    }
  }

  clear(): void {
    this.#slots = [];
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const grown: (Value | undefined)[] = [];
    this.forEach((value) => grown.push(value));
    const capacityCount = Math.max(FIRST_CAPACITY_COUNT, this.#slots.length * 2);
    while (grown.length < capacityCount) grown.push(undefined);
    this.#slots = grown;
    this.#head = 0;
  }
}
