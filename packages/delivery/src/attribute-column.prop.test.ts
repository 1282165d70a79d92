// Goal: AU1, AU3 where a key has many values, and values come and go. Method: the column against what each
// member was given last.
import fc from "fast-check";
import { expect, test } from "vitest";
import { AttributeColumn } from "./attribute-column.ts";

/** Few different ones that many share, and many that few do. */
const text = fc.oneof(
  fc.constantFrom("", "a", "ab", "abc", "abcd", "abce", "\uffff", "b"),
  fc.string({ unit: fc.constantFrom("a", "b", "\u{1f514}"), maxLength: 6 }),
);
const value = fc.oneof(text, fc.integer({ min: -50, max: 50 }), fc.boolean());
const change = fc.tuple(fc.nat({ max: 99 }), fc.option(value, { freq: 4 }));

test("AU1, AU3 — values of many and of one, set, changed and cleared", () => {
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 400 }),
      fc.array(value, { maxLength: 40 }),
      text,
      (changes, some, part) => {
        const column = new AttributeColumn();
        const current = new Map<number, string | number | boolean>();
        const those = (isWanted: (value: unknown) => boolean): number[] =>
          [...current]
            .filter(([, one]) => isWanted(one))
            .map(([member]) => member)
            .toSorted((a, b) => a - b);
        for (const [at, [member, now]] of changes.entries()) {
          if (now === null) {
            column.clear(member);
            current.delete(member);
          } else {
            column.set(member, now);
            current.set(member, now);
          }
          if (at === 200) column.withText(part, "first"); // what it keeps must not grow old
        }
        expect(column.present.toArray()).toEqual(those(() => true));
        expect(column.having(some).toArray()).toEqual(those((one) => some.includes(one as string)));
        const isText = (one: unknown): one is string => typeof one === "string";
        expect(column.withText(part, "anywhere").toArray()).toEqual(
          those((one) => isText(one) && one.includes(part)),
        );
        expect(column.withText(part, "first").toArray()).toEqual(
          those((one) => isText(one) && one.startsWith(part)),
        );
        expect(column.inOrder("lt", part).toArray()).toEqual(
          those((one) => isText(one) && one < part),
        );
        expect(column.inOrder("ge", part).toArray()).toEqual(
          those((one) => isText(one) && one >= part),
        );
        expect(column.inOrder("le", 7).toArray()).toEqual(
          those((one) => typeof one === "number" && one <= 7),
        );
      },
    ),
    { numRuns: 300 },
  );
});
