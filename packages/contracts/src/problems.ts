// packages/contracts/src/problems.ts
// Says what is wrong with an input, field by field, in words a caller can act on (A13).
//   CT6  Every refused input yields at least one field error; each names a field by its path and
//        says what would be valid; never more than LIMITS.fieldErrorsReported.
//   CT7  Values are never echoed; names of fields are, cut to 64 characters.
import type { z } from "zod";
import { LIMITS } from "./limits.ts";

export interface FieldError {
  /** `audience.recipients[3]`; `content["de at"]` where a name is not plain; `body` for the whole. */
  readonly field: string;
  readonly message: string;
}

/**
 * Field errors in order of appearance, one per field. `input` is what was parsed: with it, a missing
 * field is told from a wrong one and the branch of a union is chosen by what the caller wrote.
 * `rootField` names the whole input when it is wrong altogether. Limit: CT6. Source: RFC 9457 §3.
 */
export function fieldErrorsOf(
  error: z.ZodError,
  input?: unknown,
  rootField = "body",
): FieldError[] {
  const messages = new Map<string, string>();
  for (const problem of error.issues.flatMap((issue) => problemsOf(issue, input))) {
    const field = fieldOf(problem.path) || rootField;
    if (!messages.has(field)) messages.set(field, problem.message);
    if (messages.size === LIMITS.fieldErrorsReported) break;
  }
  return Array.from(messages, ([field, message]) => ({ field, message }));
}

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];
interface FieldProblem {
  readonly path: Path;
  readonly message: string;
}

/** `input` is the value that the issue's path starts from. */
function problemsOf(issue: Issue, input: unknown): FieldProblem[] {
  const { path } = issue;
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({ path: [...path, key], message: "is not a known field" }));
    case "invalid_key":
      return [{ path, message: `is not a valid name: it ${keyProblem(issue.issues)}` }];
    case "invalid_union":
      return unionProblems(issue, input);
    default:
      return [{ path, message: isMissing(issue, input) ? "is required" : messageOf(issue) }];
  }
}

// --- one issue in words ----------------------------------------------------------------------

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "an object",
  record: "an object",
  null: "null",
};

