// Goal: AU2, AU3 as a table that a person can read. Method: one recipient per value of `x`.
import type { Filter } from "@carillon/contracts";
import { expect, test } from "vitest";
import { AttributeIndex } from "./attribute-index.ts";

const VALUES = {
  none: undefined,
  truth: true,
  three: 3,
  ten: 10,
  text3: "3",
  Berlin: "Berlin",
  bern: "bern",
  day: "2026-03-01",
  nextDay: "2026-03-02",
  noDay: "2026-02-30",
  clock: "2026-03-01T09:00",
  nineUtc: "2026-03-01T09:00:00Z",
  nineInBerlin: "2026-03-01T09:00:00.000+01:00",
  list: ["Berlin", "3"],
  emptyList: [],
};
const NAMES = Object.keys(VALUES) as (keyof typeof VALUES)[];

function selected(filter: Filter): string[] {
  const index = new AttributeIndex();
  for (const [member, name] of NAMES.entries()) {
    const x = VALUES[name];
    index.put(member, { locale: null, attributes: x === undefined ? {} : { x }, groups: [] });
  }
  return index
    .select(filter)
    .toArray()
    .map((member) => NAMES[member]!);
}

const x = { key: "x" } as const;
const TABLE: readonly (readonly [string, Filter, string[]])[] = [
  ["eq looks at the type", { ...x, cmp: "eq", val: 3 }, ["three"]],
  ["eq of text", { ...x, cmp: "eq", val: "3" }, ["text3"]],
  ["eq of a truth value", { ...x, cmp: "eq", val: true }, ["truth"]],
  [
    "ne leaves out who lacks it and lists",
    { ...x, cmp: "ne", val: "3" },
    NAMES.filter((name) => !["none", "text3", "list", "emptyList"].includes(name)),
  ],
  ["in", { ...x, cmp: "in", vals: [10, "bern", true, "none"] }, ["truth", "ten", "bern"]],
  [
    "exists: an empty list is nothing",
    { ...x, cmp: "exists" },
    NAMES.filter((name) => !["none", "emptyList"].includes(name)),
  ],
  ["numbers have their own order", { ...x, cmp: "gt", val: 3 }, ["ten"]],
  ["le of numbers", { ...x, cmp: "le", val: 10 }, ["three", "ten"]],
  ["text is in order of its units, and times are none", { ...x, cmp: "ge", val: "Bonn" }, ["bern"]],
  ["what is no day is text", { ...x, cmp: "lt", val: "3" }, ["noDay"]],
  ["days with days", { ...x, cmp: "le", val: "2026-03-01" }, ["day"]],
  ["days with days, later", { ...x, cmp: "gt", val: "2026-03-01" }, ["nextDay"]],
  ["wall clocks with wall clocks", { ...x, cmp: "ge", val: "2026-03-01T09:00:00" }, ["clock"]],
  [
    "instants in order of time, not of text",
    { ...x, cmp: "lt", val: "2026-03-01T08:30:00Z" },
    ["nineInBerlin"],
  ],
  [
    "instants however they are written",
    { ...x, cmp: "ge", val: "2026-03-01T10:00+02:00" },
    ["nineUtc", "nineInBerlin"],
  ],
  ["equal is what is written alike", { ...x, cmp: "eq", val: "2026-03-01T09:00Z" }, []],
  [
    "contains: a part of text, or an element",
    { ...x, cmp: "contains", val: "Berlin" },
    ["Berlin", "list"],
  ],
  [
    "contains looks at text only",
    { ...x, cmp: "contains", val: "3" },
    ["text3", "day", "nextDay", "noDay", "clock", "nineUtc", "nineInBerlin", "list"],
  ],
  ["prefix", { ...x, cmp: "prefix", val: "be" }, ["bern"]],
  [
    "prefix of days: a month",
    { ...x, cmp: "prefix", val: "2026-03" },
    ["day", "nextDay", "clock", "nineUtc", "nineInBerlin"],
  ],
  [
    "an empty part is in every text",
    { ...x, cmp: "contains", val: "" },
    [...["text3", "Berlin", "bern", "day", "nextDay", "noDay", "clock", "nineUtc"], "nineInBerlin"],
  ],
  // What an older build accepted and matched nobody goes on doing so.
  ["an order of truth values", { ...x, cmp: "ge", val: false }, []],
  ["a part of a number", { ...x, cmp: "contains", val: 3 }, []],
];

test.each(TABLE)("AU2, AU3 — %s", (_, filter, expected) => {
  expect(selected(filter)).toEqual(expected);
});
