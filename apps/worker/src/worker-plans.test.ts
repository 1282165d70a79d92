// Goal: WK1 and D6 of plans: what may not be counted is answered as if nothing were served here. Method: a
// network in memory, and counts that end when the test says so.
import { createMemoryNetwork } from "@carillon/bus";
import { decodeMessage, encodeMessage, ownerPlanReplySchema, subjects } from "@carillon/contracts";
import type { DeliveryNode } from "@carillon/delivery";
import type { OwnRun } from "@carillon/process";
import { createMetrics } from "@carillon/telemetry";
import { expect, test } from "vitest";
import { servePlans } from "./worker-plans.ts";

const REQUEST = {
  home: "fra",
  tenantId: "acme",
  audience: { kind: "broadcast" },
  exclude: [],
  partitions: [[3, 1]],
};
const COUNTED = { partitions: [3], targeted: 7, locales: [["de", 7]] };
const NOTHING = { partitions: [], targeted: 0, optedOut: 0, locales: [] };

function start(may: { serve: boolean; withheld?: string }) {
  const bus = createMemoryNetwork().connect("fra-w");
  const ends: (() => void)[] = [];
  const count = () =>
    new Promise((resolve) => void ends.push(() => resolve(structuredClone(COUNTED))));
  servePlans("fra-w", {
    run: { watch: () => undefined } as unknown as OwnRun,
    bus,
    delivery: { count } as unknown as DeliveryNode,
    metrics: createMetrics({ region: "fra", hasDefaults: false }),
    mayServe: () => may.serve,
    withholds: (tenantId) => tenantId === may.withheld,
  });
  const ask = async (): Promise<unknown> => {
    const outcome = await bus.request(subjects.memberPlan("fra-w"), encodeMessage(REQUEST), 10_000);
    if (outcome.kind !== "reply") return outcome.kind;
    const decoded = decodeMessage(ownerPlanReplySchema, outcome.data);
    return decoded.kind === "message" ? decoded.message : decoded.kind;
  };
  return { ask, ends };
}

test("D6 — eight plans are counted at once, the ninth is answered with nothing, and one later is counted", async () => {
  const { ask, ends } = start({ serve: true });
  const running = Array.from({ length: 8 }, ask);
  expect(await ask()).toEqual(NOTHING);
  for (const end of ends.splice(0)) end();
  expect(await Promise.all(running)).toEqual(running.map(() => COUNTED));
  const later = ask();
  await expect.poll(() => ends.length).toBe(1);
  ends[0]!();
  expect(await later).toEqual(COUNTED);
});

test("WK1 — nothing is counted without a lease, nor of a tenant that is withheld", async () => {
  for (const may of [{ serve: false }, { serve: true, withheld: "acme" }]) {
    const { ask, ends } = start(may);
    expect(await ask()).toEqual(NOTHING);
    expect(ends).toEqual([]);
  }
});