/** Messages of our schemas begin with "must"; zod's own are put into the same form. */
function messageOf(issue: Issue): string {
  if (issue.message.startsWith("must ")) return issue.message;
  switch (issue.code) {
    case "invalid_type":
      return `must be ${TYPE_WORDS[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return mustBeOneOf(issue.values);
    case "too_small":
      return sizeMessage(issue.origin, "at least", Number(issue.minimum));
    case "too_big":
      return sizeMessage(issue.origin, "at most", Number(issue.maximum));
    case "invalid_format":
      return issue.format === "regex"
        ? "has a form that is not valid"
        : `must be a ${issue.format}`;
    case "not_multiple_of":
      return `must be a multiple of ${issue.divisor}`;
    default:
      return "is not valid";
  }
}

function mustBeOneOf(values: readonly unknown[]): string {
  const words = Array.from(new Set(values), String);
  return words.length === 1 ? `must be ${words[0]}` : `must be one of ${words.join(", ")}`;
}

function sizeMessage(origin: string, comparison: string, limit: number): string {
  if (origin === "string") {
    if (comparison === "at least" && limit === 1) return "must not be empty";
    return `must have ${comparison} ${limit} ${limit === 1 ? "character" : "characters"}`;
  }
  if (origin === "array")
    return `must hold ${comparison} ${limit} ${limit === 1 ? "item" : "items"}`;
  return `must be ${comparison} ${limit}`;
}

function keyProblem(issues: readonly Issue[]): string {
  const first = issues[0];
  return first === undefined ? "must have another form" : messageOf(first);
}

// --- unions: the branch that fits best -------------------------------------------------------

type UnionIssue = Extract<Issue, { code: "invalid_union" }>;
type Branch = readonly Issue[];

function optionsOf(issue: UnionIssue): readonly unknown[] {
  return "options" in issue && Array.isArray(issue.options) ? issue.options : [];
}

/** What an issue of a branch costs it; the branch that costs least is what the caller meant. */
const COSTS = {
  otherType: 50, // the value is of another kind altogether
  otherVariant: 40, // it lacks the field that tells the branch's variants apart
  unknownField: 10,
  missingField: 4,
  wrongValue: 3, // however many, and however deep
} as const;

function unionProblems(issue: UnionIssue, input: unknown): FieldProblem[] {
  const { path } = issue;
  const value = valueAt(input, path);
  if (issue.discriminator !== undefined) {
    const message = value === undefined ? "is required" : mustBeOneOf(optionsOf(issue));
    return [{ path, message }];
  }
  if (value === undefined) return [{ path, message: "is required" }];
  const branches = issue.errors.filter((branch) => branch.length > 0);
  const costs = branches.map((branch) => costOf(branch, value));
  const lowest = Math.min(...costs);
  const best = branches[costs.indexOf(lowest)];
  if (best === undefined) return [{ path, message: "is not valid" }];
  if (lowest >= COSTS.otherType && best.some((one) => isOtherType(one)))
    return [{ path, message: mustBeAnyType(branches) }];
  const isTie = costs.indexOf(lowest) !== costs.lastIndexOf(lowest);
  const isMixed = branches.some((branch) => hasFieldThat(branch, best));
  if ((isTie || isMixed) && issue.message.startsWith("must "))
    return [{ path, message: issue.message }];
  return best
    .flatMap((one) => problemsOf(one, value))
    .map((problem) => ({ ...problem, path: [...path, ...problem.path] }));
}

function costOf(branch: Branch, value: unknown): number {
  let cost = 0;
  let hasWrongValue = false;
  for (const issue of branch) {
    if (isOtherType(issue)) cost += COSTS.otherType;
    else if (issue.path.length === 0 && issue.code === "unrecognized_keys")
      cost += COSTS.unknownField * issue.keys.length;
    else if (issue.path.length === 1 && valueAt(value, issue.path) === undefined)
      cost += isDiscriminator(issue) ? COSTS.otherVariant : COSTS.missingField;
    else hasWrongValue = true;
  }
  return hasWrongValue ? cost + COSTS.wrongValue : cost;
}

function isOtherType(issue: Issue): boolean {
  return issue.path.length === 0 && issue.code === "invalid_type";
}

/** An issue of a discriminated union that knows none of its variants: it looked no further. */
function isDiscriminator(issue: Issue): boolean {
  return issue.code === "invalid_union" && issue.discriminator !== undefined;
}

/** Whether `branch` has a field that `best` does not know: the caller mixed two of them. */
function hasFieldThat(branch: Branch, best: Branch): boolean {
  if (branch === best || branch.some(isDiscriminator)) return false;
  const known = unknownFieldsOf(best).filter((field) => !unknownFieldsOf(branch).includes(field));
  return known.length > 0;
}

function unknownFieldsOf(branch: Branch): readonly string[] {
  return branch.flatMap((issue) =>
    issue.code === "unrecognized_keys" && issue.path.length === 0 ? issue.keys : [],
  );
}

function mustBeAnyType(branches: readonly Branch[]): string {
  const words = branches.flat().flatMap((issue) => {
    if (!isOtherType(issue) || issue.code !== "invalid_type") return [];
    return [TYPE_WORDS[issue.expected] ?? issue.expected];
  });
  return `must be ${Array.from(new Set(words)).join(", or ")}`;
}

// --- paths -----------------------------------------------------------------------------------

function isMissing(issue: Issue, input: unknown): boolean {
  if (issue.code !== "invalid_type" && issue.code !== "invalid_value") return false;
  if (input === undefined) return issue.message.endsWith("received undefined");
  return valueAt(input, issue.path) === undefined;
}

function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

const NAME_MAX_CHARACTERS = 64;

/** A path as field errors name it. */
export function fieldOf(path: Path): string {
  let field = "";
  for (const key of path) {
    if (typeof key === "number") field += `[${key}]`;
    else if (/^[\w-]+$/.test(String(key)) && String(key).length <= NAME_MAX_CHARACTERS)
      field += field === "" ? String(key) : `.${String(key)}`;
    else field += `[${JSON.stringify(String(key).slice(0, NAME_MAX_CHARACTERS).toWellFormed())}]`;
  }
  return field;
}
