// packages/process/src/fan-out.ts
// One message to many idle processes without touching their mailboxes: the slots wait in one array,
// and each process handles the message straight from it. Hot: an all-hands is a million of these.
//   FO1  Whoever is not idle gets the message through its mailbox, in its place (P1).
//   FO2  Everybody else has their turns between two chunks (P15).

const CHUNK_SLOTS = 64;

export class FanOut<Message extends object> {
  readonly message: Message;
  readonly slots: Int32Array;
  next = 0;

  constructor(message: Message, slots: Int32Array) {
    this.message = message;
    this.slots = slots;
  }

  get isDone(): boolean {
    return this.next >= this.slots.length;
  }

  /** End of the next chunk. */
  get chunkEnd(): number {
    return Math.min(this.next + CHUNK_SLOTS, this.slots.length);
  }
}

/** Collects slots; one per thread's runtime would do, one per table keeps it simple. */
export class SlotCollector {
  #slots = new Int32Array(64);
  #length = 0;

  add(slot: number): void {
    if (this.#length === this.#slots.length) {
      const grown = new Int32Array(this.#slots.length * 2);
      grown.set(this.#slots);
      this.#slots = grown;
    }
    this.#slots[this.#length++] = slot;
  }

  /** The collected ones; empty again afterwards, and small. */
  takeAll(): Int32Array {
    const taken = this.#slots.subarray(0, this.#length);
    this.#slots = new Int32Array(64);
    this.#length = 0;
    return taken;
  }
}
