// packages/delivery/src/attribute-index.prop.test.ts
// Goal: AU1, AU2. Method: the index against a filter read straight off each recipient's attributes.
import type { Filter } from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AttributeIndex } from "./attribute-index.ts";

type Attributes = Record<string, string | number | boolean | string[]>;

const scalar = fc.oneof(
  fc.constantFrom("de", "den", "fr", "2026-01-01", "2026-02-01", ""),
  fc.integer({ min: -2, max: 3 }),
  fc.boolean(),
);
const value = fc.oneof(scalar, fc.array(fc.constantFrom("a", "b", "de"), { maxLength: 3 }));
const key = fc.constantFrom("country", "level", "tags");
const attributes: fc.Arbitrary<Attributes> = fc.dictionary(key, value, { maxKeys: 3 });
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
  if (cmp === "ne") return found !== val;
  if (typeof found !== typeof val) return false;
  if (cmp === "eq") return found === val;
  if (cmp === "lt") return found < val;
  if (cmp === "le") return found <= val;
  if (cmp === "gt") return found > val;
  if (cmp === "ge") return found >= val;
  if (typeof found !== "string" || typeof val !== "string") return false;
  return cmp === "prefix" ? found.startsWith(val) : found.includes(val);
}

test("AU1, AU2 — a filter selects exactly those whose attributes match, after changes too", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 40 }), attributes), { maxLength: 60 }),
      filter,
      (changes, wanted) => {
        const index = new AttributeIndex();
        const current = new Map<number, Attributes>();
        for (const [member, changed] of changes) {
          index.put(member, changed);
          current.set(member, changed);
        }
        const expected = [...current].filter(([, of]) => matches(of, wanted)).map(([who]) => who);
        expect(index.select(wanted).toArray()).toEqual(expected.toSorted((a, b) => a - b));
      },
    ),
    { numRuns: 500 },
  );
});
