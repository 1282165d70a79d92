// Goal: options of the command line are taken, or refused in words that fit what is wrong.
import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import { count, regions } from "./arguments.ts";

function refusalOf(parse: () => unknown): string | undefined {
  try {
    parse();
  } catch (cause) {
    if (cause instanceof InvalidArgumentError) return cause.message;
    throw cause;
  }
  return undefined;
}

test("regions are names separated by commas", () => {
  expect(regions("fra, lon")).toEqual(["fra", "lon"]);
  const many = Array.from({ length: 17 }, (_, index) => `r${index}`);
  expect(regions(many.slice(1).join(","))).toHaveLength(16);
  expect(refusalOf(() => regions(many.join(",")))).toBe("At most 16 regions.");
  for (const bad of ["", "fra,", "FRA", "f", "fra lon"])
    expect(refusalOf(() => regions(bad))).toBe("Each is 2 to 16 lower-case letters or digits.");
});

test("a region that is named twice is said so", () => {
  const refusal = "The region fra is named twice; name each once.";
  expect(refusalOf(() => regions("fra,fra"))).toBe(refusal);
  expect(refusalOf(() => regions("lon, fra,par ,fra"))).toBe(refusal);
});

test("a count is a whole number inside its range", () => {
  const parse = count(1, 500);
  expect([parse("1"), parse("500")]).toEqual([1, 500]);
  for (const bad of ["0", "501", "1.5", "-1", "1e2", "", "ten"])
    expect(refusalOf(() => parse(bad))).toBe("A whole number from 1 to 500.");
});
