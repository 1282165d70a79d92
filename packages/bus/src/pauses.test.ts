// Goal: BU4 of pauses.ts. Method: a promise that counts its listeners.
import { FakeClock } from "@carillon/testkit";
import { expect, test, vi } from "vitest";
import { Pauses } from "./pauses.ts";

test("BU4 — a thousand waits leave one listener on the end; a wait ends with it", async () => {
  const clock = new FakeClock();
  const closing = Promise.withResolvers<void>();
  const listened = vi.spyOn(closing.promise, "then");
  const pauses = new Pauses(clock, closing.promise);
  for (let n = 0; n < 1_000; n++) {
    const paused = pauses.pause(10);
    await clock.advance(10);
    await paused;
  }
  expect(listened).toHaveBeenCalledTimes(1);
  const last = pauses.pause(60_000);
  closing.resolve();
  await last;
  await pauses.pause(60_000);
  expect(clock.monotonicMs()).toBe(new FakeClock().monotonicMs() + 10_000);
});
