// Goal: TR4: an owner goes by the policy that its region has. Method: a node on a fake clock, a register in
// memory.
import { policyRequestSchema } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import { expect, test } from "vitest";
import type { PolicyStore } from "./tenant-rules-book.ts";
import { start } from "./test-delivery.ts";

const recordOf = (countryAttribute: string, changedAtMs: number) => {
  const policy = policyRequestSchema.parse({ countryAttribute });
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
  const { node, clock, events } = start({ policies, limits: { sweepEveryMs: 2_000 } });
  const attribute = () => node.rulesOf("acme").policy.countryAttribute;
  await clock.advance(0);
  expect(events).toContain("fault Fault: down");
  expect(events).not.toContain("serves 0");
  isDown = false;
  await clock.advance(10_000); // more than the first pause of a load
  expect(events).toContain("serves 0");
  expect(attribute()).toBe("land");
  record = recordOf("site", 2);
  await clock.advance(2_000);
  expect(attribute()).toBe("site");
  isDown = true;
  record = recordOf("pays", 3);
  await clock.advance(2_000);
  expect(attribute()).toBe("site"); // what was read last holds
  isDown = false;
  await clock.advance(2_000);
  expect(attribute()).toBe("pays");
  node.stop();
});
