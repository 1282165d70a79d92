// packages/kernel/src/random.ts
// Randomness is passed in, so that a seed replays a run exactly.

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** `count` random bytes; unpredictable only from `systemRandom`. */
  bytes(count: number): Uint8Array;
}

/** Deterministic 32-bit generator (mulberry32) for tests and simulations; never for secrets. */
export function createSeededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, bytes: (count) => Uint8Array.from({ length: count }, () => next() * 256) };
}
