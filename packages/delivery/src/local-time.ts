// packages/delivery/src/local-time.ts
// Wall time in a recipient's zone: which instant is meant, where clocks are put forward or back.
//   LT1  A wall time that comes once is that instant; one that comes twice is its first one.
//   LT2  A wall time that is left out is the first instant after the gap: late, never early, by at most
//        the gap.
//   LT3  Later wall times are never earlier instants.
//   LT4  The last instant of a wall time that comes twice is its second one; of others it is the one of
//        LT1 and LT2.
// A wall time is written `wallMs`: the epoch milliseconds at which UTC reads the same, so that
// `Date.parse("2027-03-28T02:30:00Z")` is half past two wherever somebody is.
// Zones and their rules are those of Node's ICU (IANA); Node brings newer ones with each release.

const PROBE_MS = 86_400_000; // offsets lie between −12 and +14 h: whatever is meant lies within a day
const ZONES_MAX = 1_024; // IANA has 600, old names included

export class LocalTimes {
  /** Undefined: no such zone. */
  readonly #formats = new Map<string, Intl.DateTimeFormat | undefined>();

  /** Zone minus UTC at an instant; undefined: no such zone. Whole seconds. */
  offsetMsAt(instantMs: number, timeZone: string): number | undefined {
    const format = this.#formatOf(timeZone);
    return format === undefined ? undefined : offsetMsOf(format, instantMs);
  }

  /** The instant of a wall time there (LT1, LT2); undefined: no such zone. Cost: some 4 formats. */
  instantOf(wallMs: number, timeZone: string): number | undefined {
    const format = this.#formatOf(timeZone);
    if (format === undefined) return undefined;
    const beforeMs = offsetMsOf(format, wallMs - PROBE_MS);
    const afterMs = offsetMsOf(format, wallMs + PROBE_MS);
    const first = wallMs - Math.max(beforeMs, afterMs);
    const last = wallMs - Math.min(beforeMs, afterMs);
    const fits = (instantMs: number): boolean =>
      instantMs + offsetMsOf(format, instantMs) === wallMs;
    if (fits(first)) return first;
    if (fits(last)) return last;
    return changeAfter(format, first, last);
  }

  /** As `instantOf`, but of a wall time that comes twice the second one (LT4). */
  lastInstantOf(wallMs: number, timeZone: string): number | undefined {
    const format = this.#formatOf(timeZone);
    if (format === undefined) return undefined;
    const beforeMs = offsetMsOf(format, wallMs - PROBE_MS);
    const afterMs = offsetMsOf(format, wallMs + PROBE_MS);
    const last = wallMs - Math.min(beforeMs, afterMs);
    if (last + offsetMsOf(format, last) === wallMs) return last;
    return this.instantOf(wallMs, timeZone);
  }

  #formatOf(timeZone: string): Intl.DateTimeFormat | undefined {
    if (this.#formats.has(timeZone)) return this.#formats.get(timeZone);
    const format = createFormat(timeZone);
    if (this.#formats.size >= ZONES_MAX) this.#formats.clear(); // names that nobody has, sent in
    this.#formats.set(timeZone, format);
    return format;
  }
}

/** The first instant in (fromMs, toMs] whose offset is no longer that of `fromMs`. */
function changeAfter(format: Intl.DateTimeFormat, fromMs: number, toMs: number): number {
  const offsetMs = offsetMsOf(format, fromMs);
  let [before, after] = [fromMs, toMs];
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (offsetMsOf(format, middle) === offsetMs) before = middle;
    else after = middle;
  }
  return after;
}

function createFormat(timeZone: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  } catch (cause) {
    if (cause instanceof RangeError) return undefined;
    throw cause;
  }
}

function offsetMsOf(format: Intl.DateTimeFormat, instantMs: number): number {
  const fields: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
  for (const { type, value } of format.formatToParts(instantMs)) fields[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = fields;
  const wholeMs = Math.floor(instantMs / 1_000) * 1_000;
  return Date.UTC(year, month - 1, day, hour, minute, second) - wholeMs;
}
