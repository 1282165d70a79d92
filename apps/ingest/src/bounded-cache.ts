// apps/ingest/src/bounded-cache.ts
// A least-recently-used cache with a limit and, when asked, an age.
//   IN1  Never more than `entriesMax` entries (D6); the one longest unused goes first.

interface Entry<V> {
  readonly value: V;
  readonly untilMs: number; // monotonic
}

export class BoundedCache<V> {
  readonly #entries = new Map<string, Entry<V>>();
  readonly #entriesMax: number;
  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, nowMs: number): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.untilMs <= nowMs) return undefined;
    this.#entries.set(key, entry); // youngest again
    return entry.value;
  }

  /** `untilMs`: monotonic; Infinity for what does not change. */
  set(key: string, value: V, untilMs: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, untilMs });
    if (this.#entries.size <= this.#entriesMax) return;
    const oldest = this.#entries.keys().next();
    if (oldest.done !== true) this.#entries.delete(oldest.value);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}
