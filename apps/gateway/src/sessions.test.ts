// Goal: W2, W3 and GW8–GW16 through real sockets, with an owner that loses, delays and moves.
import { partitionOf, subjects, UNKNOWN_INDEX } from "@carillon/contracts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type Fixture,
  GATEWAY_ID,
  recipientsOfOnePartition,
  startFixture,
} from "./testing/gateway-fixture.ts";
import { HOME, ScriptedOwner, TENANT } from "./testing/scripted-owner.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.stop());

async function joined(recipientId = "anna", payload: Record<string, unknown> = {}) {
  const client = await fixture.connect({ recipientId });
  client.join(payload);
  await until(() => expect(client.reply("1")).toBeDefined());
  return client;
}

test("W2 — the join is answered, what is posted arrives with offset and epoch first", async () => {
  const client = await joined();
  expect(client.frames[0]).toEqual([
    "1",
    "1",
    "inbox",
    "phx_reply",
    { status: "ok", response: { recovered: true, epoch: "e1", offset: 0, missed: 0, unread: 0 } },
  ]);
  fixture.owner.post(["anna"], { id: "n1", title: "Payday é" });
  await until(() => expect(client.frames.length).toBe(2));
  expect(client.frames[1]).toEqual([
    null,
    null,
    "inbox",
    "ntf",
    { offset: 1, epoch: "e1", id: "n1", title: "Payday é" },
  ]);
});

test("W2 — recovery sends the whole tail after the answer", async () => {
  for (const id of ["a", "b", "c", "d"]) fixture.owner.post(["anna"], { id });
  const client = await joined("anna", { offset: 2, epoch: "e1", device: "phone" });
  await until(() => expect(client.frames.length).toBe(3));
  expect(client.reply("1")).toEqual({
    status: "ok",
    response: { recovered: true, epoch: "e1", offset: 2, missed: 2, unread: 2 },
  });
  expect(client.offsets).toEqual([3, 4]);
  expect(fixture.owner.opens).toEqual([
    {
      sid: 1,
      tenantId: TENANT,
      recipientId: "anna",
      position: { offset: 2, epoch: "e1" },
      ackedOffset: 2,
      device: "phone",
    },
  ]);
});

test("W2 — recovery is all or nothing: another epoch, or an offset of the future", async () => {
  fixture.owner.post(["anna"], { id: "a" });
  for (const position of [
    { offset: 1, epoch: "e0" },
    { offset: 9, epoch: "e1" },
  ]) {
    const client = await joined("anna", position);
    expect(client.reply("1")).toEqual({
      status: "ok",
      response: { recovered: false, epoch: "e1", offset: 1, missed: 0, unread: 0 },
    });
    expect(client.ntfs).toEqual([]);
  }
});

test("GW8 — a tail that overtakes the answer is written after it", async () => {
  fixture.owner.isTailFirst = true;
  for (const id of ["a", "b"]) fixture.owner.post(["anna"], { id });
  const client = await joined("anna", { offset: 0, epoch: "e1" });
  await until(() => expect(client.frames.length).toBe(3));
  expect(client.frames.map(([, , , event]) => event)).toEqual(["phx_reply", "ntf", "ntf"]);
  expect(client.offsets).toEqual([1, 2]);
});

test("GW11 — more than can be held before the answer: opened again, still all and in order", async () => {
  fixture.owner.isTailFirst = true;
  for (const id of range(1, 1_300)) fixture.owner.post(["anna"], { id });
  const client = await fixture.connect();
  client.join({ offset: 0, epoch: "e1" });
  await until(() => expect(fixture.owner.opens.length >= 2).toBe(true));
  expect(client.frames).toEqual([]);
  fixture.owner.isTailFirst = false;
  await until(() => expect(client.offsets).toEqual(range(1, 1_300)));
});

