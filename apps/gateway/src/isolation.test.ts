// Goal: W11, GW15, GW22, GW31: a crash in one session closes its topic only, one in a connection its
// socket only. Method: the stock `phoenix` client and raw sockets; a bug is put into one call of
// hub, session or topic for one recipient, as a bug there would be.
import { type Channel, Socket } from "phoenix";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Connection } from "./connection.ts";
import { InboxSession } from "./inbox-session.ts";
import { InboxTopic } from "./inbox-topic.ts";
import { SessionHub } from "./session-hub.ts";
import {
  type Fixture,
  type RawClient,
  recipientsOfOnePartition,
  startFixture,
} from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });
const [ANNA = "", BEN = ""] = recipientsOfOnePartition(2);
const SECRET = "salary of Zoe";

interface Client {
  readonly socket: Socket;
  readonly channel: Channel;
  readonly ids: unknown[];
  readonly joins: object[];
  errorsCount: number;
}

let fixture: Fixture;
let clients: Client[];
beforeEach(async () => {
  fixture = await startFixture();
  clients = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const { socket } of clients) socket.disconnect();
  await fixture.stop();
});

async function phoenix(sub: string): Promise<Client> {
  const socket = new Socket(`ws://127.0.0.1:${fixture.port}/socket`, {
    authToken: await fixture.issuer.sign({ sub }),
    reconnectAfterMs: () => 20,
    rejoinAfterMs: () => 20,
  });
  socket.connect();
  let position: object = {};
  const channel = socket.channel("inbox", () => position);
  const client: Client = { socket, channel, ids: [], joins: [], errorsCount: 0 };
  channel.on("ntf", ({ offset, epoch, id }: { offset: number; epoch: string; id: string }) => {
    position = { offset, epoch };
    client.ids.push(id);
  });
  channel.onError(() => void client.errorsCount++);
  channel.join().receive("ok", (response) => void client.joins.push(response as object));
  clients.push(client);
  await until(() => expect(client.joins.length).toBe(1));
  return client;
}

/** Anna twice and Ben once, each on a socket of their own, all with a first notification. */
async function threeClients(): Promise<[Client, Client, Client]> {
  const [anna, other, ben] = [await phoenix(ANNA), await phoenix(ANNA), await phoenix(BEN)];
  fixture.owner.post([ANNA, BEN], { id: "a" });
  await until(() => expect(clients.map(({ ids }) => ids)).toEqual([["a"], ["a"], ["a"]]));
  return [anna, other, ben];
}

/** What each has seen of errors and joins, and that all sockets are the first ones. */
function seen(): { errors: number[]; joins: number[]; acceptedTotal: number; crashes: number } {
  const { acceptedTotal, crashesTotal } = fixture.gateway.stats();
  return {
    errors: clients.map(({ errorsCount }) => errorsCount),
    joins: clients.map(({ joins }) => joins.length),
    acceptedTotal,
    crashes: crashesTotal,
  };
}
const ONE_CRASH = { errors: [1, 0, 0], joins: [2, 1, 1], acceptedTotal: 3, crashes: 1 };

function closedSids(): number[] {
  return fixture.owner.reports.flatMap(({ closed }) => closed.map(([sid]) => sid));
}

/** The first receipt of session `sid` throws. */
function poisonReceiptOf(sid: number): void {
  const { receipt } = SessionHub.prototype;
  let isDue = true;
  vi.spyOn(SessionHub.prototype, "receipt").mockImplementation(function (this: SessionHub, ...all) {
    if (all[1].sid === sid && isDue) {
      isDue = false;
      throw new RangeError(SECRET);
    }
    return receipt.apply(this, all);
  });
}

test("W11, GW15 — a frame crashes its session: phx_error for this topic only, it rejoins by itself", async () => {
  const [anna] = await threeClients();
  poisonReceiptOf(1);
  const heartbeats: unknown[] = [];
  anna.socket.onMessage((message) => {
    if ("topic" in message && message.topic === "phoenix") heartbeats.push(message);
  });
  anna.channel.push("read", { offset: 1 });
  await until(() => expect(seen()).toEqual(ONE_CRASH));
  expect(anna.joins[1]).toMatchObject({ recovered: true, offset: 1 });
  fixture.owner.post([ANNA, BEN], { id: "b" });
  await until(() => expect(clients.map(({ ids }) => ids)).toEqual(clients.map(() => ["a", "b"])));
  const answers: string[] = [];
  anna.channel.push("read", { offset: 2 }).receive("ok", () => void answers.push("ok"));
  await until(() => expect(answers).toEqual(["ok"])); // over the same socket
  await until(() => expect(closedSids()).toEqual([1]));
  expect(fixture.owner.sessionsCount).toBe(3);
  expect(seen()).toEqual(ONE_CRASH);
});

