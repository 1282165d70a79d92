// packages/channels/src/webhook-sender.test.ts
// Goal: WH1 and WH3–WH6. Method: real receivers over TLS on loopback that answer in every way that
// receivers do, the sender as it is, and signatures checked by the library that receivers use.
import { createServer, type AddressInfo, type Socket } from "node:net";
import { inspect } from "node:util";
import { FakeClock } from "@carillon/testkit";
import { systemClock } from "@carillon/kernel";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  deriveWebhookSecret,
  WEBHOOK_LIMITS,
  type WebhookOutcome,
  type WebhookSender,
} from "./index.ts";
import {
  codeOf,
  HOST,
  postTo,
  type Receiver,
  type SenderWish,
  senderFor,
  SERVER_KEY,
  startReceiver,
} from "./test-receiver.ts";

let receiver: Receiver;
const senders: WebhookSender[] = [];
const sender = (wish?: SenderWish): WebhookSender => {
  senders.push(senderFor(wish));
  return senders.at(-1)!;
};

beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  await receiver.close(); // first: it ends what it has left open
  for (const one of senders.splice(0)) await one.close();
});

describe("what is sent", () => {
  test("WH1 — receivers' own library takes it, and nothing that was changed on the way", async () => {
    const post = postTo(receiver);
    expect(await sender().post(post)).toEqual({ kind: "accepted", status: 204 });
    const [{ method, url, headers, body } = {} as never] = receiver.received;
    expect([method, url, body]).toEqual([
      "POST",
      "/hook/s3cret-path?token=s3cret-query",
      post.body,
    ]);
    expect(headers["content-type"]).toBe("application/json");
    expect(headers["webhook-id"]).toBe(post.id);
    const theirs = new Webhook(deriveWebhookSecret(SERVER_KEY, "acme"));
    const plain = headers as Record<string, string>;
    expect(theirs.verify(body, plain)).toEqual(JSON.parse(post.body));
    expect(() => theirs.verify(body.replace("overdue", "over"), plain)).toThrow("No matching");
    for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"])
      expect(() => theirs.verify(body, { ...plain, [name]: `${plain[name]}0` })).toThrow(/./);
    const others = new Webhook(deriveWebhookSecret(SERVER_KEY, "other"));
    expect(() => others.verify(body, plain)).toThrow("No matching");
  });

  test("WH1 — an attempt of long ago is refused by receivers: its time is signed", async () => {
    await sender().post(postTo(receiver, { timestampMs: systemClock.wallClockMs() - 3_600_000 }));
    const [{ headers, body } = {} as never] = receiver.received;
    const theirs = new Webhook(deriveWebhookSecret(SERVER_KEY, "acme"));
    expect(() => theirs.verify(body, headers as Record<string, string>)).toThrow("too old");
  });

  test("WH1 — while a secret is exchanged, both the old and the new one fit", async () => {
    const secrets = ["new", "old"].map((key) => deriveWebhookSecret(key, "acme"));
    await sender({ deps: { secretsOf: () => Promise.resolve(secrets) } }).post(postTo(receiver));
    const [{ headers, body } = {} as never] = receiver.received;
    for (const secret of secrets)
      expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toBeTruthy();
  });

  test("WH4 — many at once over few connections, each received once", async () => {
    const one = sender();
    const posts = Array.from({ length: 250 }, () => postTo(receiver));
    const outcomes = await Promise.all(posts.map((post) => one.post(post)));
    expect(new Set(outcomes.map(codeOf))).toEqual(new Set(["accepted"]));
    const ids = receiver.received.map(({ headers }) => String(headers["webhook-id"]));
    expect(ids.length).toBe(posts.length);
    expect(new Set(ids)).toEqual(new Set(posts.map(({ id }) => id)));
    expect(receiver.connectionsCount()).toBeLessThanOrEqual(8);
    expect(one.counts()).toEqual({ running: 0, waiting: 0 });
  });
});

