// Goal: BU7 and wildcards as NATS has them.
import { expect, test } from "vitest";
import { assertSubject, isPattern, matchesSubject } from "./subject.ts";

test("BU7 — subjects that would break the protocol are refused, others are not", () => {
  for (const subject of ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB b 0", "a\tb", "a\u007f"])
    expect(() => assertSubject(subject), JSON.stringify(subject)).toThrow("BU7");
  for (const subject of ["a", "a.b", "a.*.c", "a.>", "region.fra.notify", "é.ü"])
    expect(() => assertSubject(subject), subject).not.toThrow();
});

test("wildcards stand for whole tokens", () => {
  const table: [string, string, boolean][] = [
    ["a.b", "a.b", true],
    ["a.b", "a.b.c", false],
    ["a.*", "a.b", true],
    ["a.*", "a.b.c", false],
    ["a.*", "a", false],
    ["*.b", "a.b", true],
    ["*.*", "a.b", true],
    ["a.>", "a.b.c", true],
    ["a.>", "a", false],
    [">", "a.b", true],
    ["a.*.c", "a.b.c", true],
    ["a.*.c", "a.b.d", false],
  ];
  for (const [pattern, subject, isMatch] of table)
    expect([pattern, subject, matchesSubject(pattern, subject)]).toEqual([
      pattern,
      subject,
      isMatch,
    ]);
  expect(["a.b", "a.*", "a.>"].map(isPattern)).toEqual([false, true, true]);
});
