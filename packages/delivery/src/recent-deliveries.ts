// packages/delivery/src/recent-deliveries.ts
// How many notifications each recipient of a partition has been delivered lately: what a frequency cap
// is compared with (A11). Of one tenant that has a cap.
//   FC1  A recipient's count is of the deliveries within the window, to the second: one counts for at
//        most a second longer.
//   FC2  At `entriesMax` the oldest are forgotten: the cap may then let one through, and never holds one
//        back for what was not delivered. Memory: 8 bytes per delivery in the window, 4 per recipient.
// One ring of (index, second) in order of delivery, and a number per recipient: what has left the window
// is counted off when somebody asks. A clock that was put back makes an entry leave with the one before it.

import { Bitset } from "@carillon/kernel";

/** A row of the ledger: with `members`, bit i of a set stands for members[i]; otherwise for index i. */
export interface RecentRow {
  readonly acceptedAtMs: number;
  readonly members: readonly number[] | null;
  readonly deliveredSocket: Uint8Array;
  readonly receivedLate: Uint8Array;
}

export interface RecentOptions {
  readonly windowMs: number;
  readonly entriesMax: number;
  /** One was forgotten within its window (FC2). */
  onForgotten?(): void;
}

const FIRST_CAPACITY = 64;

export class RecentDeliveries {
  readonly #options: RecentOptions;
  #indexes = new Uint32Array(FIRST_CAPACITY);
  #seconds = new Uint32Array(FIRST_CAPACITY);
  #counts = new Uint32Array(FIRST_CAPACITY);
  #first = 0;
  #size = 0;

  constructor(options: RecentOptions) {
    this.#options = options;
  }

  /** Entries in the ring. */
  get size(): number {
    return this.#size;
  }

  /** `index` was delivered one at `atMs`; in order of time, as far as the clock allows. */
  add(index: number, atMs: number): void {
    this.#forgetBefore(atMs);
    if (this.#size >= this.#options.entriesMax) {
      this.#dropFirst();
      this.#options.onForgotten?.();
    }
    if (this.#size === this.#indexes.length) this.#grow();
    const place = (this.#first + this.#size) % this.#indexes.length;
    this.#indexes[place] = index;
    this.#seconds[place] = Math.ceil(atMs / 1_000);
    this.#size++;
    if (index >= this.#counts.length) this.#growCounts(index);
    this.#counts[index] = this.#countNow(index) + 1;
  }

  /** What an earlier owner delivered, in order of acceptance, which stands for when it was delivered. */
  adopt(rows: readonly RecentRow[]): void {
    for (const { acceptedAtMs, members, deliveredSocket, receivedLate } of rows)
      Bitset.fromBytes(deliveredSocket)
        .or(Bitset.fromBytes(receivedLate))
        .forEach((slot) => {
          const index = members === null ? slot : members[slot];
          if (index !== undefined) this.add(index, acceptedAtMs);
        });
  }

  /** Delivered to `index` within the window that ends at `nowMs`. Amortised O(1). */
  countOf(index: number, nowMs: number): number {
    this.#forgetBefore(nowMs);
    return this.#countNow(index);
  }

  #countNow(index: number): number {
    return this.#counts[index] ?? 0;
  }

  #forgetBefore(nowMs: number): void {
    const sinceSeconds = (nowMs - this.#options.windowMs) / 1_000;
    while (this.#size > 0 && (this.#seconds[this.#first] ?? 0) <= sinceSeconds) this.#dropFirst();
  }

  #dropFirst(): void {
    const index = this.#indexes[this.#first] ?? 0;
    this.#counts[index] = this.#countNow(index) - 1;
    this.#first = (this.#first + 1) % this.#indexes.length;
    this.#size--;
  }

  #grow(): void {
    const capacity = Math.min(this.#indexes.length * 2, this.#options.entriesMax);
    this.#indexes = this.#unrolled(this.#indexes, capacity);
    this.#seconds = this.#unrolled(this.#seconds, capacity);
    this.#first = 0;
  }

  #unrolled(ring: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> {
    const grown = new Uint32Array(capacity);
    grown.set(ring.subarray(this.#first));
    grown.set(ring.subarray(0, this.#first), ring.length - this.#first);
    return grown;
  }

  #growCounts(index: number): void {
    const grown = new Uint32Array(Math.max(index + 1, this.#counts.length * 2));
    grown.set(this.#counts);
    this.#counts = grown;
  }
}
