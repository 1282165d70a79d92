// packages/contracts/src/time-text.ts
// Text that says a time, ISO 8601: how attributes and filters write dates, since JSON has none.

/**
 * `date` 2026-03-01 · `local` 2026-03-01T09:30, a wall clock that no zone goes with · `instant`
 * 2026-03-01T09:30:00Z or with an offset. One form has no place among the others.
 */
export interface TimeText {
  readonly form: "date" | "local" | "instant";
  /** Orders times of one form. Of an instant: since the epoch. */
  readonly atMs: number;
}

const TIME = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/;
const SHORTEST = "2026-03-01".length;
const DASH = 45;

/** `none`: text that says no time. `impossible`: written as one, such as the 30th of February. */
export function readTimeText(text: string): TimeText | "none" | "impossible" {
  // Most text is none: two looks instead of an expression.
  if (text.length < SHORTEST || text.charCodeAt(4) !== DASH || text.charCodeAt(7) !== DASH)
    return "none";
  const parts = TIME.exec(text);
  if (parts === null) return "none";
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone] = parts;
  const [y, m, d] = [Number(year), Number(month), Number(day)];
  const isReal =
    m >= 1 &&
    m <= 12 &&
    d >= 1 &&
    d <= daysIn(y, m) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) < 60;
  const offsetMinutes = offsetOf(zone);
  if (!isReal || offsetMinutes === undefined) return "impossible";
  const clockMs =
    ((Number(hour) * 60 + Number(minute) - offsetMinutes) * 60 + Number(second)) * 1_000 +
    Number(`0${fraction}`) * 1_000;
  const form = parts[4] === undefined ? "date" : zone === undefined ? "local" : "instant";
  return { form, atMs: startOfDayMs(y, m, d) + clockMs };
}

/** Undefined: no zone is that far. */
function offsetOf(zone: string | undefined): number | undefined {
  if (zone === undefined || zone === "Z") return 0;
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(4))];
  if (hours > 14 || minutes > 59) return undefined;
  return (zone.startsWith("-") ? -1 : 1) * (hours * 60 + minutes);
}

function daysIn(year: number, month: number): number {
  if (month !== 2) return [4, 6, 9, 11].includes(month) ? 30 : 31;
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
}

/** Four hundred years later the calendar is the same; `Date.UTC` reads years below 100 otherwise. */
const CALENDAR_MS = 146_097 * 86_400_000;
function startOfDayMs(year: number, month: number, day: number): number {
  return Date.UTC(year + 400, month - 1, day) - CALENDAR_MS;
}
