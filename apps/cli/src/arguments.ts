// apps/cli/src/arguments.ts
// What options of the command line may be: each refusal says what would be valid.
import { InvalidArgumentError } from "commander";

const REGION = /^[a-z][a-z0-9]{1,15}$/;
const REGIONS_MAX = 16;

/** Names separated by commas. */
export function regions(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  if (!names.every((name) => REGION.test(name)))
    throw new InvalidArgumentError("Each is 2 to 16 lower-case letters or digits.");
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined)
    throw new InvalidArgumentError(`The region ${twice} is named twice; name each once.`);
  if (names.length > REGIONS_MAX) throw new InvalidArgumentError(`At most ${REGIONS_MAX} regions.`);
  return names;
}

export function count(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`A whole number from ${min} to ${max}.`);
    return value;
  };
}
