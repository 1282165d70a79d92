// Goal: CT16, CT17 and what policies and preferences may say. Method: examples with the exact fields and
// messages; every order in which regions can hear of changes.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { z } from "zod";
import {
  fieldErrorsOf,
  isNewerPolicy,
  isWithoutPreferences,
  LIMITS,
  notificationRequestSchema,
  type PolicyRecord,
  policyRequestSchema,
  preferencesRequestSchema,
  storedPolicyOf,
} from "./index.ts";

const night = { from: "22:00", until: "07:00" };
const days = { mon: [night], sat: [{ from: "00:00", until: "00:00" }] };

/** "field message" of every field error; throws when the schema takes the input. */
function problems(schema: z.ZodType, input: unknown): string[] {
  const parsed = schema.safeParse(input);
  if (parsed.success) throw new Error("was accepted");
  return fieldErrorsOf(parsed.error, input).map(({ field, message }) => `${field} ${message}`);
}

test("a policy gets its defaults", () => {
  expect(policyRequestSchema.parse({})).toEqual({
    countryAttribute: "country",
    mandatoryCategories: [],
  });
  expect(policyRequestSchema.parse({ frequencyCap: { maxCount: 3, perSeconds: 86_400 } })).toEqual({
    countryAttribute: "country",
    mandatoryCategories: [],
    frequencyCap: { maxCount: 3, perSeconds: 86_400, priorities: ["low", "normal", "high"] },
  });
  expect(policyRequestSchema.parse({ quietHours: { forAll: { days } } }).quietHours).toEqual({
    forAll: { days },
    mayBeReplaced: true,
  });
});

test("preferences say nothing by default", () => {
  expect(isWithoutPreferences(preferencesRequestSchema.parse({}))).toBe(true);
  const noHours = preferencesRequestSchema.parse({ quietHours: { days: {} } });
  expect(isWithoutPreferences(noHours)).toBe(false); // instead of the tenant's
});

const REFUSED: readonly [string, z.ZodType, unknown, string[]][] = [
  [
    "times that no clock shows",
    preferencesRequestSchema,
    { quietHours: { timeZone: "Mars/Olympus", days: { mon: [{ from: "24:00", until: "7:00" }] } } },
    [
      "quietHours.timeZone must be an IANA time zone such as Europe/Berlin",
      "quietHours.days.mon[0].from must be a time of day such as 22:00",
      "quietHours.days.mon[0].until must be a time of day such as 22:00",
    ],
  ],
  [
    "a fifth window of a day",
    preferencesRequestSchema,
    { quietHours: { days: { tue: [night, night, night, night, night] } } },
    ["quietHours.days.tue must hold at most 4 items"],
  ],
  [
    "a channel and a day that are none",
    preferencesRequestSchema,
    { categories: { news: { sms: false } }, quietHours: { days: { monday: [] } } },
    ["categories.news.sms is not a known field", "quietHours.days.monday is not a known field"],
  ],
  [
    "a category with a space",
    preferencesRequestSchema,
    { categories: { "Big News": {} } },
    ['categories["Big News"] is not a valid name: it must be lower-case letters, digits, _ . -'],
  ],
  [
    "a day that does not exist",
    policyRequestSchema,
    { holidays: { DE: [{ date: "2027-02-29", name: "leap" }] } },
    ["holidays.DE[0].date must be a date that exists, such as 2027-01-01"],
  ],
  [
    "a zone that there is not",
    policyRequestSchema,
    { timeZone: "Mars/Olympus" },
    ["timeZone must be an IANA time zone such as Europe/Berlin"],
  ],
  [
    "an offset, which has no summer",
    policyRequestSchema,
    { timeZone: "+02:00" },
    ["timeZone must be an IANA time zone such as Europe/Berlin"],
  ],
  [
    "a country by its name",
    policyRequestSchema,
    { holidays: { Germany: [] } },
    [
      "holidays.Germany is not a valid name: it must be a country such as DE, or a part of one: DE-BY",
    ],
  ],
  [
    "a cap of critical ones, and of none at all",
    policyRequestSchema,
    { frequencyCap: { maxCount: 0, perSeconds: 1, priorities: ["critical"] } },
    [
      "frequencyCap.maxCount must be at least 1",
      "frequencyCap.perSeconds must be at least 60",
      "frequencyCap.priorities[0] must be one of low, normal, high",
    ],
  ],
  [
    "more than owners keep",
    policyRequestSchema,
    { holidays: Object.fromEntries(["DE", "FR", "GB"].map((country) => [country, year()])) },
    [`body must be at most ${LIMITS.policyMaxBytes} bytes as JSON`],
  ],
  [
    "a notification with a category in capitals",
    notificationRequestSchema,
    { audience: { broadcast: true }, content: { en: { title: "Hi" } }, category: "News" },
    ["category must be lower-case letters, digits, _ . -"],
  ],
];
test.each(REFUSED)("CT6 %s are named", (_, schema, input, expected) => {
  expect(problems(schema, input)).toEqual(expected);
});

function year(): unknown[] {
  return Array.from({ length: LIMITS.holidaysPerCountryMax }, () => ({
    date: "2027-01-01",
    name: "x".repeat(100),
  }));
}

test("CT16 of two records of a policy one is newer, or they are the same; in any order one stays", () => {
  const some: fc.Arbitrary<PolicyRecord> = fc.record({
    policy: fc.constant({}),
    changedAtMs: fc.nat({ max: 2 }),
    changedIn: fc.constantFrom("dub", "fra", "lon"),
  });
  fc.assert(
    fc.property(fc.array(some, { minLength: 1, maxLength: 5 }), (records) => {
      const last = (all: readonly PolicyRecord[]) =>
        all.reduce((kept, one) => (isNewerPolicy(one, kept) ? one : kept));
      expect(last(records.toReversed())).toEqual(last(records));
    }),
  );
});

test("CT17 of a policy that this build has accepted every part is read again", () => {
  const policy = policyRequestSchema.parse({
    countryAttribute: "land",
    timeZone: "Asia/Tokyo",
    quietHours: { forAll: { days } },
    holidays: { DE: [{ date: "2027-01-01", name: "New Year" }] },
    frequencyCap: { maxCount: 3, perSeconds: 3_600 },
    mandatoryCategories: ["safety"],
  });
  expect(Object.keys(policy).toSorted()).toEqual(Object.keys(policyRequestSchema.shape).toSorted());
  expect(storedPolicyOf(policy)).toEqual(policy);
});

test("CT17 of a policy that a newer build has written the parts that can be read hold", () => {
  const stored = {
    countryAttribute: "land",
    quietHours: { forAll: { days, rotation: "weekly" } },
    frequencyCap: { maxCount: 3, perSeconds: 3_600, priorities: ["high"] },
    fourEyes: { above: 10_000 },
  };
  expect(storedPolicyOf(stored)).toEqual({
    countryAttribute: "land",
    frequencyCap: stored.frequencyCap,
    mandatoryCategories: [],
  });
});
