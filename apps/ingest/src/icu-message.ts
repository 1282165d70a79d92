// apps/ingest/src/icu-message.ts
// One ICU message (A12): parsed once, checked against what a payload may hold, filled as often as wanted.
//   IN61 A text that is no message, or asks for what a payload cannot hold, is refused when it is stored,
//        with the place of what is wrong.
//   IN62 Values are data: they are never read as a message, a tag or a name, and in a link they are
//        percent-encoded, unless the whole link is one value.
import {
  type DateElement,
  isArgumentElement,
  isDateElement,
  isLiteralElement,
  isNumberElement,
  isPluralElement,
  isPoundElement,
  isSelectElement,
  isTimeElement,
  type MessageFormatElement,
  parse,
} from "@formatjs/icu-messageformat-parser";
import { LIMITS, type TemplateArgument, type TemplatePayload } from "@carillon/contracts";
import { assertNever } from "@carillon/kernel";
import { formatToParts, IntlMessageFormat } from "intl-messageformat";
import { dayElementOf, type Formatters, type StyledElement, styleProblem } from "./icu-formats.ts";

export type CompiledMessage =
  | { readonly kind: "message"; readonly message: IcuMessage }
  | { readonly kind: "refused"; readonly message: string };

export type Filled =
  | { readonly kind: "text"; readonly text: string }
  /** The payload has no value for a name that this text uses. */
  | { readonly kind: "missing"; readonly name: string };

/** What a template says of all its texts in one locale. */
export interface MessageContext {
  readonly locale: string;
  readonly properties: Readonly<Record<string, TemplateArgument>>;
  readonly formatters: Formatters;
  /** Those that the texts read so far name; grows (IN63). */
  readonly styles: Set<string>;
}

/** Values under the names that compiled messages have for them: `valuesOf`. */
export type Values = Record<string, string | number | Date>;

/** Thrown by what stands in `Values` for a name that the payload has no value for. */
class MissingValue extends Error {
  readonly valueName: string;
  constructor(valueName: string) {
    super(`no value for ${valueName}`);
    this.valueName = valueName;
  }
}

/** Not an IntlMessageFormat: each has formats and caches of its own, some KB for every text (D6). */
export class IcuMessage {
  readonly #elements: MessageFormatElement[];
  readonly #locale: string;
  readonly #formatters: Formatters;
  constructor(elements: MessageFormatElement[], { locale, formatters }: MessageContext) {
    this.#elements = elements;
    this.#locale = locale;
    this.#formatters = formatters;
  }

  fill(values: Values): Filled {
    const { formats } = IntlMessageFormat;
    try {
      const parts = formatToParts(this.#elements, this.#locale, this.#formatters, formats, values);
      return { kind: "text", text: parts.map(({ value }) => String(value)).join("") };
    } catch (cause) {
      if (!(cause instanceof MissingValue)) throw cause;
      return { kind: "missing", name: cause.valueName };
    }
  }
}

/** `isLink`: IN62. Cost: some µs a hundred characters. */
export function compileMessage(
  text: string,
  context: MessageContext & { readonly isLink: boolean },
): CompiledMessage {
  const parsed = parseMessage(text, context.locale);
  if (parsed.kind === "refused") return parsed;
  const { elements } = parsed;
  const isWhole = elements.length === 1;
  const reader = new Reader(context, { isEncoded: context.isLink && !isWhole });
  const read = reader.read(elements, 1);
  const problem = reader.problem;
  if (problem !== undefined) return { kind: "refused", message: problem };
  return { kind: "message", message: new IcuMessage(read, context) };
}

/** A payload that was checked, for every message of a template. */
export function valuesOf(
  payload: TemplatePayload,
  properties: Readonly<Record<string, TemplateArgument>>,
): Values {
  // Without a prototype: the formatter asks with `in` (IN62).
  const values = Object.create(null) as Values;
  for (const [name, property] of Object.entries(properties)) {
    const value = Object.hasOwn(payload, name) ? payload[name] : undefined;
    if (value === undefined) {
      for (const kind of KINDS) failOn(values, `${kind}:${name}`, name);
      continue;
    }
    const text = String(value);
    values[`text:${name}`] = text;
    values[`link:${name}`] = encodeURIComponent(text);
    if (typeof value === "number") values[`number:${name}`] = value;
    if (isTime(property)) values[`time:${name}`] = new Date(text);
  }
  return values;
}

function failOn(values: Values, key: string, valueName: string): void {
  const get = (): never => {
    throw new MissingValue(valueName);
  };
  Object.defineProperty(values, key, { get });
}

type Parsed =
  | { readonly kind: "parsed"; readonly elements: MessageFormatElement[] }
  | { readonly kind: "refused"; readonly message: string };

function parseMessage(text: string, locale: string): Parsed {
  try {
    const options = { ignoreTag: true, captureLocation: true, locale: new Intl.Locale(locale) };
    return { kind: "parsed", elements: parse(text, options) };
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    if (!isParserError(cause))
      // Of skeletons the parser throws a bare error, in words of its own and without the place.
      return { kind: "refused", message: "must hold only number and date skeletons that exist" };
    const what = cause.message.toLowerCase().replaceAll("_", " ");
    const at = cause.location.start.offset + 1;
    return { kind: "refused", message: `must be an ICU message: at character ${at}: ${what}` };
  }
}

function isParserError(cause: Error): cause is Error & { location: { start: { offset: number } } } {
  return cause instanceof SyntaxError && "location" in cause;
}

/** Goes over a message once: what it asks for, and the names under which it will find it. */
class Reader {
  problem: string | undefined; // the first
  #argumentCount = 0;
  readonly #context: MessageContext;
  readonly #plainKind: "link" | "text";

