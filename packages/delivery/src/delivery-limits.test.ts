// Goal: D6: every limit of the delivery engine is told in docs/metrics.md with what happens at it, and by which metric
// it is seen. Method: the page, read as a table, beside the defaults and beside the page's list of metrics.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DELIVERY_DEFAULTS } from "./delivery-limits.ts";

const page = readFileSync(new URL("../../../docs/metrics.md", import.meta.url), "utf8");
const metrics = new Set([...page.matchAll(/^\| `(carillon_\w+)`/gmu)].map(([, name]) => name));
const [, section = ""] = page.split("## Limits of the delivery engine");
const rows = section
  .split("\n")
  .filter((line) => line.startsWith("| "))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

/** `timers.claimMax` → 256. Backoffs are of several numbers. */
function limitsIn(value: object, prefix = ""): [string, number | undefined][] {
  return Object.entries(value).flatMap(([name, one]: [string, unknown]) => {
    if (typeof one === "number") return [[`${prefix}${name}`, one] as [string, number]];
    if (name === "retry") return [[`${prefix}${name}`, undefined] as [string, undefined]];
    return limitsIn(one as object, `${prefix}${name}.`);
  });
}

test("D6 — each limit is in the table once, with its number; whatever else is there is in the code", () => {
  const told = new Map(rows.map(([name = "", number = ""]) => [name, number]));
  for (const [name, number] of limitsIn(DELIVERY_DEFAULTS))
    expect([name, told.get(name)]).toEqual([
      name,
      number === undefined ? "back-off" : number.toLocaleString("en"),
    ]);
  const known = limitsIn(DELIVERY_DEFAULTS).map(([name]) => name);
  const names = rows.map(([name = ""]) => name).filter((name) => /^[a-z.]+[A-Z.a-z]*$/u.test(name));
  expect(names.filter((name) => !known.includes(name))).toEqual([]);
  expect(names.filter((name, at) => names.indexOf(name) < at)).toEqual([]);
});

test("D6 — a limit of things that are held has a metric that there is; only times and sizes of statements have none", () => {
  const all = rows.slice(1).map(([name = "", , , seen = ""]) => ({
    name,
    named: [...seen.matchAll(/`(carillon_\w+)/gu)].map(([, metric]) => metric),
  }));
  for (const { name, named } of all)
    expect([name, named.filter((metric) => !metrics.has(metric))]).toEqual([name, []]);
  const isHeld = (name: string) =>
    !/Ms$|Bytes$|retry$|PerRead$|batchMax|claimMax|flushRowsMax|oneIn/u.test(name);
  const unseen = all.filter(({ name, named }) => isHeld(name) && named.length === 0);
  expect(unseen).toEqual([]);
});
