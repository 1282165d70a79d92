// packages/delivery/src/gateway-outbox.prop.test.ts
// Goal: GO1–GO3. Method: random sends and flushes; what each session is sent is read back.
import type { Deliver } from "@carillon/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { GatewayOutbox } from "./gateway-outbox.ts";

const later = (): void => undefined; // the test flushes

const sending = fc.record({
  gatewayId: fc.constantFrom("gw-a", "gw-b"),
  event: fc.constant("ntf" as const),
  payload: fc.constantFrom('{"id":"1"}', '{"id":"2"}', '{"id":"3"}'),
  partition: fc.nat({ max: 3 }),
  ledgerEpoch: fc.constant("e"),
  offset: fc.integer({ min: 1, max: 9 }),
  isResend: fc.boolean(),
  sid: fc.nat({ max: 4 }),
});

test("GO1, GO2, GO3 — each session gets its sends in order, messages are numbered and small", () => {
  const messageMaxBytes = 700;
  fc.assert(
    fc.property(fc.array(fc.oneof(sending, fc.constant("flush" as const))), (steps) => {
      const messages: { gatewayId: string; message: Deliver }[] = [];
      const options = { ownerId: "w", home: "fra", messageMaxBytes, queueMax: 25, defer: later };
      const outbox = new GatewayOutbox(options, {
        deliver: (gatewayId, message) => messages.push({ gatewayId, message }) % 3 !== 0,
      });
      const wanted = new Map<string, string[]>();
      for (const step of steps) {
        if (step === "flush") outbox.flush();
        else {
          outbox.queue(step);
          const session = `${step.gatewayId}/${step.partition}/${step.sid}`;
          const line = `${step.payload}@${step.offset}${step.isResend ? "!" : ""}`;
          wanted.set(session, [...(wanted.get(session) ?? []), line]);
        }
      }
      outbox.flush();
      const found = new Map<string, string[]>();
      const lastSeq = new Map<string, number>();
      for (const { gatewayId, message } of messages) {
        expect(message.seq).toBe((lastSeq.get(gatewayId) ?? 0) + 1);
        lastSeq.set(gatewayId, message.seq);
        expect(JSON.stringify(message.items).length).toBeLessThan(messageMaxBytes);
        for (const { payload, groups } of message.items)
          for (const group of groups)
            for (const sid of group.sids) {
              const session = `${gatewayId}/${group.partition}/${sid}`;
              const line = `${payload}@${group.offset}${group.isResend ? "!" : ""}`;
              found.set(session, [...(found.get(session) ?? []), line]);
            }
      }
      expect(found).toEqual(wanted);
      expect(outbox.links()).toEqual(Object.fromEntries(lastSeq));
    }),
  );
});

test("GO4 — a gateway to which publishing throws is counted as failed; the others get theirs", () => {
  const delivered: string[] = [];
  const options = { ownerId: "w", home: "fra", messageMaxBytes: 700, queueMax: 25, defer: later };
  const outbox = new GatewayOutbox(options, {
    deliver(gatewayId) {
      if (gatewayId === "bad") throw new Error("BU7");
      return delivered.push(gatewayId) > 0;
    },
  });
  const common = {
    event: "ntf" as const,
    payload: "{}",
    partition: 1,
    ledgerEpoch: "e",
    offset: 1,
    isResend: false,
  };
  for (const gatewayId of ["bad", "good"]) outbox.queue({ ...common, gatewayId, sid: 1 });
  outbox.flush();
  expect(delivered).toEqual(["good"]);
  expect([outbox.sentCount, outbox.failedCount]).toEqual([1, 1]);
  expect(outbox.links()).toEqual({ bad: 1, good: 1 });
});
