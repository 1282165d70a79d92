// Goal: which text says a time, and which time. Method: a table; the engine's own calendar as witness.
import fc from "fast-check";
import { expect, test } from "vitest";
import { readTimeText } from "./time-text.ts";

const at = (form: string, iso: string) => ({ form, atMs: Date.parse(iso) });

test.each([
  ["2026-03-01", at("date", "2026-03-01T00:00:00Z")],
  ["2024-02-29", at("date", "2024-02-29T00:00:00Z")],
  ["0004-02-29", at("date", "0004-02-29T00:00:00Z")],
  ["2026-03-01T09:30", at("local", "2026-03-01T09:30:00Z")],
  ["2026-03-01T09:30:15.25", at("local", "2026-03-01T09:30:15.250Z")],
  ["2026-03-01T09:30Z", at("instant", "2026-03-01T09:30:00Z")],
  ["2026-03-01T09:30:00.000Z", at("instant", "2026-03-01T09:30:00Z")],
  ["2026-03-01T00:30:00+02:00", at("instant", "2026-02-28T22:30:00Z")],
  ["2026-03-01T00:30:00-03:30", at("instant", "2026-03-01T04:00:00Z")],
])("CT13 %s is a time", (text, time) => {
  expect(readTimeText(text)).toEqual(time);
});

test.each([
  ["2026-02-29", "impossible"],
  ["1900-02-29", "impossible"],
  ["2026-13-01", "impossible"],
  ["2026-00-10", "impossible"],
  ["2026-04-31", "impossible"],
  ["2026-01-01T24:00Z", "impossible"],
  ["2026-01-01T10:60", "impossible"],
  ["2026-01-01T10:00+15:00", "impossible"],
  ["", "none"],
  ["Berlin", "none"],
  ["2026-03", "none"],
  ["2026-03-01 09:30", "none"],
  ["2026-03-01T9:30", "none"],
  ["2026-03-01T09:30:00+0200", "none"],
  ["12026-03-01", "none"],
  ["0049-151-12345", "none"],
  ["２０２６-03-01", "none"],
])("CT13 %j is no time: %s", (text, expected) => {
  expect(readTimeText(text)).toBe(expected);
});

test("CT13 any instant is read as the engine reads it", () => {
  const years = { min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true };
  fc.assert(
    fc.property(fc.date(years), (date) => {
      const text = date.toISOString();
      expect(readTimeText(text)).toEqual({ form: "instant", atMs: date.getTime() });
      expect(readTimeText(text.slice(0, 10))).toEqual(at("date", `${text.slice(0, 10)}T00:00Z`));
    }),
  );
});
