// packages/client/src/backoff.ts
// When to connect again (W5): full jitter over a growing span, unless the server says when.
import { CLOSE_CODES } from "@carillon/contracts";

const FIRST_SPAN_MS = 500;
const DELAY_MIN_MS = 500;
const DELAY_MAX_MS = 20_000;
/** Connected for so long: the next loss starts from the smallest span again. */
export const STABLE_AFTER_MS = 60_000;
const DIRECTED_MAX_MS = 120_000; // a server cannot send a client away for longer

/** Delay before attempt 1, 2, …; between 0.5 and 20 s. */
export function reconnectDelayMs(attempt: number, random: () => number): number {
  const spanMs = Math.min(
    DELAY_MAX_MS - DELAY_MIN_MS,
    FIRST_SPAN_MS * 2 ** Math.min(attempt - 1, 16),
  );
  return DELAY_MIN_MS + random() * spanMs;
}

/** `retryMs` of a drain's reason; undefined when there is none that makes sense. */
export function directedDelayMs(code: number, reason: string): number | undefined {
  if (code !== CLOSE_CODES.drain) return undefined;
  try {
    const value: unknown = JSON.parse(reason);
    if (typeof value !== "object" || value === null || !("retryMs" in value)) return undefined;
    const { retryMs } = value;
    if (typeof retryMs !== "number" || !(retryMs >= 0)) return undefined;
    return Math.min(retryMs, DIRECTED_MAX_MS);
  } catch {
    return undefined; // a proxy's own reason
  }
}