test("GW9, GW10 — acks are told cumulatively, never above what was sent", async () => {
  const client = await joined();
  for (const id of ["a", "b", "c"]) fixture.owner.post(["anna"], { id });
  await until(() => expect(client.offsets).toEqual([1, 2, 3]));
  const tooFar = client.push("ack", { offset: 4 });
  const refs = [1, 2, 3].map((offset) => client.push("ack", { offset }));
  await until(() => expect(client.reply(refs[2]!)).toEqual({ status: "ok", response: {} }));
  expect(client.reply(tooFar)).toEqual({
    status: "error",
    response: { reason: "offset not sent" },
  });
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 3 }));
  expect(fixture.owner.reports.flatMap(({ acks }) => acks.map(([, index]) => index))).toEqual(
    fixture.owner.reports.flatMap(({ acks }) => acks.map(() => 1_001)),
  );
});

test("W3 — a resend is written again, but one that was acked is only acked again", async () => {
  const client = await joined();
  fixture.owner.post(["anna"], { id: "a" });
  await until(() => expect(client.offsets).toEqual([1]));
  fixture.owner.resend("anna", 1);
  await until(() => expect(client.offsets).toEqual([1, 1]));
  client.push("ack", { offset: 1 });
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 1 }));
  fixture.owner.reports.length = 0;
  fixture.owner.resend("anna", 1);
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 1 }));
  expect(client.offsets).toEqual([1, 1]);
});

test("W3 — read and acknowledge are told, with the index and the offset", async () => {
  const client = await joined();
  fixture.owner.post(["anna"], { id: "a" });
  await until(() => expect(client.offsets).toEqual([1]));
  const refs = [client.push("read", { offset: 1 }), client.push("acknowledge", { offset: 1 })];
  await until(() => expect(refs.map((ref) => client.reply(ref)?.["status"])).toEqual(["ok", "ok"]));
  await until(() =>
    expect([
      fixture.owner.reports.flatMap(({ reads }) => reads),
      fixture.owner.reports.flatMap(({ acknowledges }) => acknowledges),
    ]).toEqual([[[1, 1_001, 1]], [[1, 1_001, 1]]]),
  );
});

test("GW12 — a session that ends is told to its owner", async () => {
  const client = await joined();
  expect(fixture.owner.sessionsCount).toBe(1);
  client.ws.terminate();
  await until(() => expect(fixture.owner.sessionsCount).toBe(0));
  expect(fixture.owner.reports.flatMap(({ closed }) => closed)).toEqual([[1, 1_001]]);
});

test("GW12 — a delivery for a session that is gone: its owner is told so again", async () => {
  await joined();
  const partition = partitionOf(TENANT, "anna");
  const group = { home: HOME, partition, epoch: "e1", offset: 1, isResend: false, sids: [99] };
  fixture.owner.deliverRaw(GATEWAY_ID, [{ payload: "{}", groups: [group] }]);
  await until(() =>
    expect(fixture.owner.reports.flatMap(({ closed }) => closed)).toEqual([[99, UNKNOWN_INDEX]]),
  );
  expect(fixture.gateway.stats().strayDeliveriesTotal).toBe(1);
  expect(fixture.owner.sessionsCount).toBe(1); // the one that lives
});

test("GW12 — a session that ends while it is being opened is told when the answer comes", async () => {
  const gate = Promise.withResolvers<void>();
  fixture.owner.answerAfter = gate.promise;
  const client = await fixture.connect();
  client.join();
  await until(() => expect(fixture.gateway.stats().sessionsCount).toBe(1));
  await until(() => expect(fixture.gateway.stats().openRequestsTotal).toBe(1));
  client.ws.terminate();
  await until(() => expect(fixture.gateway.stats().sessionsCount).toBe(0));
  gate.resolve();
  await until(() =>
    expect(fixture.owner.reports.flatMap(({ closed }) => closed)).toEqual([[1, 1_001]]),
  );
});