describe("what is answered", () => {
  test.each([
    [200, "accepted"],
    [202, "accepted"],
    [301, "refused redirected"],
    [302, "refused redirected"],
    [304, "refused redirected"],
    [307, "refused redirected"],
    [308, "refused redirected"],
    [400, "refused rejected"],
    [401, "refused rejected"],
    [404, "refused rejected"],
    [408, "failed unavailable"],
    [410, "refused gone"],
    [413, "refused rejected"],
    [425, "failed unavailable"],
    [429, "failed throttled"],
    [500, "failed unavailable"],
    [502, "failed unavailable"],
    [503, "failed unavailable"],
    [599, "failed unavailable"],
  ])("WH3, WH6 — %i is %s, and no redirect is followed", async (status, code) => {
    const location = `https://${HOST}:${receiver.port}/elsewhere`;
    receiver.answer((response) => response.writeHead(status, { location }).end("why"));
    const outcome = await sender().post(postTo(receiver));
    expect(codeOf(outcome)).toBe(code);
    expect(outcome).toHaveProperty("status", status);
    expect(receiver.received.length).toBe(1);
  });

  test.each([
    [429, "7", 7_000],
    [503, "7", 7_000],
    [503, "99999999", 3_600_000],
    [503, "soon", undefined],
    [429, undefined, undefined],
  ])("WH3 — %i with Retry-After %s: after %s ms", async (status, header, retryAfterMs) => {
    receiver.answer((response) => {
      if (header !== undefined) response.setHeader("retry-after", header);
      response.writeHead(status).end();
    });
    const outcome = await sender().post(postTo(receiver));
    expect(outcome).toEqual({
      kind: "failed",
      code: status === 429 ? "throttled" : "unavailable",
      status,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  });

  test("WH6 — a body without an end is cut off at its bound, and the head has decided", async () => {
    let written = 0;
    const cut = new Promise<void>((resolve) => {
      receiver.answer((response, _, socket) => {
        socket.once("close", resolve);
        response.writeHead(200);
        const more = (): void => {
          while (!response.destroyed && written < 100_000_000) {
            written += 65_536;
            if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
          }
        };
        more();
      });
    });
    expect(await sender().post(postTo(receiver))).toEqual({ kind: "accepted", status: 200 });
    await cut;
    expect(written).toBeLessThan(20_000_000); // what was in buffers, not what there was
  });

  test.each([
    [
      "a head that is too large",
      "bad_answer",
      `HTTP/1.1 200 OK\r\nx: ${"y".repeat(32_768)}\r\n\r\n`,
    ],
    ["what is not HTTP", "bad_answer", "SSH-2.0-OpenSSH_9.2p1\r\n"],
    ["half a head", "reset", "HTTP/1.1 200 OK\r\ncontent-le"],
    ["nothing", "reset", ""],
  ])("WH3 — %s is %s", async (_, code, text) => {
    receiver.answer((__, ___, socket) => socket.end(text));
    expect(codeOf(await sender().post(postTo(receiver)))).toBe(`failed ${code}`);
  });

  test("WH3 — a connection that is reset is `reset`, before an answer and in its midst", async () => {
    receiver.answer((_, __, socket) => socket.destroy());
    expect(codeOf(await sender().post(postTo(receiver)))).toBe("failed reset");
    receiver.answer((response, _, socket) => {
      response.writeHead(200, { "content-length": 100 });
      response.write("some", () => socket.destroy());
    });
    expect(codeOf(await sender().post(postTo(receiver)))).toBe("accepted"); // the head was whole
  });
});

describe("the deadline", () => {
  /** As the receiver leaves it: nothing, a head that drips, a body that drips. */
  const STALLS: readonly [string, string, (socket: Socket) => void][] = [
    ["answers nothing", "failed timeout", () => undefined],
    ["begins a head and stops", "failed timeout", (socket) => socket.write("HTTP/1.1 200 OK\r\n")],
    [
      "sends interim answers only",
      "failed timeout",
      (socket) => socket.write("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(3)),
    ],
    [
      "begins a body and stops",
      "accepted",
      (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome"),
    ],
  ];

  test.each(STALLS)("WH4 — a receiver that %s: %s at the deadline", async (_, code, stall) => {
    const clock = new FakeClock();
    const reached = new Promise<void>((resolve) => {
      receiver.answer((__, ___, socket) => {
        stall(socket);
        resolve();
      });
    });
    const posting = sender({ deps: { clock } }).post(postTo(receiver));
    let outcome: WebhookOutcome | undefined;
    void posting.then((value) => (outcome = value));
    await reached;
    await clock.advance(WEBHOOK_LIMITS.deadlineMs - 1);
    expect(outcome).toBeUndefined();
    await clock.advance(1);
    expect(codeOf(await posting)).toBe(code);
  });

  test("WH4 — a server that takes connections and says no word of TLS", async () => {
    const clock = new FakeClock();
    const connected = new Promise<Socket>((resolve) => silent.once("connection", resolve));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    const posting = sender({ deps: { clock } }).post(
      postTo(receiver, { url: `https://${HOST}:${port}/` }),
    );
    const socket = await connected;
    await clock.advance(WEBHOOK_LIMITS.deadlineMs);
    expect(codeOf(await posting)).toBe("failed timeout");
    socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });
  const silent = createServer();

  test("WH4 — name servers and secrets that never come", async () => {
    const clock = new FakeClock();
    const never = (): Promise<never> => new Promise(() => undefined);
    for (const [deps, code] of [
      [{ resolve: never }, "failed timeout"],
      [{ secretsOf: never }, "failed no_secret"],
      [{ secretsOf: () => Promise.reject(new Error("no store")) }, "failed no_secret"],
      [{ secretsOf: () => [] }, "failed no_secret"],
    ] as const) {
      const posting = sender({ deps: { clock, ...deps } }).post(postTo(receiver));
      await clock.advance(WEBHOOK_LIMITS.deadlineMs);
      expect(codeOf(await posting)).toBe(code);
    }
    expect(receiver.received).toEqual([]);
  });

  test("WH4 — who waits for a turn has a time for it, and one slow host holds up no other", async () => {
    const clock = new FakeClock();
    const one = sender({ deps: { clock }, limits: { waitingPerLaneMax: 2 } });
    const held: (() => void)[] = [];
    const allReached = new Promise<void>((resolve) => {
      receiver.answer((response) => {
        held.push(() => response.writeHead(204).end());
        if (held.length === 8) resolve();
      });
    });
    const slow = Array.from({ length: 8 }, () => one.post(postTo(receiver)));
    await allReached;
    const early = one.post(postTo(receiver));
    await clock.advance(WEBHOOK_LIMITS.turnMaxMs - 1);
    expect(one.counts()).toEqual({ running: 8, waiting: 1 });
    await clock.advance(1);
    expect(codeOf(await early)).toBe("failed busy");
    await clock.advance(1_000);
    const late = [one.post(postTo(receiver)), one.post(postTo(receiver))];
    expect(codeOf(await one.post(postTo(receiver)))).toBe("failed busy"); // too many wait
    const other = await startReceiver({ dnsNames: ["fast.example.com"] });
    const fast = postTo(other, { url: `https://fast.example.com:${other.port}/` });
    expect(codeOf(await one.post(fast))).toBe("accepted");
    receiver.answer((response) => response.writeHead(204).end());
    await clock.advance(WEBHOOK_LIMITS.deadlineMs - WEBHOOK_LIMITS.turnMaxMs - 1_000);
    expect((await Promise.all(slow)).map(codeOf)).toEqual(slow.map(() => "failed timeout"));
    expect((await Promise.all(late)).map(codeOf)).toEqual(["accepted", "accepted"]);
    expect(one.counts()).toEqual({ running: 0, waiting: 0 });
    expect(clock.timersCount).toBe(0);
    await other.close();
  });
});

describe("what goes wrong before", () => {
  test.each([
    ["another name's", { dnsNames: ["other.example.org"] }],
    ["one that has ended", { daysValid: -1 }],
  ])("WH3 — a certificate that is %s is `tls`, and nothing is sent", async (_, wish) => {
    const other = await startReceiver(wish);
    expect(codeOf(await sender().post(postTo(other)))).toBe("failed tls");
    expect(other.received).toEqual([]);
    await other.close();
  });

  test("WH3 — a certificate of an authority that nobody knows is `tls`", async () => {
    expect(codeOf(await sender({ ca: null }).post(postTo(receiver)))).toBe("failed tls");
    expect(receiver.received).toEqual([]);
  });

  test("WH3 — plain HTTP where TLS should be is `tls`; nobody there is `connect`", async () => {
    const plain = createServer((socket) => socket.resume().end("HTTP/1.1 200 OK\r\n\r\n"));
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    const url = `https://${HOST}:${(plain.address() as AddressInfo).port}/`;
    expect(codeOf(await sender().post(postTo(receiver, { url })))).toBe("failed tls");
    await new Promise((resolve) => plain.close(resolve));
    expect(codeOf(await sender().post(postTo(receiver, { url })))).toBe("failed connect");
  });

  test("WH3 — of two addresses one that is dead is passed over; of dead ones only it is `connect`", async () => {
    const at = (...addresses: string[]) =>
      sender({
        policy: { allow: ["127.0.0.0/8"] },
        deps: { resolve: () => Promise.resolve(addresses) },
      });
    expect(codeOf(await at("127.0.0.2", "127.0.0.1").post(postTo(receiver)))).toBe("accepted");
    expect(codeOf(await at("127.0.0.2", "127.0.0.3").post(postTo(receiver)))).toBe(
      "failed connect",
    );
  });

  test("WH3 — no name, our own body too large, an id that is no header", async () => {
    const resolve = (): Promise<never> => Promise.reject(new Error("ENOTFOUND"));
    expect(codeOf(await sender({ deps: { resolve } }).post(postTo(receiver)))).toBe("failed dns");
    const resolveNone = (): Promise<string[]> => Promise.resolve([]);
    const none = sender({ deps: { resolve: resolveNone } });
    expect(codeOf(await none.post(postTo(receiver)))).toBe("failed dns");
    const large = postTo(receiver, { body: "ä".repeat(32_769) });
    expect(codeOf(await sender().post(large))).toBe("refused too_large");
    for (const id of ["", "a b", "a\r\nx: y", "ä", "a".repeat(257)])
      expect(codeOf(await sender().post(postTo(receiver, { id })))).toBe("refused malformed_id");
    expect(receiver.received).toEqual([]);
  });
});

describe("the end", () => {
  test("WH4 — what is under way ends by itself, what waits and what comes is told `closed`", async () => {
    const one = sender({ limits: { runningPerHostMax: 1 } });
    let answer = (): void => undefined;
    const reached = new Promise<void>((resolve) => {
      receiver.answer((response) => {
        answer = () => response.writeHead(204).end();
        resolve();
      });
    });
    const posting = one.post(postTo(receiver));
    await reached;
    const waiting = one.post(postTo(receiver));
    const closing = one.close();
    expect(codeOf(await waiting)).toBe("failed closed");
    expect(codeOf(await one.post(postTo(receiver)))).toBe("failed closed");
    answer();
    expect(codeOf(await posting)).toBe("accepted");
    await closing;
    await one.close();
  });
});

test("WH5 — no outcome and no event holds anything of an endpoint, a secret or a body", async () => {
  const seen: unknown[] = [];
  const deps = { onPosted: (...event: unknown[]) => seen.push(event) };
  const outcomes: WebhookOutcome[] = [];
  const run = async (wish: SenderWish, more = {}): Promise<void> =>
    void outcomes.push(
      await sender({ ...wish, deps: { ...deps, ...wish.deps } }).post(postTo(receiver, more)),
    );
  await run({});
  await run({ ca: null });
  await run({ policy: { allow: [] } });
  await run({}, { url: "https://user:s3cret@hook.example.com/" });
  await run({}, { url: `https://${HOST}:1/s3cret` });
  await run({ deps: { resolve: () => Promise.reject(new Error("s3cret")) } });
  receiver.answer((response) => response.writeHead(500, { "x-s3cret": "s3cret" }).end("s3cret"));
  await run({});
  expect(outcomes.map(codeOf)).toEqual([
    "accepted",
    "failed tls",
    "refused endpoint",
    "refused endpoint",
    "failed connect",
    "failed dns",
    "failed unavailable",
  ]);
  expect(seen.length).toBe(outcomes.length);
  const told = inspect([seen, outcomes], { depth: 9, showHidden: true });
  expect(told).not.toMatch(/s3cret|whsec_|example\.com|127\.0\.0\.1|hook/);
});
