// packages/delivery/src/attribute-index.prop.test.ts
// Goal: AU1 to AU4. Method: the index against a filter read straight off each recipient's attributes.
import { type Filter, readTimeText } from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AttributeIndex } from "./attribute-index.ts";

type Attributes = Record<string, string | number | boolean | string[]>;
interface Person {
  readonly locale: string | null;
  readonly attributes: Attributes;
  readonly groups: readonly string[];
}

const scalar = fc.oneof(
  fc.constantFrom("de", "den", "fr", "", "2026-01-01", "2026-02-01", "2026-02-30"),
  fc.constantFrom("2026-01-01T09:00", "2026-01-01T09:00Z", "2026-01-01T10:00:00+01:00", "2026"),
  fc.integer({ min: -2, max: 3 }),
  fc.boolean(),
);
const value = fc.oneof(scalar, fc.array(fc.constantFrom("a", "b", "de"), { maxLength: 3 }));
const key = fc.constantFrom("country", "level", "tags");
const tag = fc.constantFrom("wardens", "wardens/1", "board");
const person: fc.Arbitrary<Person> = fc.record({
  attributes: fc.dictionary(key, value, { maxKeys: 3 }),
  groups: fc.uniqueArray(tag),
  locale: fc.constantFrom("de", "en", null),
});
const leaf: fc.Arbitrary<Filter> = fc.oneof(
  fc.record({ key, cmp: fc.constant("exists" as const) }),
  fc.record({
    key,
    cmp: fc.constant("in" as const),
    vals: fc.array(scalar, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({
    key,
    cmp: fc.constantFrom("eq", "ne", "lt", "le", "gt", "ge", "contains", "prefix"),
    val: scalar,
  }),
);
const { filter } = fc.letrec<{ filter: Filter }>((tie) => ({
  filter: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.record({
      op: fc.constantFrom("and" as const, "or" as const),
      nodes: fc.array(tie("filter"), { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ op: fc.constant("not" as const), nodes: fc.tuple(tie("filter")) }),
  ),
}));

/** What a filter means for one recipient, in the plainest words. */
function matches(of: Attributes, wanted: Filter): boolean {
  if ("op" in wanted) {
    if (wanted.op === "and") return wanted.nodes.every((node) => matches(of, node));
    if (wanted.op === "or") return wanted.nodes.some((node) => matches(of, node));
    return !matches(of, wanted.nodes[0]);
  }
  const found = of[wanted.key];
  if (found === undefined) return false;
  if (wanted.cmp === "exists") return !Array.isArray(found) || found.length > 0;
  if (Array.isArray(found))
    return wanted.cmp === "contains" && found.includes(wanted.val as string);
  if (wanted.cmp === "in") return wanted.vals.includes(found);
  const { cmp, val } = wanted;
  if (cmp === "eq") return found === val;
  if (cmp === "ne") return found !== val;
  if (cmp === "contains" || cmp === "prefix") {
    if (typeof found !== "string" || typeof val !== "string") return false;
    return cmp === "prefix" ? found.startsWith(val) : found.includes(val);
  }
  const [left, right] = [placeOf(found), placeOf(val)];
  if (left.line !== right.line) return false;
  if (cmp === "lt") return left.at < right.at;
  if (cmp === "le") return left.at <= right.at;
  if (cmp === "gt") return left.at > right.at;
  return left.at >= right.at;
}

/** On which line a value stands, and where: those on one line have an order. */
function placeOf(of: string | number | boolean): { line: string; at: string | number } {
  if (typeof of === "boolean") return { line: "none", at: Number.NaN };
  if (typeof of === "number") return { line: "numbers", at: of };
  const time = readTimeText(of);
  return typeof time === "string" ? { line: "text", at: of } : { line: time.form, at: time.atMs };
}

const changesOf = fc.array(fc.tuple(fc.nat({ max: 40 }), person), { maxLength: 60 });

function indexed(changes: readonly (readonly [number, Person])[]) {
  const index = new AttributeIndex();
  const current = new Map<number, Person>();
  for (const [member, changed] of changes) {
    index.put(member, changed);
    current.set(member, changed);
  }
  const those = (isWanted: (person: Person) => boolean): number[] =>
    [...current]
      .filter(([, one]) => isWanted(one))
      .map(([member]) => member)
      .toSorted((a, b) => a - b);
  return { index, those };
}

test("AU1, AU2, AU3 — a filter selects exactly those whose attributes match, after changes too", () => {
  fc.assert(
    fc.property(changesOf, filter, (changes, wanted) => {
      const { index, those } = indexed(changes);
      const expected = those(({ attributes }) => matches(attributes, wanted));
      expect(index.select(wanted).toArray()).toEqual(expected);
    }),
    { numRuns: 1_000 },
  );
});

test("AU4 — a group holds exactly those whose last change says so, and so do its locales", () => {
  fc.assert(
    fc.property(changesOf, tag, (changes, wanted) => {
      const { index, those } = indexed(changes);
      const expected = those(({ groups }) => groups.includes(wanted));
      expect(index.inGroup(wanted).toArray()).toEqual(expected);
      const locales = new Map(index.localesIn(index.inGroup(wanted)));
      for (const locale of ["de", "en", null])
        expect(locales.get(locale) ?? 0).toBe(
          those((one) => one.groups.includes(wanted) && one.locale === locale).length,
        );
    }),
  );
});
