// apps/cli/src/arguments.ts
// What options and arguments of the command line may be: each refusal says what would be valid.
import { regionSchema } from "@carillon/contracts";

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
