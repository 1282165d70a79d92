// Goal: options of the command line are taken, or refused in words that fit what is wrong. How the
// option is named: usage.test.ts.
import { expect, test } from "vitest";
import { count, httpUrl, InvalidValue, regions } from "./arguments.ts";

function refusalOf(parse: () => unknown): string | undefined {
  try {
    parse();
  } catch (cause) {
    if (cause instanceof InvalidValue) return cause.message;
    throw cause;
  }
  return undefined;
}

test("regions are names separated by commas", () => {
  expect(regions("fra, lon")).toEqual(["fra", "lon"]);
  const many = Array.from({ length: 17 }, (_, index) => `r${index}`);
  expect(regions(many.slice(1).join(","))).toHaveLength(16);
  expect(refusalOf(() => regions(many.join(",")))).toBe("names 17 regions; valid: at most 16");
  for (const bad of ["", "fra,", "FRA", "f", "fra lon", "1fra"])
    expect(refusalOf(() => regions(bad))).toBe(
      "is no list of regions; valid: names separated by commas, each 2 to 16 lower-case letters or " +
        "digits, the first of them a letter",
    );
});

test("a region that is named twice is said so", () => {
  const refusal = "names the region fra twice; valid: each region once";
  expect(refusalOf(() => regions("fra,fra"))).toBe(refusal);
  expect(refusalOf(() => regions("lon, fra,par ,fra"))).toBe(refusal);
});

test("a count is a whole number inside its range", () => {
  const parse = count(1, 500);
  expect([parse("1"), parse("500")]).toEqual([1, 500]);
  for (const bad of ["0", "501", "1.5", "-1", "1e2", "", "ten"])
    expect(refusalOf(() => parse(bad))).toBe("is not valid; valid: a whole number from 1 to 500");
});

test("an address is one of HTTP", () => {
  const parse = httpUrl("http://host:8080");
  for (const good of ["http://h:8080", "https://h", "http://[::1]:1/"])
    expect(parse(good)).toBe(good);
  for (const bad of ["", "h:8080", "ftp://h", "http://", "http:///x", "http://h:99999"])
    expect(refusalOf(() => parse(bad))).toBe(
      "is no address; valid: an address such as http://host:8080",
    );
});
