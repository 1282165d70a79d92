// Goal: GW26, GW27: a client whose token is refused comes seldom, and hears why. Method: the stock
// `phoenix` client (1.8) with its own back-off, and raw sockets; time by FakeClock but for one test.
import { systemClock } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { Socket } from "phoenix";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  type Fixture,
  type FixtureOptions,
  type Issuer,
  startFixture,
} from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });
const HOLD = { refusedHoldMinMs: 1_000, refusedHoldMaxMs: 5_000 };
const HALF = 3_000; // of which a `random` of 0.5 makes this

let fixture: Fixture;
let clock: FakeClock;
const sockets: Socket[] = [];
const start = async (options: Partial<FixtureOptions> = {}): Promise<void> => {
  clock = new FakeClock();
  clock.jumpWallClock(Date.now() - clock.wallClockMs());
  const random = { next: () => 0.5, bytes: (count: number) => new Uint8Array(count) };
  const limits = { ...HOLD, ...options.limits };
  fixture = await startFixture({ clock, random, ...options, limits });
};
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.disconnect();
  await fixture.stop();
});

/** A client as an application would write it, with a token that never changes. */
function phoenix(token: string, isInJoin = false): { reasons: string[] } {
  const url = `ws://127.0.0.1:${fixture.port}/socket`;
  const socket = new Socket(url, isInJoin ? {} : { authToken: token });
  sockets.push(socket);
  socket.connect();
  const reasons: string[] = [];
  socket
    .channel("inbox", isInJoin ? { token } : {})
    .join()
    .receive("error", ({ reason }: { reason: string }) => void reasons.push(reason));
  return { reasons };
}

const expired = (issuer: Issuer): Promise<string> => issuer.sign({ exp: 1_000 });
const invalid = (): Promise<string> => Promise.resolve("nonsense");

describe("GW26 — a stock client", () => {
  test.each([
    ["expired", false, expired, 4001, "token_expired"],
    ["not valid", false, invalid, 4501, "unauthenticated"],
    ["expired, in the join", true, expired, 4001, "token_expired"],
    ["not valid, in the join", true, invalid, 4501, "unauthenticated"],
  ] as const)("whose token is %s: one attempt a hold", async (_, isInJoin, tokenOf, code, why) => {
    await start();
    const { reasons } = phoenix(await tokenOf(fixture.issuer), isInJoin);
    const counts = (): number[] => {
      const { acceptedTotal, refusedSocketsCount, socketsCount } = fixture.gateway.stats();
      return [acceptedTotal, refusedSocketsCount, socketsCount];
    };
    await until(() => expect(reasons.length >= 1).toBe(true));
    for (let attempt = 1; attempt <= 3; attempt++) {
      await until(() => expect(counts()).toEqual([attempt, 1, 1]));
      await clock.advance(HALF - 1);
      expect(counts()).toEqual([attempt, 1, 1]);
      await clock.advance(1);
      await until(() => expect(fixture.gateway.stats().closedTotal).toEqual({ [code]: attempt }));
    }
    expect(new Set(reasons)).toEqual(new Set([why]));
  });

  test("at most one attempt a second, by the clock on the wall", async () => {
    fixture = await startFixture({ limits: { ...HOLD, refusedHoldMaxMs: 1_200 } });
    const startedAtMs = systemClock.monotonicMs();
    phoenix(await expired(fixture.issuer));
    await until(() => expect(fixture.gateway.stats().acceptedTotal).toBe(4));
    expect(systemClock.monotonicMs() - startedAtMs >= 3_000).toBe(true);
    expect(fixture.gateway.stats().closedTotal).toEqual({ 4001: 3 });
  });
});

describe("GW26 — what a held client meets", () => {
  test("joins are answered with the reason, heartbeats as ever; then the code comes", async () => {
    await start();
    const client = await fixture.connect({ token: await expired(fixture.issuer) });
    client.join();
    client.join({ token: await fixture.issuer.sign() }, "2"); // refused is refused
    client.send([null, "3", "phoenix", "heartbeat", {}]);
    await until(() => expect(client.frames.length).toBe(3));
    const refused = { status: "error", response: { reason: "token_expired" } };
    expect(["1", "2", "3"].map((ref) => client.reply(ref))).toEqual([
      refused,
      refused,
      { status: "ok", response: {} },
    ]);
    await clock.advance(HALF);
    expect(await client.closed).toEqual({ code: 4001, reason: "token expired" });
    expect(fixture.owner.opens).toEqual([]);
  });

  test("a hold longer than the time for a token: the code is that of the token", async () => {
    await start({ limits: { authenticationMaxMs: 2_000 } });
    const client = await fixture.connect({ token: null });
    client.join({ token: await expired(fixture.issuer) });
    await until(() => expect(client.reply("1")?.["status"]).toBe("error"));
    await clock.advance(HALF);
    expect(await client.closed).toEqual({ code: 4001, reason: "token expired" });
  });

  test("it leaves by itself, and nothing of it stays", async () => {
    await start();
    const { timersCount } = clock;
    const client = await fixture.connect({ token: "nonsense" });
    expect([fixture.gateway.stats().refusedSocketsCount, clock.timersCount]).toEqual([
      1,
      timersCount + 1,
    ]);
    client.ws.close();
    await until(() => expect(fixture.gateway.stats().socketsCount).toBe(0));
    expect([fixture.gateway.stats().refusedSocketsCount, clock.timersCount]).toEqual([
      0,
      timersCount,
    ]);
  });

  test("a drain closes it as any other: 1012", async () => {
    await start({ limits: { drainMs: 100 } });
    const client = await fixture.connect({ token: "nonsense" });
    const drained = fixture.gateway.drain();
    await clock.advance(100);
    expect((await client.closed).code).toBe(1012);
    await drained;
    expect(fixture.gateway.stats().refusedSocketsCount).toBe(0);
  });
});

test("GW27 — no room to hold another: 503, while good tokens are let in", async () => {
  await start({ limits: { socketsMax: 20, refusedSocketsShare: 0.1 } });
  const token = await expired(fixture.issuer);
  const held = [await fixture.connect({ token }), await fixture.connect({ token })];
  await expect(fixture.connect({ token })).rejects.toThrow("HTTP 503");
  const { refusedSocketsCount, refusedTotal } = fixture.gateway.stats();
  expect([refusedSocketsCount, refusedTotal]).toEqual([2, 1]);
  const good = await fixture.connect();
  good.join();
  await until(() => expect(good.reply("1")?.["status"]).toBe("ok"));
  const late = await fixture.connect({ token: null });
  late.join({ token }); // has its socket already
  await until(() => expect(fixture.gateway.stats().refusedSocketsCount).toBe(3));
  await clock.advance(HALF);
  for (const client of [...held, late]) expect((await client.closed).code).toBe(4001);
  await fixture.connect({ token });
  expect(fixture.gateway.stats().refusedSocketsCount).toBe(1);
});

test("GW27 — a held socket counts to the limit of all sockets", async () => {
  await start({ limits: { socketsMax: 1 } });
  await fixture.connect({ token: "nonsense" });
  await expect(fixture.connect()).rejects.toThrow("HTTP 503");
});
