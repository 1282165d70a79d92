// Goal: W4, W5, CN5, CN6: what time and the server's close codes do to an inbox. Method: a socket
// played by the test, time by FakeClock. Everything over real sockets: apps/gateway/client.test.ts.
import { FakeClock } from "@carillon/testkit";
import { expect, test } from "vitest";
import { createInbox, type Inbox, type InboxState, type SocketLike } from "./index.ts";

class PlayedSocket implements SocketLike {
  readyState = 0;
  readonly sent: unknown[][] = [];
  readonly closedWith: (number | undefined)[] = [];
  readonly #listeners = new Map<string, (event: never) => void>();
  addEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.set(type, listener);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as unknown[]);
  }
  close(code?: number): void {
    this.closedWith.push(code);
    this.readyState = 2;
  }
  open(): void {
    this.readyState = 1;
    this.#tell("open", undefined);
  }
  say(...frame: unknown[]): void {
    this.#tell("message", { data: JSON.stringify(frame) });
  }
  sayRaw(data: unknown): void {
    this.#tell("message", { data });
  }
  end(code: number, reason = ""): void {
    this.readyState = 3;
    this.#tell("close", { code, reason });
  }
  #tell(type: string, event: unknown): void {
    this.#listeners.get(type)?.(event as never);
  }
}

interface Played {
  readonly clock: FakeClock;
  readonly inbox: Inbox;
  readonly sockets: PlayedSocket[];
  readonly states: InboxState[];
  readonly seen: number[];
  /** What `onWithdraw` and `onRead` were told. */
  readonly told: string[];
  /** Opens the newest socket and answers its join. */
  live(): Promise<PlayedSocket>;
}

function start(onState: (state: InboxState, inbox: () => Inbox) => void = () => undefined): Played {
  const clock = new FakeClock();
  const sockets: PlayedSocket[] = [];
  const states: InboxState[] = [];
  const seen: number[] = [];
  const told: string[] = [];
  const inbox: Inbox = createInbox({
    url: "ws://x/socket",
    token: () => "t",
    onNotification: ({ offset }) => void seen.push(offset),
    onWithdraw: ({ offset, id }) => void told.push(`withdraw ${offset} ${id}`),
    onRead: ({ offset }) => void told.push(`read ${offset}`),
    onStateChange(state) {
      states.push(state);
      onState(state, () => inbox);
    },
    random: () => 1,
    timers: {
      nowMs: clock.monotonicMs,
      after: (delayMs, callback) => clock.setTimer(delayMs, callback).cancel,
    },
    connect(url, protocols) {
      expect([url, protocols]).toEqual([
        "ws://x/socket/websocket?vsn=2.0.0",
        ["phoenix", "base64url.bearer.phx.dA"],
      ]);
      const socket = new PlayedSocket();
      sockets.push(socket);
      return socket;
    },
  });
  return {
    clock,
    inbox,
    sockets,
    states,
    seen,
    told,
    async live() {
      await clock.settle();
      const socket = sockets.at(-1)!;
      socket.open();
      const [joinRef] = socket.sent[0]!;
      const response = { recovered: true, epoch: "e", offset: 0, missed: 0, unread: 0 };
      socket.say(joinRef, joinRef, "inbox", "phx_reply", { status: "ok", response });
      return socket;
    },
  };
}
const ntf = (offset: number) => [null, null, "inbox", "ntf", { offset, epoch: "e" }];
const acksOf = (socket: PlayedSocket) =>
  socket.sent.filter(([, , , event]) => event === "ack").map((frame) => frame[4]);

test("CN3 — the first ack at once, then one per 250 ms or 16 notifications", async () => {
  const { clock, live, seen } = start();
  const socket = await live();
  for (let offset = 1; offset <= 20; offset++) socket.say(...ntf(offset));
  expect(acksOf(socket)).toEqual([{ offset: 1 }, { offset: 17 }]);
  await clock.advance(249);
  expect(acksOf(socket).length).toBe(2);
  await clock.advance(1);
  expect(acksOf(socket)).toEqual([{ offset: 1 }, { offset: 17 }, { offset: 20 }]);
  await clock.advance(10_000);
  expect(acksOf(socket).length).toBe(3);
  expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
});

test("CN2 — an offset at or below the last is not shown", async () => {
  const { live, seen } = start();
  const socket = await live();
  for (const offset of [3, 1, 3, 4, 2]) socket.say(...ntf(offset));
  expect(seen).toEqual([3, 4]);
});

test("CN7 — a withdrawal has its place among the notifications, once, and is acked; a hint has none", async () => {
  const { clock, live, seen, told, inbox } = start();
  const socket = await live();
  const say = (event: string, offset: number, more = {}) =>
    socket.say(null, null, "inbox", event, { offset, epoch: "e", ...more });
  say("ntf", 1);
  say("withdraw", 3, { id: "a" });
  say("ntf", 2); // too late: it might be what was withdrawn
  say("withdraw", 3, { id: "a" }); // a resend: the ack is sent again
  say("read", 1);
  say("read", 9);
  await clock.advance(250);
  expect(seen).toEqual([1]);
  expect(told).toEqual(["withdraw 3 a", "read 1", "read 9"]);
  expect(inbox.position).toEqual({ offset: 3, epoch: "e" });
  expect(acksOf(socket)).toEqual([{ offset: 1 }, { offset: 3 }]);
  inbox.close();
  say("withdraw", 4, { id: "b" });
  say("read", 4);
  expect(told.length).toBe(3); // CN5
});

