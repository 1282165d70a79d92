// packages/delivery/src/quiet-times.ts
// Whether a recipient is left alone now, and until when: own and the tenant's quiet hours, holidays (A11).
//   QH1  While the clock there shows a time of a window, or the date of a holiday, it is quiet; of an hour
//        that comes twice both times. A window lasts from the first instant of its beginning to the last
//        one of its end.
//   QH2  Else it is not quiet.
//   QH3  The end is the first instant at which nothing is quiet, however windows and holidays touch and
//        overlap; looked for `deferralMaxSeconds` ahead.
//   QH4  What is kept from one question to the next changes no answer.
// Cost: people with equal hours, country and zone are computed once a minute; then three look-ups.
import {
  LIMITS,
  defaultZoneOf,
  type Policy,
  type QuietDays,
  type QuietHours,
  WEEKDAYS,
} from "@carillon/contracts";
import type { LocalTimes } from "./local-time.ts";
import { ZoneClock } from "./zone-clock.ts";

export interface QuietPerson {
  /** Equal ones should be one object: what is computed for it is kept by it. */
  readonly own: QuietHours | undefined;
  readonly country: string | undefined;
  readonly timeZone: string | null;
}

export type QuietReason = "ownQuietHours" | "tenantQuietHours" | "holiday";

export interface QuietEnd {
  readonly untilMs: number;
  readonly reason: QuietReason; // of what is quiet now
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const AHEAD_MS = LIMITS.deferralMaxSeconds * 1_000;
/** Kinds of people whose plans are kept: 300 countries in their zones, and some with hours of their own. */
const PLANS_MAX = 4_096;
const CLOCKS_MAX = 1_024; // IANA has 600, old names included

/** From the start of its day; `untilMs` may lie on the next one. */
interface Window {
  readonly fromMs: number;
  readonly untilMs: number;
}
interface Source {
  readonly reason: QuietReason;
  readonly clock: ZoneClock;
  /** Days since 1970, by the clock there. */
  windowsOn(day: number): readonly Window[];
}
/** What one kind of people has, and the answer for one minute. */
interface Plan {
  readonly sources: readonly Source[];
  minute: number;
  end: QuietEnd | undefined;
}

type ByZone = Map<string | null, Plan>;
type ByCountry = Map<string | undefined, ByZone>;

export class QuietTimes {
  readonly #policy: Policy;
  readonly #times: LocalTimes;
  readonly #clocks = new Map<string, ZoneClock>();
  readonly #holidays = new Map<string, ReadonlySet<number>>();
  readonly #plans = new Map<QuietHours | undefined, ByCountry>();
  #planCount = 0;

  constructor(policy: Policy, times: LocalTimes) {
    this.#policy = policy;
    this.#times = times;
  }

  /** Undefined: it is not quiet at `nowMs`. */
  endOf(person: QuietPerson, nowMs: number): QuietEnd | undefined {
    const plan = this.#planOf(person);
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (plan.minute !== minute) {
      plan.end = endOf(plan.sources, minute * MINUTE_MS);
      plan.minute = minute;
    }
    return plan.end;
  }

  #planOf(person: QuietPerson): Plan {
    const { own, country, timeZone } = person;
    const kept = this.#plans.get(own)?.get(country)?.get(timeZone);
    if (kept !== undefined) return kept;
    if (this.#planCount >= PLANS_MAX) {
      this.#plans.clear();
      this.#planCount = 0;
    }
    const byCountry: ByCountry = this.#plans.get(own) ?? new Map();
    const byZone: ByZone = byCountry.get(country) ?? new Map();
    const plan = { sources: this.#sourcesOf(person), minute: Number.NaN, end: undefined };
    this.#plans.set(own, byCountry.set(country, byZone.set(timeZone, plan)));
    this.#planCount++;
    return plan;
  }