test("GW31 — what throws while a socket is sent away keeps no other, and no drain", async () => {
  await fixture.stop();
  fixture = await startFixture({ limits: { drainMs: 20, closeMaxMs: 50, sweepEveryMs: 20 } });
  const [anna, ben] = [await fixture.connect(), await fixture.connect({ recipientId: "ben" })];
  vi.spyOn(InboxTopic.prototype, "close").mockImplementationOnce(() => {
    throw new RangeError(SECRET);
  });
  await fixture.gateway.drain();
  expect((await ben.closed).code).toBe(1012);
  expect((await anna.closed).code).toBe(1006); // gone by its deadline
  expect(fixture.gateway.stats()).toMatchObject({ socketsCount: 0, connectionCrashesTotal: 1 });
});

test("W11 — the crash is logged once, with key and place, without content", async () => {
  const [anna] = await threeClients();
  poisonReceiptOf(1);
  anna.channel.push("read", { offset: 1, note: SECRET });
  await until(() => expect(seen()).toEqual(ONE_CRASH));
  const lines = fixture.logged.filter((line) => line.startsWith("gateway.session_crashed "));
  expect(lines.length).toBe(1);
  const fields = JSON.parse(lines[0]!.slice("gateway.session_crashed ".length)) as object;
  expect(fields).toEqual({
    process: `acme/${ANNA}#1`,
    reason: "error",
    during: "cast",
    messageKind: "frame",
    error: "RangeError",
    place: expect.stringContaining("isolation.test.ts") as string,
  });
  expect(fixture.logged.join("\n")).not.toContain(SECRET);
});

test("W11, GW15 — a delivery crashes its session: the group's others hear it, nothing is skipped", async () => {
  await threeClients();
  const { accept } = InboxSession.prototype;
  let throwsDue = 1;
  vi.spyOn(InboxSession.prototype, "accept").mockImplementation(function (
    this: InboxSession,
    group,
    frame,
  ) {
    if (this.sid === 1 && throwsDue-- > 0) throw new RangeError(SECRET);
    return accept.call(this, group, frame);
  });
  for (const id of ["b", "c"]) fixture.owner.post([ANNA, BEN], { id }); // c comes before the turn
  await until(() => expect(seen()).toEqual(ONE_CRASH));
  const all = clients.map(() => ["a", "b", "c"]);
  await until(() => expect(clients.map(({ ids }) => ids)).toEqual(all));
  await until(() => expect(closedSids()).toEqual([1]));
});

test("W11 — a crash while the topic is being joined: the join is refused, and tried again", async () => {
  const { onOpened } = InboxSession.prototype;
  let throwsDue = 1;
  vi.spyOn(InboxSession.prototype, "onOpened").mockImplementation(function (
    this: InboxSession,
    result,
  ) {
    if (throwsDue-- > 0) throw new RangeError(SECRET);
    return onOpened.call(this, result);
  });
  await phoenix(ANNA);
  expect(seen()).toMatchObject({ joins: [1], acceptedTotal: 1, crashes: 1 });
  await until(() => expect(fixture.owner.sessionsCount).toBe(1));
});

test("W11 — killed by an operator: its client joins again, the others do not notice", async () => {
  await threeClients();
  const { processes } = fixture.gateway;
  const table = processes.tables().find(({ name }) => name === "gateway.sessions")!;
  const slots = [0, 1, 2];
  const keys = slots.map((slot) => table.inspect(slot).key);
  expect(keys).toEqual([`acme/${ANNA}#1`, `acme/${ANNA}#2`, `acme/${BEN}#3`]);
  expect(JSON.stringify(slots.map((slot) => table.inspect(slot)))).not.toContain('"a"');
  table.kill(0);
  await until(() => expect(seen()).toEqual(ONE_CRASH));
  fixture.owner.post([ANNA, BEN], { id: "b" });
  await until(() => expect(clients.map(({ ids }) => ids)).toEqual(clients.map(() => ["a", "b"])));
});

test("GW31 — a crash in a connection: 1011, its client is back, the others do not notice", async () => {
  await threeClients();
  const { join } = InboxTopic.prototype;
  let throwsDue = 1;
  vi.spyOn(InboxTopic.prototype, "join").mockImplementation(function (this: InboxTopic, ...all) {
    if (throwsDue-- > 0) throw new RangeError(SECRET);
    return join.apply(this, all);
  });
  const late = await phoenix(ANNA);
  expect(late.joins.length).toBe(1);
  const { closedTotal, connectionCrashesTotal, crashesTotal } = fixture.gateway.stats();
  expect([closedTotal, connectionCrashesTotal, crashesTotal]).toEqual([{ 1011: 1 }, 1, 0]);
  expect(seen()).toMatchObject({ joins: [1, 1, 1, 1], acceptedTotal: 5 });
  const lines = fixture.logged.filter((line) => line.startsWith("gateway.connection_crashed "));
  expect(lines.map((line) => line.includes(`"process":"acme/${ANNA}@4"`))).toEqual([true]);
});

