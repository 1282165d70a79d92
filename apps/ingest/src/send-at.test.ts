// apps/ingest/src/send-at.test.ts
// Goal: IN74. Method: a table of requests at one instant, and their repeats later.
import { expect, test } from "vitest";
import { sendAtProblemOf, sendTimesOf } from "./send-at.ts";

const NOW_MS = Date.parse("2027-01-10T12:00:00Z");
const HOUR_MS = 3_600_000;
const at = (text: string) => Date.parse(text);

test("IN74 — at once, or at an instant, and the life from there", () => {
  expect(sendTimesOf({ ttlSeconds: 60 }, NOW_MS)).toEqual({
    sendAtMs: undefined,
    sendAtLocalMs: undefined,
    expiresAtMs: NOW_MS + 60_000,
  });
  const later = { sendAt: "2027-01-11T09:00:00+01:00", ttlSeconds: 60 };
  expect(sendTimesOf(later, NOW_MS)).toEqual({
    sendAtMs: at("2027-01-11T08:00:00Z"),
    sendAtLocalMs: undefined,
    expiresAtMs: at("2027-01-11T08:01:00Z"),
  });
});

test("IN74 — at a wall time: from the first zone on, and the life from the last", () => {
  const local = { sendAt: "2027-01-12T09:00", recipientTime: true, ttlSeconds: 60 };
  expect(sendTimesOf(local, NOW_MS)).toEqual({
    sendAtMs: at("2027-01-11T19:00:00Z"),
    sendAtLocalMs: at("2027-01-12T09:00:00Z"),
    expiresAtMs: at("2027-01-12T21:01:00Z"),
  });
  const inKiribati = at("2027-01-11T20:00:00Z");
  expect(sendTimesOf(local, inKiribati)).toMatchObject({
    sendAtMs: undefined,
    sendAtLocalMs: at("2027-01-12T09:00:00Z"),
  });
  const everywhere = at("2027-01-12T22:00:00Z");
  expect(sendTimesOf(local, everywhere)).toEqual({
    sendAtMs: undefined,
    sendAtLocalMs: undefined,
    expiresAtMs: everywhere + 60_000,
  });
});

test("IN74 — more than 31 days ahead is refused, for a wall time where it comes first", () => {
  const ttlSeconds = 60;
  const sendAt = new Date(NOW_MS + 31 * 24 * HOUR_MS).toISOString();
  expect(sendAtProblemOf({ sendAt, ttlSeconds }, NOW_MS)).toBeUndefined();
  expect(sendAtProblemOf({ sendAt, ttlSeconds }, NOW_MS - 1)?.code).toBe("invalid_field");
  const local = { sendAt: sendAt.slice(0, 19), recipientTime: true, ttlSeconds };
  expect(sendAtProblemOf(local, NOW_MS - 14 * HOUR_MS)).toBeUndefined();
  expect(sendAtProblemOf(local, NOW_MS - 14 * HOUR_MS - 1)?.code).toBe("invalid_field");
});
