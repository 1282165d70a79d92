// packages/channels/src/retry-after.test.ts
// Goal: Retry-After in every form that a receiver may send. Method: a table.
import { expect, test } from "vitest";
import { parseRetryAfterMs } from "./retry-after.ts";

const nowMs = Date.UTC(2026, 11, 1, 5, 0, 0);

test.each([
  ["0", 0],
  ["120", 120_000],
  [" 7 ", 7_000],
  ["99999999999999999999", 3_600_000],
  ["Tue, 01 Dec 2026 05:01:00 GMT", 60_000],
  ["Tuesday, 01-Dec-26 05:01:00 GMT", 60_000],
  ["Tue Dec  1 05:01:00 2026", 60_000],
  ["Tue, 01 Dec 2026 04:00:00 GMT", 0], // in the past: at once
  ["Wed, 01 Dec 2027 05:01:00 GMT", 3_600_000],
  ["-5", undefined],
  ["1.5", undefined],
  ["1e3", undefined],
  ["0x10", undefined],
  ["soon", undefined],
  ["2026-12-01T05:01:00Z", undefined],
  ["Tue, 99 Dec 2026 05:01:00 GMT", undefined],
  ["", undefined],
  [undefined, undefined],
])("%j → %s ms, at most what is asked for", (header, expected) => {
  expect(parseRetryAfterMs(header, { nowMs, maxMs: 3_600_000 })).toBe(expected);
});
