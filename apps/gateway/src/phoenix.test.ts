// Goal: W1, W2: the stock `phoenix` client (1.8) joins, pushes, hears, beats, rejoins and resumes.
// Method: the npm package as it is, with Node's own WebSocket; the TCP connection is cut.
import { type Channel, Socket } from "phoenix";
import { connect, createServer, type Socket as TcpSocket } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Fixture, startFixture } from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });

/** Between client and gateway: cuts TCP without a closing handshake, as a network does. */
async function startProxy(port: number) {
  const pairs = new Set<TcpSocket>();
  const server = createServer((inbound) => {
    const outbound = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      pairs.add(from);
      from.pipe(to);
      from.on("error", () => undefined);
      from.on("close", () => {
        pairs.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => pairs.forEach((socket) => socket.resetAndDestroy()),
    stop: () => {
      pairs.forEach((socket) => socket.destroy());
      server.close();
    },
  };
}

let fixture: Fixture;
let proxy: Awaited<ReturnType<typeof startProxy>>;
let socket: Socket;
let seen: { offset: number; epoch: string; id: string }[];
let joins: unknown[];
let channel: Channel;

beforeEach(async () => {
  fixture = await startFixture();
  proxy = await startProxy(fixture.port);
  seen = [];
  joins = [];
  socket = new Socket(`ws://127.0.0.1:${proxy.port}/socket`, {
    authToken: await fixture.issuer.sign(),
    reconnectAfterMs: () => 20,
    rejoinAfterMs: () => 20,
    heartbeatIntervalMs: 50,
  });
  socket.connect();
  channel = socket.channel("inbox", () => {
    const last = seen.at(-1);
    return last === undefined ? {} : { offset: last.offset, epoch: last.epoch };
  });
  channel.on("ntf", (payload: (typeof seen)[number]) => void seen.push(payload));
  channel.join().receive("ok", (response) => void joins.push(response));
  await vi.waitUntil(() => joins.length === 1, { timeout: 30_000, interval: 5 });
});
afterEach(async () => {
  socket.disconnect();
  proxy.stop();
  await fixture.stop();
});
const ids = (): string[] => seen.map(({ id }) => id);

test("W1 — joins, hears, acks and gets the answer", async () => {
  expect(joins).toEqual([{ recovered: true, epoch: "e1", offset: 0, missed: 0, unread: 0 }]);
  fixture.owner.post(["anna"], { id: "a" });
  await until(() => expect(seen).toEqual([{ offset: 1, epoch: "e1", id: "a" }]));
  const answers: string[] = [];
  channel.push("ack", { offset: 1 }).receive("ok", () => void answers.push("ok"));
  channel
    .push("shout", {})
    .receive("error", ({ reason }: { reason: string }) => void answers.push(reason));
  await until(() => expect(answers).toEqual(["ok", "unmatched event"]));
  await until(() => expect(fixture.owner.ackedOffsets).toEqual({ 1: 1 }));
});

test("W4 — its heartbeats are answered, the connection stays", async () => {
  let heartbeatsCount = 0;
  socket.onMessage((message) => {
    if ("topic" in message && message.topic === "phoenix") heartbeatsCount++;
  });
  await until(() => expect(heartbeatsCount >= 4).toBe(true)); // unanswered ones reconnect
  expect(joins.length).toBe(1);
});

test("W2 — resumes after the connection is cut: nothing lost, nothing twice", async () => {
  fixture.owner.post(["anna"], { id: "a" });
  await until(() => expect(ids()).toEqual(["a"]));
  for (const [round, id] of ["b", "c", "d"].entries()) {
    proxy.cut();
    fixture.owner.post(["anna"], { id });
    await until(() => expect(joins.length).toBe(round + 2));
    await until(() => expect(ids()).toEqual(["a", "b", "c", "d"].slice(0, round + 2)));
  }
  fixture.owner.post(["anna"], { id: "e" });
  await until(() => expect(ids()).toEqual(["a", "b", "c", "d", "e"]));
});

test("W1 — rejoins after phx_error, over the same socket", async () => {
  fixture.owner.ledger.epoch = "e2";
  fixture.owner.post(["anna"], { id: "a" });
  await until(() => expect(joins.length).toBe(2));
  expect(fixture.gateway.stats().acceptedTotal).toBe(1);
  fixture.owner.post(["anna"], { id: "b" });
  await until(() => expect(ids()).toEqual(["b"]));
});

test("W1 — a join refused at first is tried again until it is taken", async () => {
  fixture.owner.refuseWith = "unknown_recipient";
  proxy.cut();
  await until(() => expect(channel.state).toBe("errored"));
  await until(() => expect(fixture.owner.opens.length >= 3).toBe(true));
  fixture.owner.refuseWith = undefined;
  await until(() => expect(channel.state).toBe("joined"));
});

test("W1 — leaves, and is told so", async () => {
  const left: string[] = [];
  channel.onClose(() => void left.push("closed"));
  channel.leave().receive("ok", () => void left.push("left"));
  await until(() => expect(left.toSorted()).toEqual(["closed", "left"]));
  await until(() => expect(fixture.owner.sessionsCount).toBe(0));
});

test("W1 — a second channel for the topic replaces the first", async () => {
  const other = socket.channel("inbox", {});
  const states: string[] = [];
  other.join().receive("ok", () => void states.push("ok"));
  await until(() => expect(states).toEqual(["ok"]));
  fixture.owner.post(["anna"], { id: "a" });
  const heard: unknown[] = [];
  other.on("ntf", (payload: { id: string }) => void heard.push(payload.id));
  await until(() => expect(heard).toEqual(["a"]));
  await until(() => expect(fixture.owner.sessionsCount).toBe(1));
});

test("W1 — an unknown topic is refused, the socket lives", async () => {
  const reasons: string[] = [];
  socket
    .channel("room:1", {})
    .join()
    .receive("error", ({ reason }: { reason: string }) => void reasons.push(reason));
  await until(() => expect(reasons[0]).toBe("unmatched topic"));
  fixture.owner.post(["anna"], { id: "a" });
  await until(() => expect(ids()).toEqual(["a"]));
});
