// Goal: QH1–QH4 for any hours, holidays and zone. Method: the oracle looks at the clock on the wall only, by
// LocalTimes' offsets; most instants lie within days of a change of the offset.
import {
  type Policy,
  policyRequestSchema,
  type QuietDays,
  type QuietHours,
  WEEKDAYS,
} from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LocalTimes } from "./local-time.ts";
import { type QuietPerson, QuietTimes } from "./quiet-times.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const times = new LocalTimes();
const offsetMsAt = (instantMs: number, zone: string): number => times.offsetMsAt(instantMs, zone)!;

const ZONES = [
  "Europe/Berlin",
  "Europe/Dublin",
  "America/New_York",
  "America/Havana", // 00:00 comes twice
  "America/Asuncion", // 23:00 comes twice
  "Africa/Cairo", // 00:00 is left out
  "Africa/Casablanca",
  "Australia/Lord_Howe", // half an hour
  "Asia/Kathmandu",
  "UTC",
];

const clockTime = fc
  .integer({ min: 0, max: 1_439 })
  .map((minute) => new Date(minute * MINUTE_MS).toISOString().slice(11, 16));
const windows = fc.array(fc.record({ from: clockTime, until: clockTime }), { maxLength: 2 });
const days: fc.Arbitrary<QuietDays> = fc.record(
  Object.fromEntries(WEEKDAYS.map((weekday) => [weekday, windows])),
  { requiredKeys: [] },
);

const START_MS = Date.UTC(2023, 0, 1);
const WEEKS_COUNT = 200;
/** Near a change of the offset if the week drawn has one, else anywhere in it. */
const zonedInstant = fc
  .tuple(
    fc.constantFrom(...ZONES),
    fc.integer({ min: 0, max: WEEKS_COUNT - 1 }),
    fc.integer({ min: -40 * 60, max: 40 * 60 }),
    fc.integer({ min: 0, max: MINUTE_MS - 1 }),
  )
  .map(([zone, week, aroundMinutes, restMs]) => {
    let [before, after] = [START_MS + week * 7 * DAY_MS, START_MS + (week + 1) * 7 * DAY_MS];
    const offsetMs = offsetMsAt(before, zone);
    while (after - before > MINUTE_MS) {
      const middle = Math.floor((before + after) / 2 / MINUTE_MS) * MINUTE_MS;
      if (offsetMsAt(middle, zone) === offsetMs) before = middle;
      else after = middle;
    }
    return { zone, nowMs: after + aroundMinutes * MINUTE_MS + restMs };
  });

const situation = fc
  .record({
    at: zonedInstant,
    own: fc.option(days, { nil: undefined }),
    tenants: fc.option(days, { nil: undefined }),
    mayBeReplaced: fc.boolean(),
    holidays: fc.array(fc.integer({ min: -2, max: 4 }), { maxLength: 4 }), // days from now
  })
  .map(({ at: { zone, nowMs }, own, tenants, mayBeReplaced, holidays }) => {
    const today = Math.floor((nowMs + offsetMsAt(nowMs, zone)) / DAY_MS);
    const dates = holidays.map((ahead) =>
      new Date((today + ahead) * DAY_MS).toISOString().slice(0, 10),
    );
    const policy = policyRequestSchema.parse({
      quietHours: { ...(tenants && { forAll: { days: tenants } }), mayBeReplaced },
      holidays: { DE: [...new Set(dates)].map((date) => ({ date, name: "holiday" })) },
    });
    const person: QuietPerson = { own: own && { days: own }, country: "DE", timeZone: zone };
    return { zone, nowMs, policy, person };
  });

function applying(policy: Policy, own: QuietHours | undefined): QuietDays[] {
  const { forAll, mayBeReplaced } = policy.quietHours!;
  const isTenants = own === undefined || !mayBeReplaced;
  return [own?.days, isTenants ? forAll?.days : undefined].filter((one) => one !== undefined);
}

/** What the clock on the wall shows lies in a window, or on a holiday. */
function isShownQuiet(policy: Policy, own: QuietHours | undefined, wallMs: number): boolean {
  const day = Math.floor(wallMs / DAY_MS);
  const date = new Date(wallMs).toISOString().slice(0, 10);
  if (policy.holidays!.DE!.some((holiday) => holiday.date === date)) return true;
  const time = new Date(wallMs).toISOString().slice(11, 16);
  const on = (of: QuietDays, dayNumber: number) =>
    of[WEEKDAYS[new Date(dayNumber * DAY_MS).getUTCDay()]!] ?? [];
  return applying(policy, own).some(
    (of) =>
      on(of, day).some(({ from, until }) => time >= from && (until <= from || time < until)) ||
      on(of, day - 1).some(({ from, until }) => until <= from && time < until),
  );
}

test("QH1, QH2 — quiet while the clock shows a quiet time, and otherwise only where it is put forward or back", () => {
  fc.assert(
    fc.property(situation, ({ zone, nowMs, policy, person }) => {
      const end = new QuietTimes(policy, times).endOf(person, nowMs);
      const isShown = isShownQuiet(policy, person.own, nowMs + offsetMsAt(nowMs, zone));
      expect(end?.untilMs ?? nowMs + 1).toBeGreaterThan(nowMs);
      const isSteady =
        offsetMsAt(nowMs - 2 * DAY_MS, zone) === offsetMsAt(nowMs + 2 * DAY_MS, zone);
      expect(isShown || isSteady ? end !== undefined : isShown).toBe(isShown);
    }),
    { numRuns: 2_000 },
  );
});

test("QH3 — it stays quiet up to the end, and not at it, unless that is as far as is looked", () => {
  const part = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(situation, part, ({ nowMs, policy, person }, share) => {
      const quiet = new QuietTimes(policy, times);
      const end = quiet.endOf(person, nowMs);
      if (end === undefined) return;
      const { untilMs } = end;
      const between = nowMs + Math.floor((untilMs - nowMs) * share);
      expect(quiet.endOf(person, between)?.untilMs).toBeGreaterThanOrEqual(untilMs);
      if (untilMs - nowMs > 13 * DAY_MS) return;
      expect(quiet.endOf(person, between)?.untilMs).toBe(untilMs);
      expect(quiet.endOf(person, untilMs)).toBeUndefined();
    }),
    { numRuns: 2_000 },
  );
});

test("QH4 — asked in any order, of anybody, the answer is that of one who is asked for the first time", () => {
  const policy = policyRequestSchema.parse({
    quietHours: { forAll: { days: { mon: [{ from: "18:00", until: "08:00" }] } } },
    holidays: { DE: [{ date: "2026-10-25", name: "the fold" }] },
  });
  const people = fc.record<QuietPerson>({
    own: fc.constantFrom(
      undefined,
      { days: {} },
      { days: { sun: [{ from: "01:00", until: "02:30" }] } },
    ),
    country: fc.constantFrom(undefined, "DE", "DE-BY"),
    timeZone: fc.constantFrom(null, "Europe/Berlin", "America/Havana"),
  });
  const quiet = new QuietTimes(policy, times);
  const atMs = fc.integer({ min: Date.UTC(2026, 9, 23), max: Date.UTC(2026, 9, 28) });
  fc.assert(
    fc.property(people, atMs, (person, nowMs) => {
      expect(quiet.endOf(person, nowMs)).toEqual(
        new QuietTimes(policy, times).endOf(person, nowMs),
      );
    }),
    { numRuns: 1_000 },
  );
});
