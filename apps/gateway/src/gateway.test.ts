// Goal: W4, W5, W10, GW25 and GW32: what time and rates do. Method: real sockets, time by FakeClock.
import { FakeClock } from "@carillon/testkit";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type Fixture, type RawClient, startFixture } from "./testing/gateway-fixture.ts";

const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 5 });

describe("W4, W5, W8 — time and rates", () => {
  let fixture: Fixture;
  let clock: FakeClock;
  const start = async (limits = {}, isRelieved = (): boolean => false): Promise<void> => {
    clock = new FakeClock();
    clock.jumpWallClock(Date.now() - clock.wallClockMs());
    fixture = await startFixture({ clock, limits, isRelieved });
  };
  const readyz = async (): Promise<unknown[]> => {
    const answer = await fetch(`http://127.0.0.1:${fixture.port}/readyz`);
    return [answer.status, await answer.json()];
  };
  const connectMany = async (count: number): Promise<RawClient[]> => {
    const clients = await Promise.all(Array.from({ length: count }, () => fixture.connect()));
    await until(() => expect(fixture.gateway.stats().socketsCount).toBe(count));
    return clients;
  };
  const expectSentAway = async (clients: readonly RawClient[]): Promise<void> => {
    const closings = await Promise.all(clients.map(({ closed }) => closed));
    expect(closings.map(({ code }) => code)).toEqual(clients.map(() => 1012));
    for (const { reason } of closings) {
      const { retryMs, region } = JSON.parse(reason) as { retryMs: number; region: string };
      expect([retryMs >= 0 && retryMs <= 2_000, region]).toEqual([true, "fra"]);
    }
  };
  afterEach(() => fixture.stop());

  test("no token within 10 s: 4501", async () => {
    await start();
    const client = await fixture.connect({ token: null });
    await clock.advance(9_000);
    expect(client.ws.readyState).toBe(client.ws.OPEN);
    await clock.advance(1_000);
    expect(await client.closed).toEqual({ code: 4501, reason: "no token" });
  });

  test("the token expires during the connection: 4001", async () => {
    await start();
    const exp = Math.floor(clock.wallClockMs() / 1_000) + 20;
    const client = await fixture.connect({ token: await fixture.issuer.sign({ exp }) });
    await clock.advance(19_000);
    expect(client.ws.readyState).toBe(client.ws.OPEN);
    await clock.advance(2_000);
    expect(await client.closed).toEqual({ code: 4001, reason: "token expired" });
  });

  test("half open: neither frame nor pong for 38 s: 4011", async () => {
    await start();
    const client = await fixture.connect();
    client.ws.pause(); // sees no ping, sends no pong
    await clock.advance(37_000);
    expect(fixture.gateway.stats().closedTotal).toEqual({});
    await clock.advance(1_000);
    client.ws.resume();
    expect((await client.closed).code).toBe(4011);
  });

  test("pinged every 25 s", async () => {
    await start();
    const client = await fixture.connect();
    let pingsCount = 0;
    client.ws.on("ping", () => pingsCount++);
    for (const expected of [1, 2]) {
      await clock.advance(25_000);
      await until(() => expect(pingsCount).toBe(expected));
    }
  });

  test("pongs, but no frame for 60 s: 4011", async () => {
    await start();
    const client = await fixture.connect();
    for (let second = 0; second < 59; second++) {
      const ponged = new Promise((resolve) => client.ws.once("pong", resolve));
      client.ws.ping(); // its answer shows that the server has read everything before
      await ponged;
      await clock.advance(1_000);
    }
    expect(client.ws.readyState).toBe(client.ws.OPEN);
    await clock.advance(1_000);
    expect(await client.closed).toEqual({ code: 4011, reason: "silent" });
  });

  test("a join that nobody answers within 9.5 s: unavailable, and it can be tried again", async () => {
    await start();
    fixture.owner.stop();
    const client = await fixture.connect();
    client.join();
    await until(() => expect(fixture.gateway.stats().sessionsCount).toBe(1));
    await clock.advance(10_000);
    await until(() =>
      expect(client.reply("1")).toEqual({ status: "error", response: { reason: "unavailable" } }),
    );
    expect(fixture.gateway.stats().sessionsCount).toBe(0);
  });

  test("more than the burst: 4030; acks cost a tenth", async () => {
    await start();
    const acking = await fixture.connect();
    for (let count = 0; count < 1_000; count++) acking.push("ack", { offset: 1 });
    acking.push("ack", { offset: 1 });
    expect((await acking.closed).code).toBe(4030);
    await until(() => expect(acking.frames.length).toBe(1_000));
    const eager = await fixture.connect();
    for (let count = 0; count < 101; count++) eager.send([null, "1", "phoenix", "heartbeat", {}]);
    expect(await eager.closed).toEqual({ code: 4030, reason: "too many messages" });
  });

  test("W10, GW19 — drain: not ready, nobody is let in, sockets close evenly with 1012", async () => {
    await start({ drainMs: 1_000, drainStepMs: 100 });
    const clients = await connectMany(20);
    const drained = fixture.gateway.drain();
    await until(() => expect(fixture.gateway.stats().socketsCount).toBe(18));
    await expect(fixture.connect()).rejects.toThrow("HTTP 503");
    expect(await readyz()).toEqual([503, { status: "draining", isBusConnected: true }]);
    for (let step = 1; step < 10; step++) {
      await clock.advance(100);
      await until(() => expect(fixture.gateway.stats().socketsCount).toBe(18 - 2 * step));
    }
    await drained;
    await expectSentAway(clients);
    await fixture.gateway.drain(); // GW25
  });

  test("GW32, W10 — relieved: nobody is let in, sockets close evenly with 1012; not any more: who is left stays", async () => {
    let isRelieved = false;
    await start({ drainMs: 1_000, drainStepMs: 100 }, () => isRelieved);
    const clients = await connectMany(20);
    isRelieved = true; // seen with the next sweep
    await expect(fixture.connect()).rejects.toThrow("HTTP 503");
    expect(await readyz()).toEqual([503, { status: "relieved", isBusConnected: true }]);
    await clock.advance(999);
    expect(fixture.gateway.stats()).toMatchObject({ socketsCount: 20, isRelieved: true });
    await clock.advance(1);
    await until(() => expect(fixture.gateway.stats().socketsCount).toBe(18));
    for (let step = 1; step < 5; step++) {
      await clock.advance(100);
      await until(() => expect(fixture.gateway.stats().socketsCount).toBe(18 - 2 * step));
    }
    isRelieved = false;
    await clock.advance(5_000);
    expect(await readyz()).toEqual([200, { status: "ready", isBusConnected: true }]);
    clients.push(await fixture.connect());
    expect(clients.filter(({ ws }) => ws.readyState === ws.OPEN)).toHaveLength(11);
    isRelieved = true; // again: those who stayed, and who has come since
    await clock.advance(2_000);
    await expectSentAway(clients);
    await until(() => expect(fixture.gateway.stats().socketsCount).toBe(0));
  });

  test("GW32 — relieved during a handshake: let in and sent away at once", async () => {
    let isRelieved = false;
    await start({}, () => {
      const before = isRelieved; // the handshake is examined, and then is somebody
      isRelieved = true;
      return before;
    });
    await expectSentAway([await fixture.connect()]);
  });

  test("GW32, GW19 — a drain of a relieved node takes over, and closes all over its own window", async () => {
    let isRelieved = false;
    await start({ drainMs: 1_000, drainStepMs: 100 }, () => isRelieved);
    const clients = await connectMany(20);
    isRelieved = true;
    await clock.advance(1_400);
    await until(() => expect(fixture.gateway.stats().socketsCount).toBe(10));
    const drained = fixture.gateway.drain(); // one in 100 ms; the rest of the other plan were two
    for (const _ of [1, 2]) await clock.advance(100);
    await until(() => expect(fixture.gateway.stats().socketsCount).toBe(7));
    expect(await readyz()).toEqual([503, { status: "draining", isBusConnected: true }]);
    expect(fixture.gateway.stats().socketsCount).toBe(7);
    await clock.advance(900);
    await drained;
    await expectSentAway(clients);
  });

  test("GW25 — start, drain and stop twice; after stop the port is free", async () => {
    await start();
    expect(await fixture.gateway.start()).toEqual({ port: fixture.port });
    const client = await fixture.connect();
    await fixture.gateway.stop();
    await fixture.gateway.stop();
    await fixture.gateway.drain();
    expect((await client.closed).code === 1012 || (await client.closed).code === 1006).toBe(true);
    await expect(fixture.connect()).rejects.toThrow("ECONNREFUSED");
    const next = await startFixture({ config: { port: fixture.port } });
    expect(next.port).toBe(fixture.port);
    await next.stop();
  });
});
