// Goal: W5, the client's back-off: full jitter between 0.5 and 20 s, the server's word first.
import { expect, test } from "vitest";
import { directedDelayMs, reconnectDelayMs } from "./backoff.ts";

test("W5 — never below 0.5 s, the span doubles up to 20 s", () => {
  const attempts = [1, 2, 3, 4, 5, 6, 7, 100];
  expect(attempts.map((attempt) => reconnectDelayMs(attempt, () => 0))).toEqual(
    attempts.map(() => 500),
  );
  expect(attempts.map((attempt) => reconnectDelayMs(attempt, () => 1))).toEqual([
    1_000, 1_500, 2_500, 4_500, 8_500, 16_500, 20_000, 20_000,
  ]);
});

test.each([
  [1012, '{"retryMs":1234,"region":"fra"}', 1_234],
  [1012, '{"retryMs":0}', 0],
  [1012, '{"retryMs":99999999}', 120_000],
  [1012, '{"retryMs":-1}', undefined],
  [1012, '{"retryMs":"5"}', undefined],
  [1012, "", undefined],
  [1012, "null", undefined],
  [1006, '{"retryMs":1234}', undefined],
])("W5 — the server's delay: %d %s", (code, reason, delayMs) => {
  expect(directedDelayMs(code, reason)).toBe(delayMs);
});
