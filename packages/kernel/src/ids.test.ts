// Goal: ids have the form of RFC 9562 §5.7 and sort by time.
import { expect, test } from "vitest";
import { createUuidV7 } from "./ids.ts";
import { createSeededRandom } from "./random.ts";
import { SteppedClock } from "./stepped-clock.ts";

test("version 7, variant 10, the milliseconds in front, in order of time", () => {
  const clock = new SteppedClock();
  const random = createSeededRandom(7);
  clock.advance(0x0191_2345_6789);
  const first = createUuidV7(clock, random);
  expect(first).toMatch(/^01912345-6789-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  clock.advance(1);
  expect(createUuidV7(clock, random) > first).toBe(true);
});
