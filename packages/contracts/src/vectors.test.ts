// packages/contracts/src/vectors.test.ts
// Goal: CT1, CT3, CT4, CT11. Method: golden vectors; a change in one breaks what is stored or deployed.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  arbiterOf,
  DEFAULT_REGIONS,
  ERROR_CODES,
  encodeFrame,
  type Frame,
  parseFrame,
  partitionOf,
} from "./index.ts";

function vectors<T>(name: string): T {
  const path = new URL(`../vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

interface PartitionVector {
  tenantId: string;
  recipientId: string;
  partition: number;
}
test.each(vectors<PartitionVector[]>("partition"))(
  "CT1 $tenantId/$recipientId is in partition $partition for ever",
  ({ tenantId, recipientId, partition }) => {
    expect(partitionOf(tenantId, recipientId)).toBe(partition);
  },
);

test("CT11 an id's arbiter never changes, and a region more takes a fair share of ids only", () => {
  const golden = vectors<{ tenantId: string; recipientId: string; arbiter: string }[]>("arbiter");
  expect(golden.length).toBeGreaterThan(8);
  for (const { tenantId, recipientId, arbiter } of golden)
    expect(arbiterOf(DEFAULT_REGIONS, tenantId, recipientId)).toBe(arbiter);
  const ids = Array.from({ length: 10_000 }, (_, at) => `employee-${at}`);
  const counts = new Map<string, number>();
  for (const id of ids) {
    const four = arbiterOf(DEFAULT_REGIONS, "acme", id);
    const five = arbiterOf(["mad", ...DEFAULT_REGIONS].toReversed(), "acme", id);
    expect([four, "mad"]).toContain(five);
    counts.set(five, (counts.get(five) ?? 0) + 1);
  }
  expect(counts.size).toBe(5);
  for (const count of counts.values()) expect(Math.abs(count - 2_000)).toBeLessThan(200);
});

interface FrameVectors {
  frames: { name: string; text: string; frame: Frame }[];
  malformed: { name: string; text: string }[];
}
const { frames, malformed } = vectors<FrameVectors>("frames");

test.each(frames)("CT3 the frame '$name' is read and written byte for byte", ({ text, frame }) => {
  expect(parseFrame(text)).toEqual({ kind: "frame", frame });
  expect(encodeFrame(frame)).toBe(text);
});

test.each(malformed)("CT3 '$name' is malformed", ({ text }) => {
  expect(parseFrame(text)).toEqual({ kind: "malformed" });
});

test("CT4 error codes are API: each keeps its name and status", () => {
  const statuses = Object.fromEntries(
    Object.entries(ERROR_CODES).map(([code, { status }]) => [code, status]),
  );
  expect(statuses).toEqual(vectors("error-codes"));
});