  #sourcesOf({ own, country, timeZone }: QuietPerson): Source[] {
    const { quietHours, holidays = {} } = this.#policy;
    const places = placesOf(country); // the part of a country first
    const { byCountry = {}, forAll } = quietHours ?? {};
    const ofCountry = places.map((place) => byCountry[place]).find((hours) => hours !== undefined);
    const tenants = ofCountry ?? forAll;
    const ofHours = tenants?.fallbackTimeZone ?? forAll?.fallbackTimeZone;
    const clock = this.#clockOf(timeZone ?? ofHours ?? defaultZoneOf(this.#policy));
    const sources: Source[] = [];
    for (const place of places)
      if (holidays[place] !== undefined) sources.push(holidaySource(clock, this.#datesOf(place)));
    if (tenants !== undefined && (own === undefined || quietHours?.mayBeReplaced === false))
      sources.push(hoursSource("tenantQuietHours", clock, tenants.days));
    if (own !== undefined) {
      const ownClock = own.timeZone === undefined ? clock : this.#clockOf(own.timeZone);
      sources.push(hoursSource("ownQuietHours", ownClock, own.days));
    }
    return sources;
  }

  #clockOf(zone: string): ZoneClock {
    const known = this.#clocks.get(zone);
    if (known !== undefined) return known;
    if (this.#clocks.size >= CLOCKS_MAX) this.#clocks.clear();
    const clock = new ZoneClock(this.#times, zone);
    this.#clocks.set(zone, clock);
    return clock;
  }

  #datesOf(place: string): ReadonlySet<number> {
    const dates =
      this.#holidays.get(place) ??
      new Set(this.#policy.holidays?.[place]?.map(({ date }) => Date.parse(date) / DAY_MS));
    this.#holidays.set(place, dates);
    return dates;
  }
}

/** DE-BY: there, and in all of DE. */
function placesOf(country: string | undefined): readonly string[] {
  if (country === undefined) return [];
  const whole = country.slice(0, 2);
  return whole === country ? [whole] : [country, whole];
}

function endOf(sources: readonly Source[], nowMs: number): QuietEnd | undefined {
  const aheadMs = nowMs + AHEAD_MS;
  let untilMs = nowMs;
  let reason: QuietReason | undefined;
  for (let isQuiet = sources.length > 0; isQuiet && untilMs < aheadMs;) {
    isQuiet = false;
    for (const source of sources) {
      const endsAtMs = windowEndAt(source, untilMs);
      if (endsAtMs === undefined) continue;
      reason ??= source.reason;
      untilMs = endsAtMs;
      isQuiet = true;
    }
  }
  return reason === undefined ? undefined : { untilMs: Math.min(untilMs, aheadMs), reason };
}

/** The latest end of the windows that are open at `atMs`; undefined: none is. */
function windowEndAt(source: Source, atMs: number): number | undefined {
  const { clock } = source;
  const today = Math.floor(clock.wallAt(atMs) / DAY_MS);
  let endsAtMs: number | undefined;
  // Tomorrow's too: where the clock is put back over midnight, tomorrow has begun and today comes again.
  for (let day = today - 1; day <= today + 1; day++)
    for (const { fromMs, untilMs } of source.windowsOn(day)) {
      if (clock.instantsOf(day * DAY_MS + fromMs, atMs).first > atMs) continue;
      const { last } = clock.instantsOf(day * DAY_MS + untilMs, atMs);
      if (last > atMs && (endsAtMs === undefined || last > endsAtMs)) endsAtMs = last;
    }
  return endsAtMs;
}

const NO_WINDOWS: readonly Window[] = [];
const WHOLE_DAY: readonly Window[] = [{ fromMs: 0, untilMs: DAY_MS }];
const THURSDAY = 4; // the first of January 1970

function holidaySource(clock: ZoneClock, dates: ReadonlySet<number>): Source {
  return {
    reason: "holiday",
    clock,
    windowsOn: (day) => (dates.has(day) ? WHOLE_DAY : NO_WINDOWS),
  };
}

function hoursSource(reason: QuietReason, clock: ZoneClock, days: QuietDays): Source {
  const week = WEEKDAYS.map((weekday) =>
    (days[weekday] ?? []).map(({ from, until }): Window => {
      const [fromMs, untilMs] = [timeOfDayMs(from), timeOfDayMs(until)];
      return { fromMs, untilMs: untilMs > fromMs ? untilMs : untilMs + DAY_MS };
    }),
  );
  return { reason, clock, windowsOn: (day) => week[(day + THURSDAY) % 7] ?? NO_WINDOWS };
}

function timeOfDayMs(text: string): number {
  return (Number(text.slice(0, 2)) * 60 + Number(text.slice(3))) * MINUTE_MS;
}
