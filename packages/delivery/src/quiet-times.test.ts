// Goal: QH1–QH3 by example. Method: tables over real zones, gaps and folds among them; instants are worked
// out by hand from the zones' offsets.
import { type Policy, policyRequestSchema } from "@carillon/contracts";
import { expect, test } from "vitest";
import { LocalTimes } from "./local-time.ts";
import { type QuietPerson, QuietTimes } from "./quiet-times.ts";

const night = [{ from: "22:00", until: "07:00" }];
const every = (windows: typeof night) => ({
  mon: windows,
  tue: windows,
  wed: windows,
  thu: windows,
  fri: windows,
  sat: windows,
  sun: windows,
});
const allDay = every([{ from: "00:00", until: "00:00" }]);

const policy = policyRequestSchema.parse({
  quietHours: {
    forAll: { days: every(night), fallbackTimeZone: "Europe/Berlin" },
    byCountry: {
      FR: { days: every([{ from: "18:00", until: "09:00" }]), fallbackTimeZone: "Europe/Paris" },
    },
  },
  holidays: {
    DE: [
      { date: "2027-12-25", name: "Erster Weihnachtstag" },
      { date: "2027-12-26", name: "Zweiter Weihnachtstag" },
    ],
    "DE-BY": [{ date: "2027-01-06", name: "Heilige Drei Könige" }],
  },
});
const times = new LocalTimes();
const quiet = new QuietTimes(policy, times);
const nobody: QuietPerson = { own: undefined, country: undefined, timeZone: null };

function endAt(at: string, person: Partial<QuietPerson>, of = quiet): string | undefined {
  const end = of.endOf({ ...nobody, ...person }, Date.parse(at));
  return end === undefined ? undefined : `${new Date(end.untilMs).toISOString()} ${end.reason}`;
}

test.each([
  ["before it begins", "2027-01-12T20:59:59.999Z", undefined],
  ["as it begins", "2027-01-12T21:00:00Z", "2027-01-13T06:00:00.000Z tenantQuietHours"],
  ["past midnight", "2027-01-13T03:00:00Z", "2027-01-13T06:00:00.000Z tenantQuietHours"],
  ["in its last moment", "2027-01-13T05:59:59.999Z", "2027-01-13T06:00:00.000Z tenantQuietHours"],
  ["as it ends", "2027-01-13T06:00:00Z", undefined],
  [
    "an hour shorter in the night of a gap",
    "2027-03-27T21:00:00Z",
    "2027-03-28T05:00:00.000Z tenantQuietHours",
  ],
  [
    "an hour longer in the night of a fold",
    "2027-10-30T20:00:00Z",
    "2027-10-31T06:00:00.000Z tenantQuietHours",
  ],
])("QH1, QH2 — 22:00 to 07:00 in Berlin: %s", (_, at, expected) => {
  expect(endAt(at, { timeZone: "Europe/Berlin" })).toBe(expected);
});

const own = (from: string, until: string) => ({ days: every([{ from, until }]) });
const ownEnd = (at: string, from: string, until: string): string | undefined =>
  endAt(at, { timeZone: "Europe/Berlin", own: own(from, until) });

test.each([
  // 02:00–03:00 is left out on 28 March 2027; 00:59:59Z is 01:59:59 and 01:00Z is 03:00
  ["that begins in a gap", "2027-03-28T01:00:00Z", "02:30", "07:00", "2027-03-28T05:00:00.000Z"],
  ["that ends in a gap", "2027-03-28T00:30:00Z", "22:00", "02:30", "2027-03-28T01:00:00.000Z"],
  ["that ended in a gap", "2027-03-28T01:00:00Z", "22:00", "02:30", undefined],
  ["that lies in a gap", "2027-03-28T01:00:00Z", "02:15", "02:45", undefined],
  // 02:00–03:00 comes twice on 31 October 2027, from 00:00Z and from 01:00Z
  [
    "that ends in a fold, the first time",
    "2027-10-31T00:20:00Z",
    "22:00",
    "02:30",
    "2027-10-31T01:30:00.000Z",
  ],
  [
    "that ends in a fold, between its ends",
    "2027-10-31T00:45:00Z",
    "22:00",
    "02:30",
    "2027-10-31T01:30:00.000Z",
  ],
  [
    "that ends in a fold, the second time",
    "2027-10-31T01:29:59Z",
    "22:00",
    "02:30",
    "2027-10-31T01:30:00.000Z",
  ],
  [
    "that begins in a fold, between its beginnings",
    "2027-10-31T01:10:00Z",
    "02:30",
    "05:00",
    "2027-10-31T04:00:00.000Z",
  ],
  ["that begins in a fold, before", "2027-10-31T00:29:59Z", "02:30", "05:00", undefined],
])("QH1 — a window %s", (_, at, from, until, expected) => {
  expect(ownEnd(at, from, until)).toBe(
    expected === undefined ? undefined : `${expected} ownQuietHours`,
  );
});

test("QH3 — holidays that touch, and the nights before and after, are one quiet time", () => {
  const person = { country: "DE", timeZone: "Europe/Berlin" };
  expect(endAt("2027-12-24T22:00:00Z", person)).toBe("2027-12-27T06:00:00.000Z tenantQuietHours");
  expect(endAt("2027-12-25T12:00:00Z", person)).toBe("2027-12-27T06:00:00.000Z holiday");
  expect(endAt("2027-12-27T06:00:00Z", person)).toBeUndefined();
});

