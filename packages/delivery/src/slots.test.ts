// Goal: D6 for what takes the store's connections: so many at a time, so many wait, for so long.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { Slots } from "./slots.ts";

test("D6 — so many at a time; the next ones in turn, and no more than may wait", async () => {
  const slots = new Slots({ firingMax: 2, waitingMax: 2, waitMaxMs: 1_000 }, new FakeClock());
  const got: string[] = [];
  const take = (name: string) => slots.take().then((is) => void got.push(`${name} ${is}`));
  const all = ["a", "b", "c", "d", "e"].map((name) => take(name));
  await Promise.all([all[0], all[1], all[4]]);
  expect(got.toSorted()).toEqual(["a true", "b true", "e false"]);
  slots.give();
  await all[2];
  slots.give();
  await all[3];
  expect(got.slice(3)).toEqual(["c true", "d true"]);
  slots.give();
  slots.give();
  await Promise.all([take("f"), take("g")]);
  expect(got.slice(5)).toEqual(["f true", "g true"]);
});

test("D6 — who waits too long is told so, and takes no place later", async () => {
  const clock = new FakeClock();
  const slots = new Slots({ firingMax: 1, waitingMax: 9, waitMaxMs: 1_000 }, clock);
  expect(await slots.take()).toBe(true);
  const late = slots.take();
  await clock.advance(500);
  const next = slots.take();
  await clock.advance(500);
  expect(await late).toBe(false);
  slots.give();
  expect(await next).toBe(true);
});
