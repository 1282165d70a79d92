// packages/process/src/key-index.ts
// Slots by key: open addressing in one typed array, beside the array of keys that a Registry has
// anyway. A Map of 200,000 strings costs 350 ns a look-up here, four cache misses in a chain; this one
// costs 200, 12 to 24 bytes a key, and nothing for the garbage collector (2026-11-22).
//   RG3  Where a key lies depends on a secret of this index: nobody can choose keys that collide.
import type { Random } from "@carillon/kernel";

const FIRST_CAPACITY_COUNT = 16; // power of two, as every later capacity
const FINAL_ROUNDS = 3;

export class KeyIndex {
  /** By slot; its owner's, who keeps a key there as long as it is here. */
  readonly #keys: readonly (string | undefined)[];
  readonly #secret: HashSecret;
  /** Two numbers a cell: hash, and slot + 1; 0: the cell is free. At most three quarters are full. */
  #cells = new Int32Array(2 * FIRST_CAPACITY_COUNT);
  #mask = FIRST_CAPACITY_COUNT - 1;
  #size = 0;

  constructor(keys: readonly (string | undefined)[], random: Random) {
    this.#keys = keys;
    const bytes = random.bytes(8);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    this.#secret = { low: view.getInt32(0), high: view.getInt32(4) };
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): number | undefined {
    const cell = this.#cellOf(key);
    return cell === undefined ? undefined : (this.#cells[2 * cell + 1] ?? 0) - 1;
  }

  /** A key that is not there, and is in `keys` by its slot. */
  add(key: string, slot: number): void {
    if ((this.#size + 1) * 4 > (this.#mask + 1) * 3) this.#grow();
    this.#put(hashOf(key, this.#secret), slot + 1);
    this.#size++;
  }

  /** To be called while `keys` has it still. */
  delete(key: string): void {
    const cells = this.#cells;
    let hole = this.#cellOf(key);
    if (hole === undefined) return;
    // Whoever was pushed past the hole moves up, so that no search ends too early.
    for (let cell = (hole + 1) & this.#mask; cells[2 * cell + 1] !== 0;) {
      const home = (cells[2 * cell] ?? 0) & this.#mask;
      if (((cell - home) & this.#mask) >= ((cell - hole) & this.#mask)) {
        cells[2 * hole] = cells[2 * cell] ?? 0;
        cells[2 * hole + 1] = cells[2 * cell + 1] ?? 0;
        hole = cell;
      }
      cell = (cell + 1) & this.#mask;
    }
    cells[2 * hole + 1] = 0;
    this.#size--;
  }

  #cellOf(key: string): number | undefined {
    const cells = this.#cells;
    const hash = hashOf(key, this.#secret);
    for (let cell = hash & this.#mask; ; cell = (cell + 1) & this.#mask) {
      const place = cells[2 * cell + 1] ?? 0;
      if (place === 0) return undefined;
      if (cells[2 * cell] === hash && this.#keys[place - 1] === key) return cell;
    }
  }

  #put(hash: number, place: number): void {
    let cell = hash & this.#mask;
    while (this.#cells[2 * cell + 1] !== 0) cell = (cell + 1) & this.#mask;
    this.#cells[2 * cell] = hash;
    this.#cells[2 * cell + 1] = place;
  }

  #grow(): void {
    const old = this.#cells;
    this.#cells = new Int32Array(old.length * 2);
    this.#mask = old.length - 1;
    for (let at = 0; at < old.length; at += 2)
      if (old[at + 1] !== 0) this.#put(old[at] ?? 0, old[at + 1] ?? 0);
  }
}

export interface HashSecret {
  readonly low: number;
  readonly high: number;
}

/** HalfSipHash-1-3 of the UTF-16 code units. Source: github.com/veorq/SipHash, halfsiphash.c. */
export function hashOf(key: string, { low, high }: HashSecret): number {
  const wordCount = (key.length >>> 1) + 1;
  let v0 = low;
  let v1 = high;
  let v2 = 0x6c796765 ^ low;
  let v3 = 0x74656462 ^ high;
  for (let n = 0; n < wordCount + FINAL_ROUNDS; n++) {
    if (n === wordCount) v2 ^= 0xff;
    const word = n < wordCount ? wordAt(key, n) : 0;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return v1 ^ v3;
}

/** Two code units; the last word has what is left and the length in bytes. */
function wordAt(key: string, n: number): number {
  const { length } = key;
  const first = 2 * n;
  if (first + 1 < length) return key.charCodeAt(first) | (key.charCodeAt(first + 1) << 16);
  const left = first < length ? key.charCodeAt(first) : 0;
  return left | ((2 * length) << 24);
}
