// packages/contracts/src/vectors.test.ts
// Goal: CT1, CT3, CT4. Method: golden vectors; a change in one breaks what is stored or deployed.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERROR_CODES, encodeFrame, type Frame, parseFrame, partitionOf } from "./index.ts";

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