test("GW31 — a crash in the sweep ends its connection only, the others are swept", async () => {
  await fixture.stop();
  fixture = await startFixture({ limits: { sweepEveryMs: 10, halfOpenMaxMs: 200 } });
  const { close } = Connection.prototype;
  let throwsDue = 1;
  vi.spyOn(Connection.prototype, "close").mockImplementation(function (this: Connection, ...all) {
    if (throwsDue-- > 0) throw new RangeError(SECRET);
    return close.apply(this, all);
  });
  const both = [await fixture.connect(), await fixture.connect()];
  const codes = await Promise.all(both.map(async ({ closed }) => (await closed).code));
  expect(codes.toSorted((a, b) => a - b)).toEqual([1011, 4011]);
  await until(() => expect(fixture.gateway.processes.stats().residentCount).toBe(0));
});

async function joined(recipientId: string): Promise<RawClient> {
  const client = await fixture.connect({ recipientId });
  client.join();
  await until(() => expect(client.reply("1")?.["status"]).toBe("ok"));
  return client;
}

test("GW22 — sent in one go: a topic's frames are handled in order, across leaving and joining", async () => {
  const client = await joined(ANNA);
  const offset = fixture.owner.post([ANNA], { id: "a" });
  await until(() => expect(client.offsets).toEqual([offset]));
  client.frames.length = 0;
  client.send([null, "h", "phoenix", "heartbeat", {}]);
  const read = client.push("read", { offset });
  const left = client.push("phx_leave", {});
  client.join({}, "2");
  const early = client.push("ack", { offset }, "2");
  client.join({}, "3");
  const stale = client.push("ack", { offset }, "2");
  await until(() => expect(client.reply("3")?.["status"]).toBe("ok"));
  const order = client.frames.filter(([, ref]) => ref !== "h");
  expect(order.map(([joinRef, ref, , event]) => [joinRef, ref, event])).toEqual([
    ["1", read, "phx_reply"],
    ["1", left, "phx_reply"],
    ["1", "1", "phx_close"],
    ["2", early, "phx_reply"],
    ["2", "2", "phx_close"],
    ["3", "3", "phx_reply"],
  ]);
  expect(client.reply(stale)).toBe(undefined); // GW24
  expect(client.reply("h")?.["status"]).toBe("ok");
  await until(() => expect(fixture.owner.reports.flatMap(({ reads }) => reads).length).toBe(1));
});

test("W11 — more frames than a session's mailbox takes: 4030 for this socket only", async () => {
  await fixture.stop();
  fixture = await startFixture({ limits: { inboundWaitingMax: 10 } });
  const [eager, calm] = [await joined(ANNA), await joined(BEN)];
  for (let count = 0; count < 11; count++) eager.push("shout", {});
  expect(await eager.closed).toEqual({ code: 4030, reason: "too many messages" });
  const ref = calm.push("shout", {});
  await until(() => expect(calm.reply(ref)?.["status"]).toBe("error"));
});

test("W11 — 1,000 crashes leave nothing behind", async () => {
  await fixture.stop();
  fixture = await startFixture({ limits: { inboundBurst: 1_000 } });
  const { processes } = fixture.gateway;
  vi.spyOn(SessionHub.prototype, "receipt").mockImplementation(() => {
    throw new RangeError(SECRET);
  });
  const raw = await Promise.all(Array.from({ length: 10 }, () => joined(ANNA)));
  const witness = await joined(BEN);
  const offset = fixture.owner.post([ANNA], { id: "a" });
  await until(() => expect(raw.map(({ offsets }) => offsets)).toEqual(raw.map(() => [offset])));
  const crash = async (client: RawClient, round: number): Promise<void> => {
    const joinRef = String(round + 1);
    if (round > 0) client.join({ offset, epoch: "e1" }, joinRef);
    await until(() => expect(client.reply(joinRef)?.["status"]).toBe("ok"));
    client.frames.length = 0;
    client.push("read", { offset }, joinRef);
    await until(() =>
      expect(client.frames.at(-1)).toEqual([joinRef, joinRef, "inbox", "phx_error", {}]),
    );
  };
  for (let round = 0; round < 100; round++)
    await Promise.all(raw.map((client) => crash(client, round)));
  expect(fixture.gateway.stats()).toMatchObject({
    crashesTotal: 1_000,
    sessionsCount: 1,
    socketsCount: 11,
    connectionCrashesTotal: 0,
    closedTotal: {},
  });
  const { residentCount, waitingCount, crashesTotal, pausedTablesCount } = processes.stats();
  expect([residentCount, waitingCount, crashesTotal, pausedTablesCount]).toEqual([12, 0, 1_000, 0]);
  const table = processes.tables().find(({ name }) => name === "gateway.sessions")!;
  expect([table.sums().crashedCount, table.inspect(22).restartCount]).toEqual([0, 0]); // GW30
  await until(() => expect(fixture.owner.sessionsCount).toBe(1));
  await until(() => expect(fixture.gateway.stats().reportsWaitingCount).toBe(0));
  fixture.owner.post([BEN], { id: "b" });
  await until(() => expect(witness.ntfs.map(({ id }) => id)).toEqual(["b"]));
});
