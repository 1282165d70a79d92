// packages/channels/src/retry-after.ts
// Retry-After in both of its forms (RFC 9110 §10.2.3), for every channel.

/** IMF-fixdate, or the two forms of before that recipients must read as well (§5.6.7). */
const FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;
const RFC850 = /^[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/** Milliseconds from now, from 0 to `maxMs`; undefined: no header, or none that can be read. */
export function parseRetryAfterMs(
  header: string | undefined,
  { nowMs, maxMs }: { readonly nowMs: number; readonly maxMs: number },
): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1_000, maxMs);
  const isDate = FIXDATE.test(text) || RFC850.test(text) || ASCTIME.test(text);
  const atMs = isDate ? Date.parse(ASCTIME.test(text) ? `${text} GMT` : text) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.min(Math.max(0, atMs - nowMs), maxMs);
}
