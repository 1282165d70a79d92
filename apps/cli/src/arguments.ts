// apps/cli/src/arguments.ts
// What options and arguments of the command line may be: each refusal says what would be valid.
import { LIMITS, recipientIdSchema, regionSchema } from "@carillon/contracts";

/** What a parser throws; `createProgram` knows whose value it was, and makes it a UsageError. */
export class InvalidValue extends Error {
  readonly problem: string;
  readonly valid: readonly string[];

  constructor(problem: string, ...valid: string[]) {
    super(`${problem}; valid: ${valid.join(", ")}`);
    this.problem = problem;
    this.valid = valid;
  }
}

const REGION_RULE = "2 to 16 lower-case letters or digits, the first of them a letter";
const REGIONS_MAX = 16;

export function region(text: string): string {
  const parsed = regionSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidValue("is no name of a region", REGION_RULE);
}

/** Names separated by commas. */
export function regions(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  if (!names.every((name) => regionSchema.safeParse(name).success))
    throw new InvalidValue(
      "is no list of regions",
      `names separated by commas, each ${REGION_RULE}`,
    );
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined)
    throw new InvalidValue(`names the region ${twice} twice`, "each region once");
  if (names.length > REGIONS_MAX)
    throw new InvalidValue(`names ${names.length} regions`, `at most ${REGIONS_MAX}`);
  return names;
}

/** As POST /v1/notifications answered it. */
export function notificationId(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu.test(text)) return text.toLowerCase();
  throw new InvalidValue(
    "is no id of a notification",
    "an id such as 019ad8f2-7c00-7000-8000-0123456789ab",
  );
}

/** The tenant's own id. */
export function recipientId(text: string): string {
  const parsed = recipientIdSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidValue(
    "is no id of a recipient",
    `1 to ${LIMITS.recipientIdMaxCharacters} characters, none of them a space, a control character or /`,
  );
}

/** Null: none. */
export function ratePerMinute(text: string): number | null {
  if (text === "none") return null;
  const value = Number(text);
  if (/^\d+$/u.test(text) && value >= 1 && value <= LIMITS.ratePerMinuteMax) return value;
  const max = LIMITS.ratePerMinuteMax;
  throw new InvalidValue("is no rate", `a whole number from 1 to ${max}, or none`);
}

export function count(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidValue("is not valid", `a whole number from ${min} to ${max}`);
    return value;
  };
}

/** `example` stands in the refusal. */
export function httpUrl(example: string): (text: string) => string {
  return (text) => {
    if (/^https?:\/\/[^/]/u.test(text) && URL.canParse(text)) return text;
    throw new InvalidValue("is no address", `an address such as ${example}`);
  };
}
