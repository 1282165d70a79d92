// Goal: GW35, and GW9 for `withdraw` (W2), through real sockets. Method: an owner that says it byte for byte.
import { type Deliver, type InboxEvent, partitionOf } from "@carillon/contracts";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Fixture, GATEWAY_ID, startFixture } from "./testing/gateway-fixture.ts";
import { HOME, TENANT } from "./testing/scripted-owner.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.stop());

/** One event for the first session of the gateway. */
const say = (event: InboxEvent, offset: number, payload: object, isResend = false): void => {
  const partition = partitionOf(TENANT, "anna");
  const group = { home: HOME, partition, epoch: "e1", offset, isResend, sids: [1] };
  const item: Deliver["items"][number] = {
    payload: JSON.stringify(payload),
    groups: [group],
    ...(event === "ntf" ? {} : { event }),
  };
  fixture.owner.deliverRaw(GATEWAY_ID, [item]);
};

async function joined() {
  const client = await fixture.connect();
  client.join({});
  await until(() => expect(client.reply("1")).toBeDefined());
  const said = () =>
    client.frames
      .filter(([, , , event]) => event !== "phx_reply")
      .map(([, , , event, { offset, id }]) => [event, offset, id ?? null]);
  return { client, said };
}

test("GW9, W2 — a withdrawal has its place among the notifications: in order, once, resent, acked", async () => {
  const { client, said } = await joined();
  say("ntf", 3, { id: "a", title: "A" });
  say("withdraw", 7, { id: "a" });
  say("withdraw", 7, { id: "a" }); // twice
  say("ntf", 5, { id: "late" }); // below its place
  say("withdraw", 7, { id: "a" }, true); // nobody has acked it
  await until(() => expect(client.frames.length).toBe(4));
  expect(client.frames[2]).toEqual([
    ...[null, null, "inbox", "withdraw"],
    { offset: 7, epoch: "e1", id: "a" },
  ]);
  client.push("ack", { offset: 7 });
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 7 }));
  say("withdraw", 7, { id: "a" }, true); // the owner has missed the ack: it is told again
  say("ntf", 8, { id: "b" });
  await until(() => expect(said().at(-1)).toEqual(["ntf", 8, "b"]));
  expect(said()).toEqual([
    ["ntf", 3, "a"],
    ["withdraw", 7, "a"],
    ["withdraw", 7, "a"],
    ["ntf", 8, "b"],
  ]);
});

test("GW35 — a hint is written if what it is about was, however often, and moves no place", async () => {
  const { client, said } = await joined();
  say("ntf", 3, { id: "a" });
  say("read", 3, {});
  say("read", 9, {}); // of what this session was not sent
  say("ntf", 4, { id: "b" });
  say("read", 3, {});
  await until(() => expect(client.frames.length).toBe(5));
  expect(said()).toEqual([
    ["ntf", 3, "a"],
    ["read", 3, null],
    ["ntf", 4, "b"],
    ["read", 3, null],
  ]);
  expect(client.frames[2]).toEqual([null, null, "inbox", "read", { offset: 3, epoch: "e1" }]);
});
