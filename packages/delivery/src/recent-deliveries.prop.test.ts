// Goal: FC1, FC2. Method: a list of all deliveries as the model; few people, so that they meet.
import { Bitset } from "@carillon/kernel";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RecentDeliveries } from "./recent-deliveries.ts";

const SECOND_MS = 1_000;
const WINDOW_MS = 60 * SECOND_MS;

const step = fc.record({
  index: fc.constantFrom(0, 1, 63, 64, 200),
  aheadMs: fc.integer({ min: 0, max: 5 * SECOND_MS }),
});
const steps = fc.array(step, { maxLength: 400, size: "max" });

test("FC1 — a count is of the deliveries within the window, to the second", () => {
  fc.assert(
    fc.property(steps, (all) => {
      let forgottenCount = 0;
      const onForgotten = () => void forgottenCount++;
      const recent = new RecentDeliveries({ windowMs: WINDOW_MS, entriesMax: 1_000, onForgotten });
      const model: { index: number; atMs: number }[] = [];
      let nowMs = 1_800_000_000_000;
      for (const { index, aheadMs } of all) {
        nowMs += aheadMs;
        const expected = model.filter(
          (one) =>
            one.index === index &&
            Math.ceil(one.atMs / SECOND_MS) > (nowMs - WINDOW_MS) / SECOND_MS,
        );
        expect(recent.countOf(index, nowMs)).toBe(expected.length);
        recent.add(index, nowMs);
        model.push({ index, atMs: nowMs });
      }
      expect(forgottenCount).toBe(0);
      expect(recent.countOf(0, nowMs + WINDOW_MS + SECOND_MS)).toBe(0);
      expect(recent.size).toBe(0);
    }),
  );
});

test("FC1 — a new owner counts what the ledger says was delivered, also late, in both forms of a row", () => {
  const recent = new RecentDeliveries({ windowMs: WINDOW_MS, entriesMax: 100 });
  const bytes = (...slots: number[]) => Bitset.of(slots).toBytes();
  recent.adopt([
    { acceptedAtMs: 1_000, members: null, deliveredSocket: bytes(0, 9), receivedLate: bytes(9, 3) },
    { acceptedAtMs: 2_000, members: [9, 4], deliveredSocket: bytes(1), receivedLate: bytes(0) },
    { acceptedAtMs: 3_000, members: [0, 5], deliveredSocket: bytes(), receivedLate: bytes() },
  ]);
  const counts = [0, 3, 4, 5, 9].map((index) => recent.countOf(index, 3_000));
  expect(counts).toEqual([1, 1, 1, 0, 2]);
  expect(recent.countOf(9, 61_000)).toBe(1);
});

test("FC2 — at the limit the oldest are forgotten, and nothing is counted that was not delivered", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 100 }), (all, entriesMax) => {
      let forgottenCount = 0;
      const onForgotten = () => void forgottenCount++;
      const windowMs = 3_600 * SECOND_MS;
      const recent = new RecentDeliveries({ windowMs, entriesMax, onForgotten });
      for (const [place, { index }] of all.entries()) recent.add(index, place);
      const kept = all.slice(-entriesMax);
      expect(recent.size).toBe(kept.length);
      expect(forgottenCount).toBe(all.length - kept.length);
      for (const index of [0, 1, 63, 64, 200, 5_000])
        expect(recent.countOf(index, 0)).toBe(kept.filter((one) => one.index === index).length);
    }),
  );
});

test("FC1 — an entry from a clock that was ahead leaves with its turn, and keeps those behind it no longer than itself", () => {
  const recent = new RecentDeliveries({ windowMs: WINDOW_MS, entriesMax: 10 });
  recent.add(1, 30 * SECOND_MS);
  recent.add(2, 0);
  expect(recent.countOf(2, 89 * SECOND_MS)).toBe(1);
  expect(recent.countOf(2, 90 * SECOND_MS)).toBe(0);
});
