// packages/contracts/src/audience.ts
// Whom a notification is for (A2): explicit recipients, a group, a filter over attributes, or everybody.
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { groupIdSchema, recipientIdSchema } from "./places.ts";
import { textSchema } from "./text.ts";
import { readTimeText } from "./time-text.ts";

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

/** What has an order: numbers, and text; text that is written as a time must be one that exists. */
const orderedSchema = z.union([
  attributeText.refine((text) => readTimeText(text) !== "impossible", {
    message: "must be a date or time that exists",
  }),
  z.number().refine(Number.isFinite),
]);

const withKey = { key: attributeKeySchema };
const inLeaf = z.strictObject({
  ...withKey,
  cmp: z.literal("in"),
  vals: z.array(scalarSchema).min(1).max(LIMITS.filterValuesMax),
});
const existsLeaf = z.strictObject({ ...withKey, cmp: z.literal("exists") });
const askedLeaves = z.discriminatedUnion("cmp", [
  inLeaf,
  existsLeaf,
  z.strictObject({ ...withKey, cmp: z.enum(["eq", "ne"]), val: scalarSchema }),
  z.strictObject({ ...withKey, cmp: z.enum(["lt", "le", "gt", "ge"]), val: orderedSchema }),
  z.strictObject({ ...withKey, cmp: z.enum(["contains", "prefix"]), val: attributeText }),
]);
const storedLeaves = z.discriminatedUnion("cmp", [
  inLeaf,
  existsLeaf,
  z.strictObject({
    ...withKey,
    cmp: z.enum(["eq", "ne", "lt", "le", "gt", "ge", "contains", "prefix"]),
    val: scalarSchema,
  }),
]);

// Discriminated, so that a node is parsed once: a plain union would parse `nodes` once per branch,
// which doubles the work with every level.
function treeSchemaOf(leaves: typeof askedLeaves | typeof storedLeaves): z.ZodType<Filter> {
  const treeSchema: z.ZodType<Filter> = z.lazy(() =>
    z.union(
      [
        z.discriminatedUnion("op", [
          z.strictObject({ op: z.enum(["and", "or"]), nodes: z.array(treeSchema).min(1) }),
          z.strictObject({ op: z.literal("not"), nodes: z.tuple([treeSchema]) }),
        ]),
        leaves,
      ],
      { error: "must hold op and nodes, or key and cmp" },
    ),
  );
  // A size is looked at before the tree is parsed, so that no input can exhaust the stack (CT5).
  return z
    .unknown()
    .superRefine((value, context) => {
      const message = filterSizeProblem(value);
      if (message !== null) context.addIssue({ code: "custom", message });
    })
    .pipe(treeSchema);
}

/**
 * A filter tree as a caller writes it (A2). What it means: packages/delivery's README. What could match
 * nobody is refused: an order of truth values, a part of what is no text, a day that does not exist.
 * Limits: `filterDepthMax` levels, `filterNodesMax` nodes.
 */
export const filterSchema = treeSchemaOf(askedLeaves);

/** One that was accepted, perhaps by an older build, as it is stored and travels. */
export const storedFilterSchema = treeSchemaOf(storedLeaves);

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

/** As a caller writes it: exactly one of the four. */
export const audienceSchema = z.union(
  [
    z.strictObject({ recipients: z.array(recipientIdSchema).min(1).max(LIMITS.recipientsMax) }),
    z.strictObject({ group: groupIdSchema }),
    z.strictObject({ filter: filterSchema }),
    z.strictObject({ broadcast: z.literal(true) }),
  ],
  { error: "must hold exactly one of recipients, group, filter and broadcast" },
);
export type Audience = z.infer<typeof audienceSchema>;

/** Who is not meant, whatever the audience: a list of recipients, or all that any of these names. */
export const excludeSchema = z.union(
  [
    z.array(recipientIdSchema).max(LIMITS.excludeMax),
    z
      .strictObject({
        recipients: z.array(recipientIdSchema).max(LIMITS.excludeMax).optional(),
        groups: z.array(groupIdSchema).min(1).max(LIMITS.excludeGroupsMax).optional(),
        filter: filterSchema.optional(),
      })
      .refine((exclude) => Object.keys(exclude).length > 0, {
        message: "must hold recipients, groups or filter",
      }),
  ],
  { error: "must be a list of recipients, or hold recipients, groups or filter" },
);
export type ExcludeRequest = z.infer<typeof excludeSchema>;
