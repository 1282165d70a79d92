// apps/ingest/src/template-renderer.ts
// A version of a template, ready to be filled: every text of every locale compiled once (A12, ADR 0025).
//   IN64 What was rendered keeps the limits of content that is posted, or the request is refused with the
//        locale and the field; nothing is rendered after the first locale that does not.
import {
  contentSchema,
  type Content,
  type FieldError,
  fieldErrorsOf,
  fieldOf,
  LIMITS,
  type LocaleFallbacks,
  type LocalizedContent,
  payloadCheckOf,
  type TemplateDefinition,
  type TemplatePayload,
  type TemplateTexts,
} from "@carillon/contracts";
import type { FormatterCache } from "./icu-formats.ts";
import { compileMessage, type IcuMessage, type MessageContext, valuesOf } from "./icu-message.ts";

export type Rendered =
  | { readonly kind: "content"; readonly content: LocalizedContent }
  | { readonly kind: "refused"; readonly errors: readonly FieldError[] };

export interface CompiledTemplate {
  readonly locales: readonly string[]; // the default first
  readonly fallbacks: LocaleFallbacks;
  /** Of these locales; a payload may be anything that is no secret. */
  render(payload: TemplatePayload, locales: readonly string[]): Rendered;
}

export type Compiled =
  | { readonly kind: "compiled"; readonly template: CompiledTemplate }
  | { readonly kind: "refused"; readonly errors: readonly FieldError[] };

interface Text {
  readonly path: readonly string[]; // title, or data and a key
  readonly message: IcuMessage;
}

/** IN61: names every text that is no message. Pure; cost: some ms for the largest template. */
export function compileTemplate(definition: TemplateDefinition, cache: FormatterCache): Compiled {
  const { defaultLocale, fallbacks, payloadSchema, timeZone } = definition;
  const { properties } = payloadSchema;
  const shared = { properties, formatters: cache.of(timeZone), styles: new Set<string>() };
  const errors: FieldError[] = [];
  const texts = new Map<string, readonly Text[]>();
  // In one order whoever stores it, since the order says which region of a language is taken.
  const others = Object.keys(definition.locales).filter((locale) => locale !== defaultLocale);
  const locales = [defaultLocale, ...others.toSorted()];
  for (const locale of locales) {
    const its = definition.locales[locale];
    if (its !== undefined) texts.set(locale, compileTexts(its, { locale, ...shared }, errors));
  }
  if (errors.length > 0)
    return { kind: "refused", errors: errors.slice(0, LIMITS.fieldErrorsReported) };
  const check = payloadCheckOf(payloadSchema);
  return {
    kind: "compiled",
    template: {
      locales,
      fallbacks,
      render(payload, wanted) {
        const checked = check.safeParse(payload);
        if (!checked.success) {
          const wrong = fieldErrorsOf(checked.error, payload, "");
          return { kind: "refused", errors: wrong.map(inPayload) };
        }
        const values = valuesOf(checked.data, properties);
        const content: LocalizedContent = {};
        for (const locale of wanted) {
          const rendered = renderTexts(texts.get(locale) ?? [], values, locale);
          if (rendered.kind === "refused") return rendered;
          content[locale] = rendered.content;
        }
        return { kind: "content", content };
      },
    },
  };
}

function inPayload({ field, message }: FieldError): FieldError {
  if (field === "") return { field: "payload", message };
  return { field: field.startsWith("[") ? `payload${field}` : `payload.${field}`, message };
}

function compileTexts(
  { title, body, link, data = {} }: TemplateTexts,
  context: MessageContext,
  errors: FieldError[],
): Text[] {
  const patterns: [path: string[], pattern: string | undefined][] = [
    [["title"], title],
    [["body"], body],
    [["link"], link],
    ...Object.entries(data).map(([key, pattern]): [string[], string] => [["data", key], pattern]),
  ];
  return patterns.flatMap(([path, pattern]) => {
    if (pattern === undefined) return [];
    const compiled = compileMessage(pattern, { ...context, isLink: path[0] === "link" });
    if (compiled.kind === "message") return { path, message: compiled.message };
    const field = fieldOf(["locales", context.locale, ...path]);
    errors.push({ field, message: compiled.message });
    return [];
  });
}

function renderTexts(
  texts: readonly Text[],
  values: ReturnType<typeof valuesOf>,
  locale: string,
):
  | { readonly kind: "content"; readonly content: Content }
  | { readonly kind: "refused"; readonly errors: readonly FieldError[] } {
  const content: Record<string, unknown> = {};
  const data: Record<string, string> = {};
  for (const { path, message } of texts) {
    const filled = message.fill(values);
    if (filled.kind === "missing") {
      const used = fieldOf(["locales", locale, ...path]);
      const error = { field: `payload.${filled.name}`, message: `is required by ${used}` };
      return { kind: "refused", errors: [error] };
    }
    const [field = "", key] = path;
    if (key === undefined) content[field] = filled.text;
    else data[key] = filled.text;
  }
  if (Object.keys(data).length > 0) content["data"] = data;
  const checked = contentSchema.safeParse(content);
  if (checked.success) return { kind: "content", content: checked.data };
  const errors = fieldErrorsOf(checked.error, content, "").map(({ field, message }) => ({
    field: `content.${locale}${field === "" ? "" : `.${field}`}`,
    message: `${message}, as rendered with this payload`,
  }));
  return { kind: "refused", errors };
}
