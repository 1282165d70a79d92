// packages/contracts/src/hash.prop.test.ts
// Goal: CT2. Method: every string against the plain form over TextEncoder's bytes.
import fc from "fast-check";
import { expect, test } from "vitest";
import { fnv1a32 } from "./hash.ts";

function plainFnv1a32(text: string): number {
  let hash = 0x811c9dc5n;
  for (const byte of new TextEncoder().encode(text))
    hash = ((hash ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
  return Number(hash);
}

const units = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 });
const surrogates = fc.array(fc.integer({ min: 0xd7f0, max: 0xe010 }), { maxLength: 12 });

test("CT2 the hash is that of the UTF-8 bytes, for any string, unpaired surrogates included", () => {
  const ofUnits = fc.oneof(units, surrogates).map((codes) => String.fromCharCode(...codes));
  fc.assert(
    fc.property(fc.oneof(ofUnits, fc.string({ unit: "binary" })), (text) => {
      expect(fnv1a32(text)).toBe(plainFnv1a32(text));
    }),
    { numRuns: 5_000 },
  );
});

test("CT2 the published values of FNV-1a hold", () => {
  // draft-eastlake-fnv-17, section 6.1: "", "a", "foobar".
  expect(["", "a", "foobar"].map(fnv1a32)).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968]);
});
