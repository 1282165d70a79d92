// Goal: RG1 and RG3 of key-index.ts. Method: against a Map, and the hash by what it is for.
import { createSeededRandom } from "@carillon/kernel";
import fc from "fast-check";
import { expect, test } from "vitest";
import { hashOf, KeyIndex } from "./key-index.ts";

test("RG1 — for any adding and deleting the index finds what a Map finds", () => {
  const key = fc.oneof(
    fc.nat(200).map((n) => `acme/employee-${n}`),
    fc.string({ unit: "binary", maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(key, { maxLength: 400 }), fc.nat(), (steps, seed) => {
      const keys: (string | undefined)[] = [];
      const index = new KeyIndex(keys, createSeededRandom(seed));
      const model = new Map<string, number>();
      for (const one of steps) {
        const slot = model.get(one);
        expect(index.get(one)).toBe(slot);
        if (slot === undefined) {
          model.set(one, keys.length);
          keys.push(one);
          index.add(one, keys.length - 1);
        } else {
          index.delete(one);
          model.delete(one);
          keys[slot] = undefined;
        }
      }
      for (const one of steps) expect(index.get(one)).toBe(model.get(one));
      expect(index.size).toBe(model.size);
    }),
  );
});

test("RG3 — keys that meet under one secret do not under another, and one bit changes half the hash", () => {
  const low10 = (hash: number): number => hash & 1_023;
  const one = { low: 1, high: 2 };
  const other = { low: 1, high: 3 };
  const names = Array.from({ length: 100_000 }, (_, n) => `acme/employee-${n}`);
  const meeting = names.filter((name) => low10(hashOf(name, one)) === 7);
  const places = new Set(meeting.map((name) => low10(hashOf(name, other))));
  expect(meeting.length).toBeGreaterThan(60); // a thousandth
  expect(places.size).toBeGreaterThan(meeting.length * 0.85);
  let changedBits = 0;
  for (const name of names.slice(0, 1_000)) {
    const changed = hashOf(name, one) ^ hashOf(`b${name.slice(1)}`, one); // "a" and "b": two bits
    for (let bit = 0; bit < 32; bit++) changedBits += (changed >>> bit) & 1;
  }
  expect(changedBits / 1_000 / 32).toBeCloseTo(0.5, 1);
  // The length counts: a NUL more is another key.
  expect(hashOf("a", one)).not.toBe(hashOf("a\0", one));
});
