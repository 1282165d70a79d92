// Goal: LT1, LT2, LT4. Method: a table over real zones; what is expected is from the IANA database's notes.
import { expect, test } from "vitest";
import { LocalTimes } from "./local-time.ts";

const times = new LocalTimes();
const instantOf = (wall: string, zone: string): string | undefined => {
  const instantMs = times.instantOf(Date.parse(`${wall}Z`), zone);
  return instantMs === undefined ? undefined : new Date(instantMs).toISOString();
};

test.each([
  // once
  ["2027-01-15T09:00:00", "Europe/Berlin", "2027-01-15T08:00:00.000Z"],
  ["2027-07-15T09:00:00", "Europe/Berlin", "2027-07-15T07:00:00.000Z"],
  ["2027-07-15T09:00:00", "Europe/London", "2027-07-15T08:00:00.000Z"],
  ["2027-01-15T09:00:00", "Europe/Dublin", "2027-01-15T09:00:00.000Z"], // its winter is the exception
  ["2027-07-15T09:00:00", "Europe/Dublin", "2027-07-15T08:00:00.000Z"],
  ["2027-07-15T09:00:00", "Asia/Kolkata", "2027-07-15T03:30:00.000Z"],
  ["2027-07-15T09:00:00", "Asia/Kathmandu", "2027-07-15T03:15:00.000Z"],
  ["2027-07-15T00:00:00", "Pacific/Kiritimati", "2027-07-14T10:00:00.000Z"], // +14
  ["2027-07-15T23:00:00", "Pacific/Pago_Pago", "2027-07-16T10:00:00.000Z"], // −11
  ["2027-07-15T09:00:00.250", "UTC", "2027-07-15T09:00:00.250Z"],
  // just around a gap and a fold
  ["2027-03-28T01:59:59.999", "Europe/Berlin", "2027-03-28T00:59:59.999Z"],
  ["2027-03-28T03:00:00", "Europe/Berlin", "2027-03-28T01:00:00.000Z"],
  ["2027-10-31T01:59:59.999", "Europe/Berlin", "2027-10-30T23:59:59.999Z"],
  ["2027-10-31T03:00:00", "Europe/Berlin", "2027-10-31T02:00:00.000Z"],
])("LT1 — %s in %s is %s", (wall, zone, expected) => {
  expect(instantOf(wall, zone)).toBe(expected);
});

test.each([
  ["2027-10-31T02:30:00", "Europe/Berlin", "2027-10-31T00:30:00.000Z"],
  ["2027-10-31T01:30:00", "Europe/London", "2027-10-31T00:30:00.000Z"],
  ["2027-11-07T01:30:00", "America/New_York", "2027-11-07T05:30:00.000Z"],
  ["2027-04-04T01:45:00", "Australia/Lord_Howe", "2027-04-03T14:45:00.000Z"], // half an hour
])("LT1 — %s comes twice in %s: the first one, %s", (wall, zone, expected) => {
  expect(instantOf(wall, zone)).toBe(expected);
});

test.each([
  ["2027-03-28T02:00:00", "Europe/Berlin", "2027-03-28T01:00:00.000Z"],
  ["2027-03-28T02:30:00", "Europe/Berlin", "2027-03-28T01:00:00.000Z"],
  ["2027-03-28T02:59:59.999", "Europe/Berlin", "2027-03-28T01:00:00.000Z"],
  ["2027-03-28T01:30:00", "Europe/London", "2027-03-28T01:00:00.000Z"],
  ["2027-03-14T02:30:00", "America/New_York", "2027-03-14T07:00:00.000Z"],
  ["2027-10-03T02:15:00", "Australia/Lord_Howe", "2027-10-02T15:30:00.000Z"], // half an hour
  ["2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00.000Z"], // a whole day left out
])("LT2 — %s is left out in %s: the first instant after the gap, %s", (wall, zone, expected) => {
  expect(instantOf(wall, zone)).toBe(expected);
});

test.each([
  ["2027-10-31T02:30:00", "Europe/Berlin", "2027-10-31T01:30:00.000Z"], // twice
  ["2027-04-04T01:45:00", "Australia/Lord_Howe", "2027-04-03T15:15:00.000Z"],
  ["2027-10-31T03:00:00", "Europe/Berlin", "2027-10-31T02:00:00.000Z"], // once, just after it
  ["2027-10-31T01:59:59.999", "Europe/Berlin", "2027-10-30T23:59:59.999Z"],
  ["2027-07-15T09:00:00", "Europe/Berlin", "2027-07-15T07:00:00.000Z"],
  ["2027-03-28T02:30:00", "Europe/Berlin", "2027-03-28T01:00:00.000Z"], // left out
])("LT4 — %s in %s is %s for the last time", (wall, zone, expected) => {
  const instantMs = times.lastInstantOf(Date.parse(`${wall}Z`), zone)!;
  expect(new Date(instantMs).toISOString()).toBe(expected);
});

test("LT1 — an unknown zone is told, as often as it is asked for", () => {
  expect(instantOf("2027-07-15T09:00:00", "Mars/Olympus")).toBeUndefined();
  expect(times.offsetMsAt(0, "Mars/Olympus")).toBeUndefined();
  expect(times.offsetMsAt(0, "")).toBeUndefined();
  expect(times.lastInstantOf(0, "Mars/Olympus")).toBeUndefined();
});
