// Goal: FL4 where other regions are asked: an answer is what they have acknowledged; anything else is silence, and
// never "nobody has". Method: a network in memory, a region that answers as the test says.
import { createMemoryNetwork } from "@carillon/bus";
import { decodeMessage, ackedRequestSchema, encodeMessage, subjects } from "@carillon/contracts";
import type { EscalationStore } from "@carillon/delivery";
import { expect, test } from "vitest";
import { escalationPart } from "./worker-escalation.ts";

const NO_STORE: EscalationStore = {
  readPeople: async () => [],
  readSteps: async () => [],
  accept: async () => [],
};

function asked(answer?: unknown) {
  const nats = createMemoryNetwork();
  const requests: unknown[] = [];
  if (answer !== undefined)
    nats.connect("lon").subscribe(subjects.regionAcked("lon"), (message) => {
      requests.push(decodeMessage(ackedRequestSchema, message.data));
      message.reply(encodeMessage(answer));
    });
  const store = { escalations: NO_STORE } as never;
  const { escalation } = escalationPart({ store }, nats.connect("fra"));
  return { requests, told: escalation!.regions.acknowledged("lon", "acme", ["a", "b"]) };
}

test("FL4 — a region tells which steps were acknowledged there", async () => {
  const { told, requests } = asked({ kind: "acked", notificationIds: ["b"] });
  expect(await told).toEqual(["b"]);
  const message = { tenantId: "acme", notificationIds: ["a", "b"] };
  expect(requests).toEqual([{ kind: "message", message }]);
});

test.each([
  ["nobody listens", undefined],
  ["it is of no use", { kind: "something" }],
  ["it has failed, or withholds the tenant", { kind: "failed", code: "tenant_withheld" }],
])("FL4 — when %s, that is no answer", async (_, answer) => {
  expect(await asked(answer).told).toBeUndefined();
});

test("FL4 — without a store for them chains are left alone", () => {
  const bus = createMemoryNetwork().connect("fra");
  expect(escalationPart({ store: {} as never }, bus)).toEqual({});
});
