// packages/kernel/src/ids.ts
// UUID version 7: time-ordered, so that index inserts stay at the right edge. Source: RFC 9562 §5.7.
import type { Clock } from "./clock.ts";
import type { Random } from "./random.ts";

/** Lower-case text form, 36 characters. Order among ids of one millisecond is not defined. */
export function createUuidV7(clock: Clock, random: Random): string {
  const bytes = new Uint8Array(16);
  bytes.set(random.bytes(10), 6);
  const nowMs = clock.wallClockMs();
  for (let index = 0; index < 6; index++) bytes[index] = (nowMs / 2 ** (8 * (5 - index))) & 0xff;
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [8, 12, 16, 20, 32].map((end, at, ends) => hex.slice(ends[at - 1] ?? 0, end)).join("-");
}