describe("GW3, GW16 — losses are repaired, nothing is lost or repeated", () => {
  test("a gap in seq", async () => {
    const [anna = "", other = ""] = recipientsOfOnePartition(2);
    const [a, b] = [await joined(anna), await joined(other)];
    fixture.owner.post([anna, other], { id: "1" });
    fixture.owner.loseNext(1);
    fixture.owner.post([anna, other], { id: "2" }); // lost
    fixture.owner.post([anna], { id: "3" }); // shows the gap
    await until(() =>
      expect([a.offsets, b.offsets]).toEqual([
        [1, 2, 3],
        [1, 2],
      ]),
    );
    fixture.owner.post([anna, other], { id: "4" });
    await until(() =>
      expect([a.offsets, b.offsets]).toEqual([
        [1, 2, 3, 4],
        [1, 2, 4],
      ]),
    );
  });

  test("the last delivery was lost: the beat shows it", async () => {
    const client = await joined();
    fixture.owner.post(["anna"], { id: "1" });
    await until(() => expect(client.offsets).toEqual([1]));
    fixture.beat(fixture.owner.beat());
    fixture.owner.loseNext(1);
    fixture.owner.post(["anna"], { id: "2" });
    fixture.beat(fixture.owner.beat());
    await until(() => expect(client.offsets).toEqual([1, 2]));
    expect(fixture.gateway.stats().resyncsTotal).toBe(1);
  });

  test("the owner has forgotten this gateway", async () => {
    const client = await joined();
    fixture.beat(fixture.owner.beat());
    fixture.owner.forgetGateways();
    fixture.beat(fixture.owner.beat());
    await until(() => expect(fixture.owner.opens.length).toBe(2));
    fixture.owner.post(["anna"], { id: "1" });
    await until(() => expect(client.offsets).toEqual([1]));
  });

  test("the partition moves to another owner, acks go with it", async () => {
    const client = await joined();
    const partition = partitionOf(TENANT, "anna");
    fixture.owner.post(["anna"], { id: "1" });
    await until(() => expect(client.offsets).toEqual([1]));
    client.push("ack", { offset: 1 });
    await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 1 }));
    fixture.beat(fixture.owner.beat());
    fixture.owner.release(partition);
    fixture.beat(fixture.owner.beat()); // given back: asked again until there is an owner
    const next = new ScriptedOwner(fixture.ownerBus, "owner-2", fixture.owner.ledger);
    next.post(["anna"], { id: "2" });
    next.own(partition, 2);
    fixture.beat(next.beat());
    await until(() => expect(client.offsets).toEqual([1, 2]));
    expect(next.opens.map(({ position, ackedOffset }) => [position, ackedOffset])).toEqual([
      [{ offset: 1, epoch: "e1" }, 1],
    ]);
    next.stop();
  });

  test("GW13 — the owner is lost with what it had under way; receipts wait for the next one", async () => {
    const client = await joined();
    const partition = partitionOf(TENANT, "anna");
    fixture.owner.post(["anna"], { id: "1" });
    await until(() => expect(client.offsets).toEqual([1]));
    fixture.owner.loseNext(1);
    fixture.owner.post(["anna"], { id: "2" });
    fixture.owner.stop();
    fixture.lose("owner-1");
    const ref = client.push("read", { offset: 1 });
    await until(() => expect(client.reply(ref)?.["status"]).toBe("ok"));
    const next = new ScriptedOwner(fixture.ownerBus, "owner-2", fixture.owner.ledger);
    next.own(partition, 2);
    await until(() => expect(client.offsets).toEqual([1, 2]));
    await until(() => expect(next.reports.flatMap(({ reads }) => reads)).toEqual([[1, 1_001, 1]]));
    next.stop();
  });

  test("the bus is away and back", async () => {
    const client = await joined();
    fixture.network.cut("gateway");
    fixture.owner.post(["anna"], { id: "1" }); // to nobody
    fixture.network.heal("gateway");
    await until(() => expect(client.offsets).toEqual([1]));
    fixture.owner.post(["anna"], { id: "2" });
    await until(() => expect(client.offsets).toEqual([1, 2]));
  });

  test("the ledger began anew: phx_error, and the client joins with what it has", async () => {
    const client = await joined();
    fixture.owner.ledger.epoch = "e2";
    fixture.owner.post(["anna"], { id: "1" });
    await until(() => expect(client.frames.at(-1)).toEqual(["1", "1", "inbox", "phx_error", {}]));
    client.join({ offset: 0, epoch: "e1" }, "2");
    await until(() =>
      expect(client.reply("2")).toEqual({
        status: "ok",
        response: { recovered: false, epoch: "e2", offset: 1, missed: 0, unread: 0 },
      }),
    );
    expect(client.ntfs).toEqual([]);
  });
});

