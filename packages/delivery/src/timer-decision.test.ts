// Goal: DT3 and when the table is looked at. Method: a table of cases on the pure functions.
import type { Random } from "@carillon/kernel";
import { expect, test } from "vitest";
import { DELIVERY_DEFAULTS } from "./delivery-limits.ts";
import { afterFiring, lookDelayMs, refusalOf } from "./timer-decision.ts";

const limits = DELIVERY_DEFAULTS.timers;
const middle: Random = { next: () => 0.5, bytes: (count) => new Uint8Array(count) }; // no jitter

test.each([
  [undefined, 0, { change: "done" }],
  [undefined, 98, { change: "done" }],
  ["broken", 0, { change: "retry", inMs: 1_000 }],
  ["broken", 1, { change: "retry", inMs: 3_000 }],
  ["broken", 8, { change: "retry", inMs: 1_800_000 }],
  ["broken", 9, { change: "bury", reason: "broken" }],
  ["broken", 23, { change: "bury", reason: "broken" }],
] as const)("DT3 — failure %s after %i others is followed by %o", (failure, before, after) => {
  expect(afterFiring(failure, before, limits, middle)).toEqual(after);
});

test("DT3 — what lost its owner too often is not fired again", () => {
  expect(refusalOf(4, limits)).toBeUndefined();
  expect(refusalOf(5, limits)).toBe("its owner was gone before the end of it 5 times in a row");
});

test.each([
  ["more are due already", true, 10_000, 0],
  ["none waits: at the latest for what others set", false, null, 500],
  ["the next one is far away", false, 10_000, 500],
  ["the next one comes before that", false, 120.2, 121],
  ["the next one is nearly due: several are taken together", false, 0.5, 25],
])("DT1 — it looks again when a timer may be due: %s", (_, isMore, nextInMs, delayMs) => {
  expect(lookDelayMs({ isMore, nextInMs }, limits)).toBe(delayMs);
});
