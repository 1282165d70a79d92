// packages/contracts/src/audience.ts
// Whom a notification is for (A2): explicit recipients, a filter over attributes, or everybody.
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { recipientIdSchema } from "./places.ts";

const attributeText = z.string().max(LIMITS.attributeTextMaxCharacters);
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

/**
 * A filter tree (A2). Dates are ISO 8601 text, which compares in order of time when every value
 * has the same form. A missing attribute makes every comparison false, `ne` included.
 */
export const filterSchema: z.ZodType<Filter> = z.lazy(() =>
  z.union([
    z.strictObject({ op: z.enum(["and", "or"]), nodes: z.array(filterSchema).min(1) }),
    z.strictObject({ op: z.literal("not"), nodes: z.tuple([filterSchema]) }),
    z.strictObject({
      key: attributeKeySchema,
      cmp: z.literal("in"),
      vals: z.array(scalarSchema).min(1).max(1_000),
    }),
    z.strictObject({ key: attributeKeySchema, cmp: z.literal("exists") }),
    z.strictObject({
      key: attributeKeySchema,
      cmp: z.enum(["eq", "ne", "lt", "le", "gt", "ge", "contains", "prefix"]),
      val: scalarSchema,
    }),
  ]),
);

/** As a caller writes it: exactly one of the three. */
export const audienceSchema = z.union([
  z.strictObject({ recipients: z.array(recipientIdSchema).min(1).max(LIMITS.recipientsMax) }),
  z.strictObject({ filter: filterSchema }),
  z.strictObject({ broadcast: z.literal(true) }),
]);
export type Audience = z.infer<typeof audienceSchema>;
