// packages/contracts/src/template.ts
// Templates (A12, ADR 0025): content per locale with the places that a payload fills, as ICU messages.
// What is checked here is the shape; whether a text is a message is the renderer's affair (apps/ingest).
//   CT25 A payload schema says all of a payload: what it does not name is refused, and what it cannot
//        say (other formats, patterns, nesting, references) is refused when the template is stored.
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { localeFallbacksSchema, localeSchema } from "./locale.ts";
import { templateIdSchema } from "./places.ts";
import { timeZoneSchema } from "./recipient.ts";
import { textSchema } from "./text.ts";

/** Of an argument: ICU's names are more, but JSON, logs and field paths carry these unharmed. */
const argumentNameSchema = z
  .string()
  .max(LIMITS.payloadNameMaxCharacters)
  .regex(/^[a-zA-Z][a-zA-Z0-9_]*$/, "must begin with a letter and hold letters, digits and _");

const payloadText = textSchema(LIMITS.payloadTextMaxCharacters);
const finite = z.number().refine(Number.isFinite);

/** What fills a template: flat, since an ICU argument has no path. */
export const templatePayloadSchema = z
  .record(argumentNameSchema, z.union([payloadText, finite, z.boolean()]))
  .refine((payload) => Object.keys(payload).length <= LIMITS.payloadNamesMax, {
    message: `must hold at most ${LIMITS.payloadNamesMax} names`,
  });
export type TemplatePayload = z.infer<typeof templatePayloadSchema>;

const described = { description: textSchema(LIMITS.payloadTextMaxCharacters).optional() };
const length = z.int().min(0).max(LIMITS.payloadTextMaxCharacters);
const argumentSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("string"),
    ...described,
    enum: z.array(payloadText).min(1).max(LIMITS.payloadNamesMax).optional(),
    minLength: length.optional(),
    maxLength: length.optional(),
    format: z.enum(["date", "date-time", "uri"]).optional(),
  }),
  z.strictObject({
    type: z.enum(["number", "integer"]),
    ...described,
    enum: z.array(finite).min(1).max(LIMITS.payloadNamesMax).optional(),
    minimum: finite.optional(),
    maximum: finite.optional(),
  }),
  z.strictObject({ type: z.literal("boolean"), ...described }),
]);
export type TemplateArgument = z.infer<typeof argumentSchema>;

/** The part of JSON Schema that a flat payload needs. */
const payloadSchemaSchema = z
  .strictObject({
    $schema: z.literal("https://json-schema.org/draft/2020-12/schema").optional(),
    type: z.literal("object"),
    properties: z
      .record(argumentNameSchema, argumentSchema)
      .refine((properties) => Object.keys(properties).length <= LIMITS.payloadNamesMax, {
        message: `must hold at most ${LIMITS.payloadNamesMax} names`,
      }),
    required: z.array(argumentNameSchema).max(LIMITS.payloadNamesMax).default([]),
    additionalProperties: z.literal(false).default(false),
  })
  .refine(({ properties, required }) => required.every((name) => Object.hasOwn(properties, name)), {
    path: ["required"],
    message: "must hold names of properties only",
  });
export type PayloadSchema = z.infer<typeof payloadSchemaSchema>;

/** Checks payloads (CT25). Built once per version of a template. */
export function payloadCheckOf(schema: PayloadSchema): z.ZodType<TemplatePayload> {
  const check = z.fromJSONSchema(schema as JsonSchema);
  return templatePayloadSchema.pipe(check as z.ZodType<TemplatePayload, TemplatePayload>);
}
type JsonSchema = Exclude<Parameters<typeof z.fromJSONSchema>[0], boolean>;

const patternSchema = textSchema(LIMITS.templatePatternMaxCharacters);
const dataKeySchema = textSchema(LIMITS.dataKeyMaxCharacters);
/** As content, with an ICU message in place of each text. */
export const templateTextsSchema = z.strictObject({
  title: patternSchema.min(1),
  body: patternSchema.optional(),
  link: patternSchema.optional(),
  data: z
    .record(dataKeySchema, patternSchema)
    .refine((data) => Object.keys(data).length <= LIMITS.dataKeysMax, {
      message: `must hold at most ${LIMITS.dataKeysMax} keys`,
    })
    .optional(),
});
export type TemplateTexts = z.infer<typeof templateTextsSchema>;

/** Body of `PUT /v1/templates/:id`: replaces, as a new version. */
export const templateRequestSchema = z
  .strictObject({
    locales: z
      .record(localeSchema, templateTextsSchema)
      .refine((locales) => Object.keys(locales).length <= LIMITS.localesMax, {
        message: `must hold at most ${LIMITS.localesMax} locales`,
      }),
    defaultLocale: localeSchema,
    fallbacks: localeFallbacksSchema.default({}),
    payloadSchema: payloadSchemaSchema.prefault({ type: "object", properties: {} }),
    /** Dates and times of a payload are written as they are there: a text is one for everybody. */
    timeZone: timeZoneSchema.default("UTC"),
  })
  .refine(({ locales, defaultLocale }) => Object.hasOwn(locales, defaultLocale), {
    path: ["defaultLocale"],
    message: "must be one of locales",
  })
  .refine(
    (template) =>
      new TextEncoder().encode(JSON.stringify(template)).length <= LIMITS.templateMaxBytes,
    { message: `must be at most ${LIMITS.templateMaxBytes} bytes as JSON` },
  );
export type TemplateDefinition = z.infer<typeof templateRequestSchema>;

/** The newest version, or a certain one. */
export const templateReferenceSchema = z.union(
  [
    templateIdSchema,
    z.strictObject({ id: templateIdSchema, version: z.int().min(1).max(2_147_483_647).optional() }),
  ],
  { error: "must be a template's id, or hold id and version" },
);
export type TemplateReference = z.infer<typeof templateReferenceSchema>;

/** Body of `POST /v1/templates/:id/preview`. */
export const previewRequestSchema = z.strictObject({
  payload: templatePayloadSchema.default({}),
  /** Absent: all of them. Otherwise what a recipient of that locale gets. */
  locale: localeSchema.optional(),
  version: z.int().min(1).max(2_147_483_647).optional(),
});

/** One version as regions tell it to each other; a deletion is one, too. */
export const templateRecordSchema = z.object({
  templateId: templateIdSchema,
  version: z.int().positive(),
  /** Null: deleted by this version. */
  definition: z
    .custom<TemplateDefinition>((value) => typeof value === "object" && value !== null)
    .nullable(),
  /** Grows with every version, whatever the clock of the region says that makes it. */
  changedAtMs: z.int(),
  changedIn: z.string(),
});
export type TemplateRecord = z.infer<typeof templateRecordSchema>;

/** Which of two records is the later one: of one version that one stays, of all it is the newest. */
export function isLaterTemplate(record: TemplateRecord, than: TemplateRecord): boolean {
  if (record.changedAtMs !== than.changedAtMs) return record.changedAtMs > than.changedAtMs;
  return record.changedIn > than.changedIn;
}

/** A template as listed. */
export interface TemplateSummary {
  readonly templateId: string;
  readonly version: number;
  readonly updatedAt: string; // ISO 8601
}

/** A template as answered. */
export interface TemplateResource extends TemplateSummary, TemplateDefinition {}
