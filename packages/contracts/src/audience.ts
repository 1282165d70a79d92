// packages/contracts/src/audience.ts
// Whom a notification is for (A2): explicit recipients, a filter over attributes, or everybody.
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { recipientIdSchema } from "./places.ts";
import { textSchema } from "./text.ts";

const attributeText = textSchema(LIMITS.attributeTextMaxCharacters);
export const attributeValueSchema = z.union([
  attributeText,
  z.number().refine(Number.isFinite),
  z.boolean(),
  z.array(attributeText).max(LIMITS.attributeListMax),
]);
export type AttributeValue = z.infer<typeof attributeValueSchema>;

export const attributeKeySchema = z
  .string()
  .max(LIMITS.attributeKeyMaxCharacters)
  .regex(/^[a-zA-Z][a-zA-Z0-9_.-]*$/, "must begin with a letter and hold letters, digits, _ . -");

export const attributesSchema = z
  .record(attributeKeySchema, attributeValueSchema)
  .refine((attributes) => Object.keys(attributes).length <= LIMITS.attributeCountMax, {
    message: `must hold at most ${LIMITS.attributeCountMax} attributes`,
  });
export type Attributes = z.infer<typeof attributesSchema>;

export const COMPARISONS = [
  "eq",
  "ne",
  "in",
  "lt",
  "le",
  "gt",
  "ge",
  "exists",
  "contains",
  "prefix",
] as const;
export type Comparison = (typeof COMPARISONS)[number];

const scalarSchema = z.union([attributeText, z.number().refine(Number.isFinite), z.boolean()]);
export type Scalar = z.infer<typeof scalarSchema>;

export type Filter =
  | { op: "and" | "or"; nodes: Filter[] }
  | { op: "not"; nodes: [Filter] }
  | { key: string; cmp: "in"; vals: Scalar[] }
  | { key: string; cmp: "exists" }
  | { key: string; cmp: Exclude<Comparison, "in" | "exists">; val: Scalar };

// Discriminated, so that a node is parsed once: a plain union would parse `nodes` once per branch,
// which doubles the work with every level.
const treeSchema: z.ZodType<Filter> = z.lazy(() =>
  z.union(
    [
      z.discriminatedUnion("op", [
        z.strictObject({ op: z.enum(["and", "or"]), nodes: z.array(treeSchema).min(1) }),
        z.strictObject({ op: z.literal("not"), nodes: z.tuple([treeSchema]) }),
      ]),
      z.discriminatedUnion("cmp", [
        z.strictObject({
          key: attributeKeySchema,
          cmp: z.literal("in"),
          vals: z.array(scalarSchema).min(1).max(LIMITS.filterValuesMax),
        }),
        z.strictObject({ key: attributeKeySchema, cmp: z.literal("exists") }),
        z.strictObject({
          key: attributeKeySchema,
          cmp: z.enum(["eq", "ne", "lt", "le", "gt", "ge", "contains", "prefix"]),
          val: scalarSchema,
        }),
      ]),
    ],
    { error: "must hold op and nodes, or key and cmp" },
  ),
);

/**
 * A filter tree (A2). Dates are ISO 8601 text, which compares in order of time when every value
 * has the same form. A missing attribute makes every comparison false, `ne` included.
 * Limits: `filterDepthMax` levels, `filterNodesMax` nodes, looked at before the tree is parsed, so
 * that no input can exhaust the stack (CT5).
 */
export const filterSchema: z.ZodType<Filter> = z
  .unknown()
  .superRefine((value, context) => {
    const message = filterSizeProblem(value);
    if (message !== null) context.addIssue({ code: "custom", message });
  })
  .pipe(treeSchema);

/** Level by level, not by recursion; stops at the first limit. */
function filterSizeProblem(root: unknown): string | null {
  let level: unknown[] = [root];
  let nodeCount = 0;
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > LIMITS.filterDepthMax)
      return `must be at most ${LIMITS.filterDepthMax} levels deep`;
    nodeCount += level.length;
    if (nodeCount > LIMITS.filterNodesMax)
      return `must hold at most ${LIMITS.filterNodesMax} nodes`;
    level = level.flatMap(nodesOf);
  }
  return null;
}

function nodesOf(value: unknown): unknown[] {
  const nodes = typeof value === "object" && value !== null && "nodes" in value && value.nodes;
  return Array.isArray(nodes) ? nodes : [];
}

/** As a caller writes it: exactly one of the three. */
export const audienceSchema = z.union(
  [
    z.strictObject({ recipients: z.array(recipientIdSchema).min(1).max(LIMITS.recipientsMax) }),
    z.strictObject({ filter: filterSchema }),
    z.strictObject({ broadcast: z.literal(true) }),
  ],
  { error: "must hold exactly one of recipients, filter and broadcast" },
);
export type Audience = z.infer<typeof audienceSchema>;
