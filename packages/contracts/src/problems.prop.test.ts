// packages/contracts/src/problems.prop.test.ts
// Goal: CT6 for any JSON at all. Method: arbitrary JSON in the places a caller can fill.
import fc from "fast-check";
import { expect, test } from "vitest";
import { fieldErrorsOf, LIMITS, notificationRequestSchema } from "./index.ts";

const filterLike = fc.letrec((tie) => ({
  filter: fc.record(
    {
      op: fc.constantFrom("and", "or", "not", "xor", 1),
      nodes: fc.array(fc.oneof({ maxDepth: 4 }, fc.jsonValue({ maxDepth: 1 }), tie("filter"))),
      key: fc.constantFrom("a", "1", 5),
      cmp: fc.constantFrom("eq", "in", "exists", "like"),
      val: fc.jsonValue({ maxDepth: 1 }),
      vals: fc.jsonValue({ maxDepth: 1 }),
    },
    { requiredKeys: [] },
  ),
})).filter;
const audienceLike = fc.record(
  {
    recipients: fc.jsonValue({ maxDepth: 2 }),
    filter: fc.oneof(filterLike, fc.jsonValue({ maxDepth: 2 })),
    broadcast: fc.jsonValue({ maxDepth: 1 }),
  },
  { requiredKeys: [] },
);
const requestLike = fc.record(
  {
    audience: fc.oneof(audienceLike, fc.jsonValue({ maxDepth: 2 })),
    content: fc.jsonValue({ maxDepth: 3 }),
    exclude: fc.jsonValue({ maxDepth: 2 }),
    priority: fc.jsonValue({ maxDepth: 1 }),
    ttlSeconds: fc.jsonValue({ maxDepth: 1 }),
  },
  { requiredKeys: [] },
);

test("CT6 whatever is refused names between one and 50 fields, each once, with a message", () => {
  const input = fc.oneof(requestLike, fc.jsonValue());
  fc.assert(
    fc.property(input, (value) => {
      const parsed = notificationRequestSchema.safeParse(value);
      if (parsed.success) return;
      const errors = fieldErrorsOf(parsed.error, value);
      expect(errors.length).toBeGreaterThan(0);
      expect(errors.length).toBeLessThanOrEqual(LIMITS.fieldErrorsReported);
      expect(new Set(errors.map(({ field }) => field)).size).toBe(errors.length);
      for (const { field, message } of errors) {
        expect(field).not.toBe("");
        expect(message).toMatch(
          /^(must |is required$|is not a known field$|is not a valid name: )/,
        );
      }
    }),
    { numRuns: 2_000 },
  );
});
