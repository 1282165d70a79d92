// Goal: W1 and GW20–GW24: what is answered, what is ignored, what closes. Real sockets, tables.
import { LIMITS } from "@carillon/contracts";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Fixture, type RawClient, startFixture } from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });

describe("W1 — frames", () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await startFixture();
  });
  afterAll(() => fixture.stop());

  async function joined() {
    const client = await fixture.connect();
    client.join();
    await until(() => expect(client.reply("1")).toBeDefined());
    client.frames.length = 0;
    return client;
  }
  const error = (reason: string) => ({ status: "error", response: { reason } });

  test("a heartbeat is answered", async () => {
    const client = await joined();
    client.send([null, "9", "phoenix", "heartbeat", {}]);
    await until(() =>
      expect(client.frames).toEqual([
        [null, "9", "phoenix", "phx_reply", { status: "ok", response: {} }],
      ]),
    );
  });

  test.each<[string, Parameters<RawClient["send"]>[0], unknown]>([
    [
      "join of an unknown topic",
      ["4", "5", "room:1", "phx_join", {}],
      ["4", "5", "room:1", "phx_reply", error("unmatched topic")],
    ],
    [
      "event of an unknown topic",
      ["4", "5", "room:1", "shout", {}],
      [null, "5", "room:1", "phx_reply", error("unmatched topic")],
    ],
    [
      "unknown event of topic phoenix",
      [null, "5", "phoenix", "hello", {}],
      [null, "5", "phoenix", "phx_reply", error("unmatched topic")],
    ],
    [
      "unknown event of the inbox",
      ["1", "5", "inbox", "shout", {}],
      ["1", "5", "inbox", "phx_reply", error("unmatched event")],
    ],
    [
      "ack without offset",
      ["1", "5", "inbox", "ack", {}],
      ["1", "5", "inbox", "phx_reply", error("invalid payload")],
    ],
    [
      "ack of a text",
      ["1", "5", "inbox", "ack", { offset: "1" }],
      ["1", "5", "inbox", "phx_reply", error("invalid payload")],
    ],
    [
      "ack of what was not sent",
      ["1", "5", "inbox", "ack", { offset: 1 }],
      ["1", "5", "inbox", "phx_reply", error("offset not sent")],
    ],
    [
      "read of zero",
      ["1", "5", "inbox", "read", { offset: 0 }],
      ["1", "5", "inbox", "phx_reply", error("invalid payload")],
    ],
    [
      "a binary push",
      Buffer.from([0, 1, 1, 5, 3, ...Buffer.from("15inboxack"), 1, 2, 3]),
      ["1", "5", "inbox", "phx_reply", error("binary payloads are not supported")],
    ],
  ])("%s is answered, the socket lives", async (_, sent, answered) => {
    const client = await joined();
    client.send(sent);
    client.send([null, "99", "phoenix", "heartbeat", {}]);
    await until(() =>
      expect(client.frames).toEqual([
        answered,
        [null, "99", "phoenix", "phx_reply", { status: "ok", response: {} }],
      ]),
    );
  });

  test.each<[string, string | Buffer, number]>([
    ["no JSON", "{", 1003],
    ["no array", '{"topic":"inbox"}', 1003],
    ["an array of four", '["1","1","inbox","ack"]', 1003],
    ["an array of six", '["1","1","inbox","ack",{},1]', 1003],
    ["numeric refs", '[1,1,"inbox","ack",{"offset":1}]', 1003],
    ["a payload that is no object", '["1","1","inbox","ack",[]]', 1003],
    ["an empty topic", '["1","1","","ack",{}]', 1003],
    ["a topic of 256 characters", `["1","1","${"t".repeat(256)}","ack",{}]`, 1003],
    ["an empty binary message", Buffer.alloc(0), 1003],
    ["a binary reply", Buffer.from([1, 1, 1, 1, 1, 49, 49, 49, 49]), 1003],
    ["a binary push cut short", Buffer.from([0, 200, 1, 5, 3, 49]), 1003],
    [
      "more than 64 KiB",
      `["1","1","inbox","ack",{"x":"${"x".repeat(LIMITS.inboundFrameMaxBytes)}"}]`,
      1009,
    ],
  ])("GW20 — %s closes this socket only, with %s", async (_, sent, code) => {
    const [bad, good] = [await joined(), await joined()];
    bad.send(sent);
    expect((await bad.closed).code).toBe(code);
    good.send([null, "9", "phoenix", "heartbeat", {}]);
    await until(() => expect(good.frames.length).toBe(1));
  });

  test("GW20 — text that is not UTF-8 closes with 1007", async () => {
    const client = await joined();
    client.ws.send(Buffer.from([0xc3, 0x28]), { binary: false });
    expect((await client.closed).code).toBe(1007);
  });

  test("an event before the join, and one after the leave: unmatched topic", async () => {
    const client = await fixture.connect();
    const early = client.push("ack", { offset: 1 });
    await until(() => expect(client.reply(early)).toEqual(error("unmatched topic")));
    client.join();
    const left = client.push("phx_leave", {});
    await until(() => expect(client.reply(left)).toEqual({ status: "ok", response: {} }));
    await until(() => expect(client.frames.at(-1)).toEqual(["1", "1", "inbox", "phx_close", {}]));
    const late = client.push("ack", { offset: 1 });
    await until(() => expect(client.reply(late)).toEqual(error("unmatched topic")));
    const again = client.push("phx_leave", {});
    await until(() => expect(client.reply(again)).toEqual({ status: "ok", response: {} }));
  });

  test("GW23, GW24 — a second join closes the first; what belongs to the first is ignored", async () => {
    const client = await joined();
    client.join({}, "2");
    await until(() => expect(client.reply("2")?.["status"]).toBe("ok"));
    expect(client.frames[0]).toEqual(["1", "1", "inbox", "phx_close", {}]);
    const stale = client.push("phx_leave", {}, "1");
    fixture.owner.post(["anna"], { id: "x" });
    await until(() => expect(client.ntfs.length).toBe(1));
    expect(client.reply(stale)).toBe(undefined);
  });

  test("W2 — offset without epoch is refused, and nothing is opened", async () => {
    const client = await fixture.connect();
    const opensCount = fixture.owner.opens.length;
    client.join({ offset: 3 });
    await until(() => expect(client.reply("1")).toEqual(error("invalid payload")));
    expect(fixture.owner.opens.length).toBe(opensCount);
  });

  test("GW24 — a push without ref is carried out and not answered", async () => {
    const client = await joined();
    const offset = fixture.owner.post(["anna"], { id: "x" });
    await until(() => expect(client.offsets).toEqual([offset]));
    client.send(["1", null, "inbox", "ack", { offset }]);
    await until(() => expect(Object.values(fixture.owner.ackedOffsets)).toContain(offset));
    expect(client.frames.length).toBe(1);
  });
});