test("QH1 — a holiday is the date that the recipient's clock shows, and a part of a country has its own too", () => {
  const bare = new QuietTimes({ ...policy, quietHours: undefined }, times);
  const inDe = { country: "DE", timeZone: "America/New_York" };
  expect(endAt("2027-12-25T04:59:00Z", inDe, bare)).toBeUndefined();
  expect(endAt("2027-12-25T05:00:00Z", inDe, bare)).toBe("2027-12-27T05:00:00.000Z holiday");
  const epiphany = "2027-01-06T12:00:00Z";
  expect(endAt(epiphany, { country: "DE" }, bare)).toBeUndefined();
  expect(endAt(epiphany, { country: "DE-BY" }, bare)).toBe("2027-01-07T00:00:00.000Z holiday"); // UTC
  expect(endAt("2027-12-26T12:00:00Z", { country: "DE-BY" }, bare)).toBe(
    "2027-12-27T00:00:00.000Z holiday",
  );
});

test("QH1 — the country's hours stand in for those for all, and its zone for one that is missing", () => {
  expect(endAt("2027-01-12T17:00:00Z", { country: "FR" })).toBe(
    "2027-01-13T08:00:00.000Z tenantQuietHours",
  );
  expect(endAt("2027-01-12T17:00:00Z", { country: "DE" })).toBeUndefined();
  expect(endAt("2027-01-12T21:00:00Z", {})).toBe("2027-01-13T06:00:00.000Z tenantQuietHours");
  expect(endAt("2027-01-12T21:00:00Z", { timeZone: "Mars/Olympus" })).toBeUndefined(); // as UTC
});

test("QH1 — who has no zone goes by that of the tenant's hours, else by the tenant's, else by UTC", () => {
  const at = "2027-01-12T23:30:00Z"; // 08:30 in Tokyo, 15:30 in Los Angeles
  const hours = { days: every([{ from: "23:00", until: "09:00" }]) };
  const endIn = (more: Partial<Policy>, person: Partial<QuietPerson> = {}) =>
    endAt(at, person, new QuietTimes({ ...policy, quietHours: undefined, ...more }, times));
  const quietHours = { forAll: hours, mayBeReplaced: true };
  expect(endIn({ quietHours })).toBe("2027-01-13T09:00:00.000Z tenantQuietHours");
  const tokyo = { timeZone: "Asia/Tokyo" };
  expect(endIn({ quietHours, ...tokyo })).toBe("2027-01-13T00:00:00.000Z tenantQuietHours");
  expect(endIn({ quietHours, timeZone: "America/Los_Angeles" })).toBeUndefined();
  expect(endIn({ quietHours, timeZone: "America/Los_Angeles" }, tokyo)).toBe(
    "2027-01-13T00:00:00.000Z tenantQuietHours", // his own
  );
  const ofHours = { forAll: { ...hours, fallbackTimeZone: "Asia/Tokyo" }, mayBeReplaced: true };
  expect(endIn({ quietHours: ofHours, timeZone: "America/Los_Angeles" })).toBe(
    "2027-01-13T00:00:00.000Z tenantQuietHours",
  );
  const his = { own: hours }; // his own hours, in no zone of their own
  expect(endIn(tokyo, his)).toBe("2027-01-13T00:00:00.000Z ownQuietHours");
  const holidays = { DE: [{ date: "2027-01-13", name: "a day" }] };
  expect(endIn({ holidays, ...tokyo }, { country: "DE" })).toBe("2027-01-13T15:00:00.000Z holiday");
  expect(endIn({ holidays }, { country: "DE" })).toBeUndefined(); // it is the 12th in UTC
});

test("QH1 — own hours replace the tenant's, or are added where the policy says so", () => {
  const day = { timeZone: "Europe/Berlin", own: own("08:00", "16:00") };
  expect(endAt("2027-01-12T23:00:00Z", day)).toBeUndefined(); // a night worker
  expect(endAt("2027-01-12T08:00:00Z", day)).toBe("2027-01-12T15:00:00.000Z ownQuietHours");
  expect(endAt("2027-01-12T23:00:00Z", { own: { days: {} } })).toBeUndefined(); // none at all
  const strict = new QuietTimes(
    { ...policy, quietHours: { ...policy.quietHours, mayBeReplaced: false } },
    times,
  );
  expect(endAt("2027-01-12T23:00:00Z", day, strict)).toBe(
    "2027-01-13T06:00:00.000Z tenantQuietHours",
  );
  expect(endAt("2027-01-12T08:00:00Z", day, strict)).toBe("2027-01-12T15:00:00.000Z ownQuietHours");
});

test("QH1 — own hours are in their own zone, if they name one", () => {
  const person = {
    timeZone: "Europe/Berlin",
    own: { timeZone: "Asia/Tokyo", ...own("00:00", "06:00") },
  };
  expect(endAt("2027-01-12T15:00:00Z", person)).toBe("2027-01-12T21:00:00.000Z ownQuietHours");
});

test("QH1 — a window belongs to the day on which it begins", () => {
  const fridays = { own: { days: { fri: [{ from: "20:00", until: "20:00" }] } }, timeZone: "UTC" };
  expect(endAt("2027-01-15T19:59:59Z", fridays)).toBeUndefined();
  expect(endAt("2027-01-16T19:59:59Z", fridays)).toBe("2027-01-16T20:00:00.000Z ownQuietHours");
  expect(endAt("2027-01-16T20:00:00Z", fridays)).toBeUndefined();
});

test("QH3 — what never ends is looked at 14 days ahead", () => {
  expect(endAt("2027-01-12T12:00:00Z", { own: { days: allDay } })).toBe(
    "2027-01-26T12:00:00.000Z ownQuietHours",
  );
});
