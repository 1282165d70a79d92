// packages/config/src/fields.ts
// The kinds of settings: each says in words what is valid and never echoes what was given.
import { Secret } from "./secret.ts";

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly expected: string };

/** `doc` says what it is for, and why this default. */
export interface Field<T> {
  readonly doc: string;
  readonly fallback?: T; // absent: the variable is required
  readonly isSecret?: boolean; // also read from the file that `<NAME>_FILE` names
  readonly parse: (text: string) => Parsed<T>;
}

/** Whole number with bounds. The unit belongs to the name: CARILLON_WORKER_DRAIN_MAX_MS. */
export function int(
  doc: string,
  range: { min: number; max: number; fallback?: number },
): Field<number> {
  const { min, max, fallback } = range;
  const expected = `a whole number from ${min} to ${max}`;
  const parse = (given: string): Parsed<number> => {
    const value = /^-?\d+$/.test(given) ? Number(given) : Number.NaN;
    return value >= min && value <= max ? { ok: true, value } : { ok: false, expected };
  };
  return withFallback({ doc, parse }, fallback);
}

export function oneOf<const T extends string>(
  doc: string,
  values: readonly T[],
  fallback?: T,
): Field<T> {
  const expected = `one of ${values.join(", ")}`;
  const parse = (given: string): Parsed<T> => {
    const value = values.find((candidate) => candidate === given);
    return value === undefined ? { ok: false, expected } : { ok: true, value };
  };
  return withFallback({ doc, parse }, fallback);
}

/** Text that fits `pattern`; `expected` says so in words. */
export function text(
  doc: string,
  rule: { pattern: RegExp; expected: string; fallback?: string },
): Field<string> {
  const parse = (value: string): Parsed<string> =>
    rule.pattern.test(value) ? { ok: true, value } : { ok: false, expected: rule.expected };
  return withFallback({ doc, parse }, rule.fallback);
}

/** Values separated by commas, spaces around them ignored; each fits `pattern`; at least one. */
export function list(
  doc: string,
  rule: { pattern: RegExp; expected: string; fallback?: readonly string[] },
): Field<readonly string[]> {
  const parse = (value: string): Parsed<readonly string[]> => {
    const items = value
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "");
    const isValid = items.length > 0 && items.every((item) => rule.pattern.test(item));
    return isValid
      ? { ok: true, value: items }
      : { ok: false, expected: `${rule.expected}, separated by commas` };
  };
  return withFallback({ doc, parse }, rule.fallback);
}

/** `on` or `off`. */
export function flag(doc: string, fallback?: boolean): Field<boolean> {
  const parse = (value: string): Parsed<boolean> =>
    value === "on" || value === "off"
      ? { ok: true, value: value === "on" }
      : { ok: false, expected: "on or off" };
  return withFallback({ doc, parse }, fallback);
}

/**
 * Fits `pattern` where there is a rule. Also as `<NAME>_FILE`, the path of a file that holds it (one
 * trailing line end is dropped).
 */
export function secret(doc: string, rule?: { pattern: RegExp; expected: string }): Field<Secret> {
  const parse = (value: string): Parsed<Secret> =>
    rule === undefined || rule.pattern.test(value)
      ? { ok: true, value: new Secret(value) }
      : { ok: false, expected: rule.expected };
  return { doc, parse, isSecret: true };
}

function withFallback<T>(field: Field<T>, fallback: T | undefined): Field<T> {
  return fallback === undefined ? field : { ...field, fallback };
}
