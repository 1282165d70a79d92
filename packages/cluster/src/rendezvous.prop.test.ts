// packages/cluster/src/rendezvous.prop.test.ts
// Goal: CL1–CL3, C16. Method: random member sets; golden table for three members.
import fc from "fast-check";
import { expect, test } from "vitest";
import { assignPartitions } from "./rendezvous.ts";

const members = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{4,12}$/), {
  minLength: 1,
  maxLength: 12,
});

test("CL1, CL2 — the order of members changes nothing, and nobody has more than the bound", () => {
  fc.assert(
    fc.property(members, (ids) => {
      const table = assignPartitions(ids, 256);
      expect(assignPartitions(ids.toReversed(), 256)).toEqual(table);
      const loadMax = Math.ceil((256 / ids.length) * 1.15);
      for (const id of ids)
        expect(table.filter((owner) => owner === id).length).toBeLessThanOrEqual(loadMax);
    }),
  );
});

test("CL3 — C16 adding one to ten members moves at most 1.25 × 256/11 partitions, on average", () => {
  const moved = Array.from({ length: 40 }, (_, run) => {
    const ten = Array.from({ length: 10 }, (__, n) => `fra-worker-${run}-${n}`);
    const before = assignPartitions(ten, 256);
    const after = assignPartitions([...ten, `fra-worker-${run}-new`], 256);
    return before.filter((owner, partition) => owner !== after[partition]).length;
  });
  const average = moved.reduce((sum, count) => sum + count, 0) / moved.length;
  expect(average).toBeLessThanOrEqual((1.25 * 256) / 11);
});

test("CL1 — golden vector: the first partitions of three members", () => {
  const table = assignPartitions(["fra-a", "fra-b", "fra-c"], 256);
  expect(
    table
      .slice(0, 12)
      .map((owner) => owner.at(-1))
      .join(""),
  ).toBe("cbabaccacbaa");
  expect(["a", "b", "c"].map((m) => table.filter((o) => o.endsWith(m)).length)).toEqual([
    99, 86, 71,
  ]);
});
