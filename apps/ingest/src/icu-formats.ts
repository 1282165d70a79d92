// apps/ingest/src/icu-formats.ts
// How ICU messages write numbers and times: Intl's formatters, few of them, shared by all templates.
//   IN63 Formatters that are kept have a limit, whatever styles templates name (D6), and a template names
//        at most so many that making all of them anew delays nobody (D7).
import {
  type DateElement,
  isDateElement,
  isNumberElement,
  isNumberSkeleton,
  type NumberElement,
  SKELETON_TYPE,
  type TimeElement,
} from "@formatjs/icu-messageformat-parser";
import { IntlMessageFormat } from "intl-messageformat";
import { BoundedCache } from "./bounded-cache.ts";

/** Made by `FormatterCache.of`. */
export interface Formatters {
  getNumberFormat(locales?: Locales, options?: Intl.NumberFormatOptions): Intl.NumberFormat;
  getDateTimeFormat(locales?: Locales, options?: Intl.DateTimeFormatOptions): Intl.DateTimeFormat;
  getPluralRules(locales?: Locales, options?: Intl.PluralRulesOptions): Intl.PluralRules;
}
type Locales = string | string[];

type AnyFormatter = Intl.NumberFormat | Intl.DateTimeFormat | Intl.PluralRules;

/** Of one node. An entry holds some KB of ICU's. */
export class FormatterCache {
  readonly #cache: BoundedCache<AnyFormatter>;
  constructor(entriesMax: number) {
    this.#cache = new BoundedCache(entriesMax);
  }

  get size(): number {
    return this.#cache.size;
  }

  /** Times are written as they are in `timeZone`, unless the options name another one. */
  of(timeZone: string): Formatters {
    return {
      getNumberFormat: (locales, options) =>
        this.#get("number", [locales, options], () => new Intl.NumberFormat(locales, options)),
      getDateTimeFormat: (locales, options) =>
        this.#get(
          "time",
          [locales, options, timeZone],
          () => new Intl.DateTimeFormat(locales, { timeZone, ...options }),
        ),
      getPluralRules: (locales, options) =>
        this.#get("plural", [locales, options], () => new Intl.PluralRules(locales, options)),
    };
  }

  #get<F extends AnyFormatter>(kind: string, what: readonly unknown[], make: () => F): F {
    const key = `${kind} ${JSON.stringify(what)}`;
    const known = this.#cache.get(key, 0) as F | undefined;
    if (known !== undefined) return known;
    const made = make();
    this.#cache.set(key, made, Number.POSITIVE_INFINITY);
    return made;
  }
}

/** Without `currency`, which needs one that no style names: `::currency/EUR` does. */
const { currency: _, ...NUMBER_STYLES } = IntlMessageFormat.formats.number;
const STYLES = {
  number: NUMBER_STYLES,
  date: IntlMessageFormat.formats.date,
  time: IntlMessageFormat.formats.time,
} as const;
type Styles = Readonly<Record<string, Intl.NumberFormatOptions & Intl.DateTimeFormatOptions>>;

export type StyledElement = NumberElement | DateElement | TimeElement;

/** What is wrong with how a number or a time is to be written; undefined: nothing. */
export function styleProblem(
  element: StyledElement,
  context: { readonly locale: string; readonly formatters: Formatters },
): string | undefined {
  const kind = isNumberElement(element) ? "number" : isDateElement(element) ? "date" : "time";
  const { style } = element;
  if (style === undefined || style === null) return undefined;
  if (typeof style === "string") {
    if (Object.hasOwn(STYLES[kind], style)) return undefined;
    const names = Object.keys(STYLES[kind]).join(", ");
    return `must write a ${kind} in a style that exists (${names}, or a skeleton)`;
  }
  try {
    const { locale, formatters } = context;
    if (isNumberSkeleton(style)) formatters.getNumberFormat(locale, style.parsedOptions).format(1);
    else formatters.getDateTimeFormat(locale, style.parsedOptions).format(0);
    return undefined;
  } catch (cause) {
    if (!(cause instanceof RangeError) && !(cause instanceof TypeError)) throw cause;
    return `must write a ${kind} with a skeleton that exists`;
  }
}

/** A day is that day everywhere, in whatever zone the template's times are written. */
export function dayElementOf(element: DateElement): DateElement {
  const { style } = element;
  const styles: Styles = STYLES.date;
  const options = typeof style === "string" ? styles[style] : style?.parsedOptions;
  const parsedOptions = { ...options, timeZone: "UTC" };
  return { ...element, style: { type: SKELETON_TYPE.dateTime, pattern: "", parsedOptions } };
}
