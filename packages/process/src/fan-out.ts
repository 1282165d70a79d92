// packages/process/src/fan-out.ts
// One message to many idle processes without touching their mailboxes: the slots wait in one array,
// and each process handles the message straight from it. Hot: an all-hands is a million of these.
//   FO1  Whoever is not idle gets the message through its mailbox, in its place (P1).
//   FO2  Everybody else has their turns between two chunks (P15).

const FIRST_CAPACITY_COUNT = 64;
const FIRST_CHUNK_SLOTS = 8; // nobody knows yet how long its message takes
const CHUNK_SLOTS_MAX = 64;

export class FanOut<Message extends object> {
  readonly message: Message;
  slots = new Int32Array(FIRST_CAPACITY_COUNT);
  next = 0;
  #length = 0;
  #chunkSlots = FIRST_CHUNK_SLOTS;

  constructor(message: Message) {
    this.message = message;
  }

  add(slot: number): void {
    if (this.#length === this.slots.length) {
      const grown = new Int32Array(this.#length * 2);
      grown.set(this.slots);
      this.slots = grown;
    }
    this.slots[this.#length++] = slot;
  }

  /** Of all its slots, those before `next` included. */
  get length(): number {
    return this.#length;
  }

  /** The slot's turn is still to come. */
  has(slot: number): boolean {
    return this.slots.subarray(this.next, this.#length).includes(slot);
  }

  get isDone(): boolean {
    return this.next >= this.#length;
  }

  /** The next chunk of at most `slotsMax`; gives its end. The clock is read after each. */
  beginChunk(slotsMax: number): number {
    const end = Math.min(this.next + Math.min(this.#chunkSlots, slotsMax), this.#length);
    this.#chunkSlots = Math.min(this.#chunkSlots * 2, CHUNK_SLOTS_MAX);
    return end;
  }
}
