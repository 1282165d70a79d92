// Goal: a Bitset is a set of whole numbers, for any sequence of operations (BS1, BS2).
// Method: the same operations on a JavaScript Set.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Bitset } from "./bitset.ts";

const members = fc.array(fc.nat(2_000), { maxLength: 200 });
const sorted = (set: Iterable<number>): number[] => [...new Set(set)].toSorted((a, b) => a - b);

test("add, remove, has, count and order are those of a set", () => {
  const step = fc.record({ kind: fc.constantFrom("add", "remove"), member: fc.nat(500) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.nat(600), (steps, capacityCount) => {
      const bitset = new Bitset(capacityCount);
      const model = new Set<number>();
      for (const { kind, member } of steps) {
        const wasThere = model.has(member);
        if (kind === "add") model.add(member);
        else model.delete(member);
        const hasChanged = kind === "add" ? bitset.add(member) : bitset.remove(member);
        expect(hasChanged).toBe(wasThere !== model.has(member));
      }
      expect(bitset.toArray()).toEqual(sorted(model));
      expect([bitset.count(), bitset.isEmpty]).toEqual([model.size, model.size === 0]);
      for (let member = 0; member <= 520; member++)
        expect(bitset.has(member)).toBe(model.has(member));
    }),
  );
});

test("BS2 — or, and, andNot are union, intersection and difference, whatever the lengths", () => {
  fc.assert(
    fc.property(members, members, (ours, others) => {
      const [left, right] = [Bitset.of(ours), Bitset.of(others)];
      expect(left.clone().or(right).toArray()).toEqual(sorted([...ours, ...others]));
      expect(left.clone().and(right).toArray()).toEqual(
        sorted(ours.filter((one) => others.includes(one))),
      );
      expect(left.clone().andNot(right).toArray()).toEqual(
        sorted(ours.filter((one) => !others.includes(one))),
      );
      expect([left.toArray(), right.toArray()]).toEqual([sorted(ours), sorted(others)]);
    }),
  );
});

test("takeLowest moves the lowest members, as many as asked for, and leaves the rest", () => {
  fc.assert(
    fc.property(members, fc.nat(250), (ours, countMax) => {
      const set = Bitset.of(ours);
      const all = sorted(ours);
      expect(set.takeLowest(countMax).toArray()).toEqual(all.slice(0, countMax));
      expect(set.toArray()).toEqual(all.slice(countMax));
    }),
  );
});

test("BS1 — bytes: number n is bit n mod 8 of byte n/8, no zero byte at the end, and back", () => {
  fc.assert(
    fc.property(members, (ours) => {
      const expected = new Uint8Array(ours.length === 0 ? 0 : (Math.max(...ours) >> 3) + 1);
      for (const member of ours) expected[member >> 3]! |= 1 << (member & 7);
      const bytes = Bitset.of(ours).toBytes();
      expect(bytes).toEqual(expected);
      expect(Bitset.fromBytes(bytes).toArray()).toEqual(sorted(ours));
      const padded = new Uint8Array(bytes.length + 5);
      padded.set(bytes);
      expect(Bitset.fromBytes(padded).toBytes()).toEqual(expected);
    }),
  );
});

test("firstN has the numbers below n, and nothing is left behind at its end", () => {
  fc.assert(
    fc.property(fc.nat(200), fc.nat(300), (count, later) => {
      const set = Bitset.firstN(count);
      expect(set.toArray()).toEqual(Array.from({ length: count }, (_, member) => member));
      expect(set.add(later)).toBe(later >= count);
      expect(set.count()).toBe(later >= count ? count + 1 : count);
    }),
  );
});