  constructor(context: MessageContext, { isEncoded }: { readonly isEncoded: boolean }) {
    this.#context = context;
    this.#plainKind = isEncoded ? "link" : "text";
  }

  read(elements: readonly MessageFormatElement[], depth: number): MessageFormatElement[] {
    if (depth > LIMITS.templateDepthMax) {
      this.problem ??= `must nest plural and select at most ${LIMITS.templateDepthMax - 1} deep`;
      return [];
    }
    return elements.map((element) => withoutPlace(this.#element(element, depth)));
  }

  #element(element: MessageFormatElement, depth: number): MessageFormatElement {
    if (isLiteralElement(element)) return element;
    if (++this.#argumentCount > LIMITS.templateArgumentsMax)
      this.problem ??= `must hold at most ${LIMITS.templateArgumentsMax} arguments`;
    if (isPoundElement(element)) return element;
    if (isArgumentElement(element)) return this.#named(element, this.#plainKind);
    if (isSelectElement(element))
      return { ...this.#named(element, "select"), options: this.#options(element.options, depth) };
    if (isPluralElement(element))
      return { ...this.#named(element, "number"), options: this.#options(element.options, depth) };
    if (isNumberElement(element)) return this.#styled(element, "number");
    if (isDateElement(element)) return this.#date(element);
    if (isTimeElement(element)) return this.#styled(element, "time");
    this.problem ??= "must hold no tags"; // cannot be: they are read as text
    return element;
  }

  #options<Option extends { value: MessageFormatElement[] }>(
    options: Readonly<Record<string, Option>>,
    depth: number,
  ): Record<string, Option> {
    const read = Object.entries(options).map(([name, option]): [string, Option] => [
      name,
      { ...option, value: this.read(option.value, depth + 1) },
    ]);
    return Object.fromEntries(read);
  }

  #styled<Element extends StyledElement>(element: Element, wanted: Wanted): Element {
    const { styles, locale } = this.#context;
    styles.add(JSON.stringify([locale, element.type, element.style]));
    const isTooMany = styles.size > LIMITS.templateStylesMax; // IN63: looked at before it is made
    const problem = isTooMany ? TOO_MANY_STYLES : styleProblem(element, this.#context);
    if (problem !== undefined) this.problem ??= `${problem}${placeOf(element)}`;
    return this.#named(element, wanted);
  }

  #date(element: DateElement): DateElement {
    const property = this.#propertyOf(element);
    const isDay = property?.type === "string" && property.format === "date";
    const named = this.#styled(element, "date");
    return isDay ? dayElementOf(named) : named;
  }

  #named<Element extends Named>(element: Element, wanted: Wanted): Element {
    const property = this.#propertyOf(element);
    if (property === undefined || !fits(property, wanted))
      this.problem ??= `must ask for what payloadSchema declares: ${WANTED[wanted].words}${placeOf(element)}`;
    return { ...element, value: `${WANTED[wanted].kind}:${element.value}` };
  }

  #propertyOf({ value }: Named): TemplateArgument | undefined {
    const { properties } = this.#context;
    return Object.hasOwn(properties, value) ? properties[value] : undefined;
  }
}

const TOO_MANY_STYLES = `must, with all texts before it, write numbers and times in at most ${LIMITS.templateStylesMax} styles`;
const KINDS = ["text", "link", "number", "time"] as const;
type Named = MessageFormatElement & { value: string };
type Wanted = keyof typeof WANTED;

/** What an element can be filled with, and which of a name's values that is. */
const WANTED = {
  text: { kind: "text", words: "a name of its properties" },
  link: { kind: "link", words: "a name of its properties" },
  select: { kind: "text", words: "a string or a boolean" },
  number: { kind: "number", words: "a number or an integer" },
  date: { kind: "time", words: "a string of format date or date-time" },
  time: { kind: "time", words: "a string of format date-time" },
} as const satisfies Record<string, { kind: (typeof KINDS)[number]; words: string }>;

function fits(property: TemplateArgument, wanted: Wanted): boolean {
  switch (wanted) {
    case "number":
      return property.type === "number" || property.type === "integer";
    case "select":
      return property.type === "string" || property.type === "boolean";
    case "date":
      return isTime(property);
    case "time":
      return property.type === "string" && property.format === "date-time";
    case "text":
    case "link":
      return true;
    default:
      return assertNever(wanted);
  }
}

function isTime(property: TemplateArgument): boolean {
  if (property.type !== "string") return false;
  return property.format === "date" || property.format === "date-time";
}

/** Only its reader needs it; it is most of what an element takes in memory. */
function withoutPlace(element: MessageFormatElement): MessageFormatElement {
  const { location: _, ...rest } = element;
  return rest;
}

function placeOf({ location }: MessageFormatElement): string {
  const offset = location?.start.offset;
  return offset === undefined ? "" : `, at character ${offset + 1}`;
}
