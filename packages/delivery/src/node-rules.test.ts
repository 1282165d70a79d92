// Goal: TR4: an owner goes by the policy that its region has. Method: a node on a fake clock, a register in
// memory.
import { policyRequestSchema, preferencesRequestSchema } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import type { PolicyStore } from "./tenant-rules-book.ts";
import { start } from "./test-delivery.ts";

const recordOf = (mandatory: string, changedAtMs: number) => {
  const policy = policyRequestSchema.parse({ mandatoryCategories: [mandatory] });
  return { tenantId: "acme", record: { policy, changedAtMs, changedIn: "fra" } };
};

test("TR4 — a partition serves when the policy has been read, and a change holds with the next sweep", async () => {
  let record = recordOf("land", 1);
  let isDown = true;
  const policies: PolicyStore = {
    async findChanged(known) {
      if (isDown) throw new Fault("down", { code: "store_unavailable", isRetryable: true });
      return known.some(([, atMs]) => atMs === record.record.changedAtMs) ? [] : [record];
    },
    readRecent: async () => [],
  };
  const { node, store, clock, events } = start({ policies, limits: { sweepEveryMs: 2_000 } });
  const categories = { land: { socket: false }, site: { socket: false }, pays: { socket: false } };
  store.addRecipient(0, "ada", { preferences: preferencesRequestSchema.parse({ categories }) });
  /** What she may not opt out of, as a plan counts. */
  const mandatory = async () => {
    const held: string[] = [];
    for (const category of Object.keys(categories)) {
      const { optedOut } = await node.count({
        ...{ home: "fra", tenantId: "acme", audience: { kind: "broadcast" }, exclude: [] },
        ...{ category, partitions: [[0, 0]] },
      });
      if (optedOut === 0) held.push(category);
    }
    return held;
  };
  await clock.advance(0);
  expect(events).toContain("fault Fault: down");
  expect(events).not.toContain("serves 0");
  isDown = false;
  await clock.advance(10_000); // more than the first pause of a load
  expect(events).toContain("serves 0");
  expect(await mandatory()).toEqual(["land"]);
  record = recordOf("site", 2);
  await clock.advance(2_000);
  expect(await mandatory()).toEqual(["site"]);
  isDown = true;
  record = recordOf("pays", 3);
  await clock.advance(2_000);
  expect(await mandatory()).toEqual(["site"]); // what was read last holds
  isDown = false;
  await clock.advance(2_000);
  expect(await mandatory()).toEqual(["pays"]);
  node.stop();
});