test("W4 — a heartbeat every 25 s; one without an answer gives the socket up", async () => {
  const { clock, live, sockets, inbox } = start();
  const socket = await live();
  await clock.advance(25_000);
  const [, ref] = socket.sent.at(-1)!;
  expect(socket.sent.at(-1)).toEqual([null, ref, "phoenix", "heartbeat", {}]);
  socket.say(null, ref, "phoenix", "phx_reply", { status: "ok", response: {} });
  await clock.advance(25_000);
  expect(inbox.state).toBe("live");
  await clock.advance(25_000);
  expect([inbox.state, socket.closedWith, sockets.length]).toEqual(["waiting", [undefined], 1]);
  await clock.advance(1_000);
  expect(sockets.length).toBe(2);
});

test("W5 — back-off grows, starts again after 60 s of stability; a drain's delay wins", async () => {
  const { clock, live, sockets } = start();
  const delayAfter = async (code: number, reason?: string): Promise<number> => {
    const [before, sinceMs] = [sockets.length, clock.monotonicMs()];
    sockets.at(-1)!.end(code, reason);
    while (sockets.length === before) await clock.advance(100);
    return clock.monotonicMs() - sinceMs;
  };
  await live();
  expect(await delayAfter(1006)).toBe(1_000);
  await live();
  expect(await delayAfter(4008)).toBe(1_500);
  await live();
  expect(await delayAfter(1012, '{"retryMs":300,"region":"fra"}')).toBe(300);
  await live();
  expect(await delayAfter(1012)).toBe(4_500);
  const socket = await live();
  for (let beat = 0; beat < 3; beat++) {
    await clock.advance(25_000);
    const [, ref] = socket.sent.at(-1)!;
    socket.say(null, ref, "phoenix", "phx_reply", { status: "ok", response: {} });
  }
  expect(await delayAfter(1006)).toBe(1_000);
});

test.each([1000, 4500, 4501, 4503, 4509, 4999])("W5 — %d stops it for good", async (code) => {
  const { clock, inbox, live, sockets, states } = start();
  (await live()).end(code);
  await clock.advance(100_000);
  expect([inbox.state, inbox.closeCode, sockets.length, clock.timersCount]).toEqual([
    "stopped",
    code,
    1,
    0,
  ]);
  expect(states).toEqual(["connecting", "joining", "live", "stopped"]);
});

test("W2 — a refused join and a phx_error are tried again over the same socket", async () => {
  const { clock, sockets, inbox } = start();
  await clock.settle();
  const socket = sockets[0]!;
  socket.open();
  const response = { reason: "unavailable" };
  socket.say("1", "1", "inbox", "phx_reply", { status: "error", response });
  expect(inbox.state).toBe("waiting");
  await clock.advance(1_000);
  expect(socket.sent.map(([, , , event]) => event)).toEqual(["phx_join", "phx_join"]);
  const [joinRef] = socket.sent[1]!;
  const joined = { recovered: true, epoch: "e", offset: 0, missed: 0, unread: 0 };
  socket.say(joinRef, joinRef, "inbox", "phx_reply", { status: "ok", response: joined });
  expect(inbox.state).toBe("live");
  socket.say("1", "1", "inbox", "phx_error", {}); // of the first join: stale
  expect(inbox.state).toBe("live");
  socket.say(joinRef, joinRef, "inbox", "phx_error", {});
  expect(inbox.state).toBe("waiting");
  expect(sockets.length).toBe(1);
});

test("CN6 — neither open nor joined within 10 s: given up, tried again", async () => {
  const { clock, sockets, inbox } = start();
  await clock.advance(9_999);
  expect(inbox.state).toBe("connecting");
  await clock.advance(1);
  expect([inbox.state, sockets[0]!.closedWith]).toEqual(["waiting", [undefined]]);
  await clock.advance(1_000);
  sockets[1]!.open();
  await clock.advance(10_000);
  expect([inbox.state, sockets[1]!.closedWith]).toEqual(["waiting", [undefined]]);
  expect(clock.timersCount).toBe(1);
});

test.each(["{", "[]", "1", "[1,2,3,4]"])("a server that says %s is left", async (text) => {
  const { inbox, live } = start();
  (await live()).sayRaw(text);
  expect(inbox.state).toBe("waiting");
});

test.each<InboxState>(["joining", "live", "waiting"])(
  "CN5 — closed by its own callback at %s: no socket, no timer, no further state",
  async (at) => {
    const { clock, live, states, sockets, seen } = start((state, inbox) => {
      if (state === at) inbox().close();
    });
    await clock.settle();
    if (at === "joining") sockets[0]!.open();
    else {
      const socket = await live();
      if (at === "waiting") socket.end(1006);
      else socket.say(...ntf(1));
    }
    await clock.advance(100_000);
    expect([states.at(-1), clock.timersCount, sockets.length, seen]).toEqual(["stopped", 0, 1, []]);
  },
);

test("CN5 — closed while the token is fetched: nothing is opened", async () => {
  const { clock, inbox, sockets } = start();
  inbox.close();
  await clock.advance(100_000);
  expect([inbox.state, sockets.length, clock.timersCount]).toEqual(["stopped", 0, 0]);
});
