// packages/process/src/ready-queue.ts
// Processes that have something to do, in order: a ring of (table, slot) in typed arrays. A process
// is in it at most once, so that the number of processes is its limit (D6).

const FIRST_CAPACITY_COUNT = 1_024; // power of two, as every later capacity

export class ReadyQueue {
  #tables = new Int32Array(FIRST_CAPACITY_COUNT);
  #slots = new Int32Array(FIRST_CAPACITY_COUNT);
  #head = 0;
  #length = 0;
  /** Of the entry that `shift` took. */
  tableId = 0;
  slot = 0;

  get length(): number {
    return this.#length;
  }

  push(tableId: number, slot: number): void {
    if (this.#length === this.#slots.length) this.#grow();
    const tail = (this.#head + this.#length) & (this.#slots.length - 1);
    this.#tables[tail] = tableId;
    this.#slots[tail] = slot;
    this.#length++;
  }

  /** Moves the oldest entry to `tableId` and `slot`; false when there is none. */
  shift(): boolean {
    if (this.#length === 0) return false;
    this.tableId = this.#tables[this.#head] ?? 0;
    this.slot = this.#slots[this.#head] ?? 0;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length--;
    return true;
  }

  clear(): void {
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const capacityCount = this.#slots.length * 2;
    this.#tables = unrolled(this.#tables, this.#head, capacityCount);
    this.#slots = unrolled(this.#slots, this.#head, capacityCount);
    this.#head = 0;
  }
}

function unrolled(from: Int32Array, head: number, capacityCount: number): Int32Array<ArrayBuffer> {
  const to = new Int32Array(capacityCount);
  to.set(from.subarray(head));
  to.set(from.subarray(0, head), from.length - head);
  return to;
}
