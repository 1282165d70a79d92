// packages/contracts/src/hash.ts
// FNV-1a, 32 bits: the partition hash (DESIGN §4). Equal to nats-server's partition() mapping.

const OFFSET_BASIS = 0x811c9dc5;
const PRIME = 0x01000193;

/** FNV-1a over the UTF-8 bytes of `text`; 0 … 2^32−1. Source: draft-eastlake-fnv. */
export function fnv1a32(text: string): number {
  let hash = OFFSET_BASIS;
  for (let position = 0; position < text.length; position++) {
    let code = text.charCodeAt(position);
    if (code < 0x80) {
      hash = Math.imul(hash ^ code, PRIME);
      continue;
    }
    if (code >= 0xd800 && code < 0xdc00 && position + 1 < text.length) {
      const low = text.charCodeAt(position + 1);
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        position++;
      }
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd; // a lone surrogate, as TextEncoder does
    for (const byte of utf8BytesOf(code)) hash = Math.imul(hash ^ byte, PRIME);
  }
  return hash >>> 0;
}

/** Finalizer of MurmurHash3, for ranking by hash: FNV alone ranks similar texts alike. */
export function mix32(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function utf8BytesOf(code: number): number[] {
  if (code < 0x800) return [0xc0 | (code >> 6), 0x80 | (code & 0x3f)];
  const tail = [0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)];
  if (code < 0x10000) return [0xe0 | (code >> 12), ...tail];
  return [0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), ...tail];
}