describe("GW14 — answers to a join", () => {
  test.each(["unknown_recipient", "too_many_sessions"] as const)("%s at once", async (code) => {
    fixture.owner.refuseWith = code;
    const client = await joined();
    expect(client.reply("1")).toEqual({ status: "error", response: { reason: code } });
    expect(fixture.owner.opens.length).toBe(1);
    expect(fixture.gateway.stats().sessionsCount).toBe(0);
  });

  test.each(["not_owner", "overloaded"] as const)("%s is asked again", async (code) => {
    fixture.owner.refuseWith = code;
    const client = await fixture.connect();
    client.join();
    await until(() => expect(fixture.owner.opens.length >= 3).toBe(true));
    fixture.owner.refuseWith = undefined;
    await until(() => expect(client.reply("1")?.["status"]).toBe("ok"));
  });

  test("nobody owns the partition yet: asked again until somebody does", async () => {
    fixture.owner.stop();
    const client = await fixture.connect();
    client.join();
    await until(() => expect(fixture.gateway.stats().openRequestsTotal >= 3).toBe(true));
    fixture.owner.own(partitionOf(TENANT, "anna"), 1);
    await until(() => expect(client.reply("1")?.["status"]).toBe("ok"));
  });

  test("a live session that is refused for good ends with phx_error", async () => {
    const client = await joined();
    fixture.owner.refuseWith = "unknown_recipient";
    fixture.network.cut("gateway");
    fixture.network.heal("gateway");
    await until(() => expect(client.frames.at(-1)).toEqual(["1", "1", "inbox", "phx_error", {}]));
  });
});

test("GW14 — a home region that does not answer delays no other", async () => {
  await fixture.stop();
  fixture = await startFixture({ limits: { inFlightMax: 1, timeoutMs: 60_000 } });
  fixture.ownerBus.subscribe(`home.lon.part.*`, () => undefined); // hears, never answers
  const token = await fixture.issuer.sign({ home: "lon" });
  const waiting = await fixture.connect({ token });
  waiting.join();
  await until(() => expect(fixture.gateway.stats().openRequestsTotal).toBe(1));
  const client = await joined();
  expect(client.reply("1")?.["status"]).toBe("ok");
  expect(waiting.reply("1")).toBe(undefined);
});

test("W7 — one group, many sockets, one of them gone: each of the others gets it once", async () => {
  const ids = recipientsOfOnePartition(30);
  const clients = await Promise.all(ids.map((id) => joined(id)));
  clients[7]!.ws.terminate();
  await until(() => expect(fixture.owner.sessionsCount).toBe(29));
  for (const id of range(1, 20)) fixture.owner.post(ids, { id });
  const rest = clients.filter((_, index) => index !== 7);
  await until(() =>
    expect(rest.map(({ offsets }) => offsets)).toEqual(rest.map(() => range(1, 20))),
  );
});

test("GW16 — a message that cannot be read is counted and harms nothing", async () => {
  const client = await joined();
  fixture.owner.post(["anna"], { id: "1" });
  fixture.ownerBus.publish(subjects.memberDeliver(GATEWAY_ID), Buffer.from("{nonsense"));
  fixture.owner.post(["anna"], { id: "2" });
  await until(() => expect(client.offsets).toEqual([1, 2]));
  expect(fixture.gateway.stats().malformedTotal).toBe(1);
});
