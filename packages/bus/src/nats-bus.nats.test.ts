// Goal: BU1–BU5 over real nats-servers that are killed, stopped, cut off and joined by gateways.
// Method: waits for events of the bus; the limits of the tests are generous, not the assertions.
import { execFile } from "node:child_process";
import { createServer, type Socket } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock, systemRandom } from "@carillon/kernel";
import { freePort, freePorts, startNatsServer } from "@carillon/local";
import { afterEach, expect, test } from "vitest";
import type { Bus } from "./bus.ts";
import { busConformance } from "./conformance.ts";
import { connectBus } from "./nats-bus.ts";
import { BusFixture, bytes, text, untilHeard } from "./test-bus.ts";
import { createLine, type Line } from "./test-proxy.ts";

const TEST_MAX_MS = 90_000;
const REQUEST_MAX_MS = 20_000;

const fixture = new BusFixture();
const startServer = fixture.startServer.bind(fixture);
const connected = fixture.connected.bind(fixture);
afterEach(() => fixture.cleanUp());

busConformance("NATS", async () => {
  const folder = mkdtempSync(join(tmpdir(), "carillon-bus-"));
  const configText = `listen: 127.0.0.1:${await freePort()}\nmax_payload: 65536`;
  const server = await startNatsServer({ folder, name: "fra-a", configText });
  const entries = new Map<string, { bus: Bus; line: Line }>();
  const becomes = (bus: Bus, isConnected: boolean): Promise<void> =>
    new Promise((resolve) => {
      if (bus.isConnected === isConnected) resolve();
      bus.onConnection((isNow) => isNow === isConnected && resolve());
    });
  const entryOf = (name: string): { bus: Bus; line: Line } => entries.get(name)!;
  return {
    payloadMaxBytes: 65_536,
    connect: async (name) => {
      const line = await createLine(await freePort(), server.clientUrl);
      const bus = await connectBus({
        urls: [line.url],
        name,
        clock: systemClock,
        random: systemRandom,
      });
      entries.set(name, { bus, line });
      return bus;
    },
    cut: async (name) => {
      const isCut = becomes(entryOf(name).bus, false);
      await entryOf(name).line.cut();
      await isCut;
    },
    heal: async (name) => {
      await entryOf(name).line.heal();
      await becomes(entryOf(name).bus, true);
    },
    stop: async () => {
      for (const { bus, line } of entries.values()) {
        await bus.drain();
        await line.cut();
      }
      await server.stop();
      rmSync(folder, { recursive: true });
    },
  };
});

test(
  "BU1 — kill -9 of the server and its restart: back within 5 s, nothing stale",
  async () => {
    const configText = `listen: 127.0.0.1:${await freePort()}`;
    const server = await startServer(configText);
    const ann = await connected({ urls: [server.clientUrl] });
    const bob = await connected({ urls: [server.clientUrl] });
    const seen: string[] = [];
    bob.bus.subscribe("t", (message) => seen.push(text(message.data)));
    await untilHeard(ann.bus, bob.bus);

    const lost = [ann.nextEvent("disconnected"), bob.nextEvent("disconnected")];
    server.kill("SIGKILL");
    await Promise.all([server.exited, ...lost]);
    for (let n = 0; n < 100; n++)
      expect(ann.bus.publish("t", bytes("stale"))).toEqual({ kind: "disconnected" });
    const back = [ann.nextEvent("connected"), bob.nextEvent("connected")];
    const restarted = await startServer(configText);
    const startedAtMs = performance.now();
    await Promise.all(back);
    const backAfterMs = performance.now() - startedAtMs;
    await untilHeard(ann.bus, bob.bus);
    ann.bus.publish("t", bytes("fresh"));
    await untilHeard(ann.bus, bob.bus);
    expect(seen).toEqual(["fresh"]);
    expect(backAfterMs).toBeLessThan(5_000);
    expect(restarted.clientUrl).toBe(server.clientUrl);
  },
  TEST_MAX_MS,
);

test(
  "BU4 — SIGSTOP of one of two servers: output is bounded, the bus moves to the other",
  async () => {
    const [portA, portB, routeA, routeB] = await freePorts(4);
    const config = (port: number, route: number, other: number): string =>
      `listen: 127.0.0.1:${port}\nserver_name: s${port}\n` +
      `cluster { name: fra, listen: 127.0.0.1:${route}, routes: ["nats://127.0.0.1:${other}"] }`;
    const serverA = await startServer(config(portA!, routeA!, routeB!), "fra-a");
    const serverB = await startServer(config(portB!, routeB!, routeA!), "fra-b");
    const limits = { pingIntervalMs: 500, dialMaxMs: 1_000, outputMaxBytes: 8 * 2 ** 20 };
    const urls = [serverA.clientUrl, serverB.clientUrl];
    const ann = await connected({ urls, limits, random: { ...systemRandom, next: () => 0.1 } });
    expect(ann.events[0]).toEqual({ kind: "connected", server: `127.0.0.1:${portA}` });
    const bob = await connected({ urls: [serverB.clientUrl] });
    await untilHeard(ann.bus, bob.bus);

    const lost = ann.nextEvent("disconnected");
    const moved = lost.then(() => ann.nextEvent("connected"));
    serverA.kill("SIGSTOP");
    // 256 × 64 KiB = 16 MiB into a server that takes nothing: 8 MiB at most are accepted.
    const kinds = Array.from(
      { length: 256 },
      () => ann.bus.publish("t", new Uint8Array(65_536)).kind,
    );
    const sentCount = kinds.filter((kind) => kind === "sent").length;
    expect(kinds).toEqual([
      ...Array<string>(sentCount).fill("sent"),
      ...Array<string>(256 - sentCount).fill("disconnected"),
    ]);
    expect(sentCount).toBe(127); // 128 with nothing else under way: commands count, too
    expect(ann.events.at(-1)).toEqual({ kind: "refused", operation: "publish", reason: "full" });
    expect(await lost).toMatchObject({ server: `127.0.0.1:${portA}`, reason: "stale" });
    expect(await moved).toMatchObject({ server: `127.0.0.1:${portB}` });
    await untilHeard(ann.bus, bob.bus);
    serverA.kill("SIGCONT");
  },
  TEST_MAX_MS,
);

test(
  "BU4 — a long flood over a healthy link is confirmed as it goes: nothing is refused",
  async () => {
    const server = await startServer(`listen: 127.0.0.1:${await freePort()}`);
    const ann = await connected({ urls: [server.clientUrl], limits: { outputMaxBytes: 2 ** 20 } });
    const bob = await connected({ urls: [server.clientUrl] });
    let arrivedCount = 0;
    const all = Promise.withResolvers<void>();
    bob.bus.subscribe("t", () => ++arrivedCount === 2_000 && all.resolve());
    await untilHeard(ann.bus, bob.bus);
    for (let n = 0; n < 2_000; n++) {
      // 8 KiB each, 16 MiB in all: many times the limit, as fast as the link confirms.
      while (ann.bus.publish("t", new Uint8Array(8_192)).kind !== "sent")
        await new Promise((resolve) => setImmediate(resolve));
    }
    await all.promise;
    expect(arrivedCount).toBe(2_000);
  },
  TEST_MAX_MS,
);

test(
  "two regions — one request crosses the gateway; reply and news keep their order (BU5)",
  async () => {
    const [portF, portL, gatewayF, gatewayL] = await freePorts(4);
    const config = (
      region: string,
      port: number,
      gateway: number,
      other: string,
      at: number,
    ): string =>
      `listen: 127.0.0.1:${port}\nserver_name: ${region}-a\n` +
      `gateway { name: ${region}, listen: 127.0.0.1:${gateway}, connect_retries: 1000000\n` +
      `gateways: [{ name: ${other}, urls: ["nats://127.0.0.1:${at}"] }] }`;
    const fra = await startServer(config("fra", portF!, gatewayF!, "lon", gatewayL!), "fra-a");
    const lon = await startServer(config("lon", portL!, gatewayL!, "fra", gatewayF!), "lon-a");
    const ann = (await connected({ urls: [fra.clientUrl] })).bus;
    const bob = (await connected({ urls: [lon.clientUrl] })).bus;
    const cid = (await connected({ urls: [lon.clientUrl] })).bus;
    const handledBy: string[] = [];
    const log: string[] = [];
    const done = Promise.withResolvers<void>();
    for (const [name, bus] of Object.entries({ bob, cid }))
      bus.subscribe(
        "region.lon.notify",
        (message) => {
          handledBy.push(name);
          message.reply(message.data);
          bus.publish("news", message.data);
        },
        { queue: "ingest" },
      );
    ann.subscribe("news", (message) => {
      log.push(`news ${text(message.data)}`);
      if (log.length === 100) done.resolve();
    });
    await Promise.all([untilHeard(ann, bob), untilHeard(ann, cid)]);
    await Promise.all([untilHeard(bob, ann), untilHeard(cid, ann)]);
    for (let n = 0; n < 50; n++) {
      const outcome = await ann.request("region.lon.notify", bytes(String(n)), REQUEST_MAX_MS);
      log.push(`reply ${outcome.kind === "reply" ? text(outcome.data) : outcome.kind}`);
    }
    await done.promise;
    expect(handledBy.length).toBe(50);
    for (let n = 0; n < 50; n++)
      expect(log.indexOf(`reply ${n}`)).toBeLessThan(log.indexOf(`news ${n}`));
  },
  TEST_MAX_MS,
);

test(
  "no server yet — a bus all the same, connected once there is one",
  async () => {
    const port = await freePort();
    const urls = [`nats://127.0.0.1:${port}`];
    const ann = await connected({ urls, limits: { firstConnectMaxMs: 50 } });
    expect(ann.bus.isConnected).toBe(false);
    expect(ann.events[0]).toEqual({
      kind: "connect_failed",
      server: `127.0.0.1:${port}`,
      code: "unreachable",
    });
    const mine = Promise.withResolvers<string>();
    ann.bus.subscribe("mine", (message) => mine.resolve(text(message.data)), { isSole: true });
    expect(ann.bus.publish("mine", bytes("D5"))).toEqual({ kind: "sent" });
    expect(await mine.promise).toBe("D5");
    const connection = ann.nextEvent("connected");
    await startServer(`listen: 127.0.0.1:${port}`);
    expect(await connection).toEqual({ kind: "connected", server: `127.0.0.1:${port}` });
  },
  TEST_MAX_MS,
);

test(
  "credentials — token, user and password; a wrong one is told and tried again",
  async () => {
    const port = await freePort();
    const withToken = `listen: 127.0.0.1:${port}\nauthorization { token: "right" }`;
    const server = await startServer(withToken);
    const urls = [server.clientUrl];
    const right = await connected({ urls, credentials: { kind: "token", token: "right" } });
    expect(right.bus.isConnected).toBe(true);
    const wrong = await connected({
      urls,
      credentials: { kind: "token", token: "wrong" },
      limits: { firstConnectMaxMs: 100, reconnectMinMs: 10, reconnectMaxMs: 20 },
    });
    await wrong.nextEvent("connect_failed");
    const refusal = { kind: "connect_failed", server: `127.0.0.1:${port}`, code: "unauthorized" };
    expect(wrong.events[0]).toEqual(refusal);
    expect(JSON.stringify(wrong.events)).not.toContain("wrong");
    const rotated = wrong.nextEvent("connected");
    server.reload(withToken.replace("right", "wrong"));
    await rotated;

    const users = 'authorization { users: [{ user: "worker", password: "pw" }] }';
    const other = await startServer(`listen: 127.0.0.1:${await freePort()}\n${users}`);
    const credentials = { kind: "user", user: "worker", password: "pw" } as const;
    expect((await connected({ urls: [other.clientUrl], credentials })).bus.isConnected).toBe(true);
  },
  TEST_MAX_MS,
);

test(
  "an IPv6 address, in brackets, is connected to",
  async () => {
    const port = await freePort();
    // Told by its IPv4 address when it is ready: it listens on both.
    const server = await startServer(`host: "::"\nport: ${port}`);
    const ann = await connected({ urls: [`nats://[::1]:${port}`] });
    expect(ann.events).toEqual([{ kind: "connected", server: `[::1]:${port}` }]);
    ann.bus.subscribe("ok", (message) => message.reply(message.data));
    const outcome = await ann.bus.request("ok", bytes("a"), REQUEST_MAX_MS);
    expect(outcome.kind === "reply" && text(outcome.data)).toBe("a");
    expect(server.clientUrl).toContain(String(port));
  },
  TEST_MAX_MS,
);

test(
  "a subscription that the server denies is told, others go on",
  async () => {
    const users =
      'authorization { users: [{ user: "w", password: "p", ' +
      'permissions: { subscribe: ["_INBOX.w.>", "ok"] , publish: ">" } }] }';
    const server = await startServer(`listen: 127.0.0.1:${await freePort()}\n${users}`);
    const credentials = { kind: "user", user: "w", password: "p" } as const;
    const ann = await connected({
      urls: [server.clientUrl],
      credentials,
      inboxPrefix: "_INBOX.w",
    });
    const denied = ann.nextEvent("subscription_denied");
    ann.bus.subscribe("secret", () => undefined);
    ann.bus.subscribe("ok", (message) => message.reply(message.data));
    expect(await denied).toEqual({ kind: "subscription_denied", subject: "secret" });
    const outcome = await ann.bus.request("ok", bytes("a"), REQUEST_MAX_MS);
    expect(outcome.kind === "reply" && text(outcome.data)).toBe("a");
  },
  TEST_MAX_MS,
);

test(
  "BU4 — a server that accepts and never speaks costs one connection at a time",
  async () => {
    const open = new Set<Socket>();
    let acceptedCount = 0;
    const third = Promise.withResolvers<void>();
    let openMaxCount = 0;
    const mute = createServer((socket) => {
      open.add(socket.on("error", () => undefined).on("close", () => open.delete(socket)));
      openMaxCount = Math.max(openMaxCount, open.size);
      if (++acceptedCount === 3) third.resolve();
    });
    const port = await freePort();
    await new Promise<void>((resolve) => mute.listen(port, "127.0.0.1", resolve));
    fixture.onCleanUp(() => mute.close());
    const limits = {
      firstConnectMaxMs: 10,
      dialMaxMs: 100,
      reconnectMinMs: 200,
      reconnectMaxMs: 300,
    };
    const ann = await connected({ urls: [`nats://127.0.0.1:${port}`], limits });
    await third.promise;
    await ann.bus.drain();
    for (const socket of open) socket.destroy();
    expect(openMaxCount).toBe(1);
  },
  TEST_MAX_MS,
);

test(
  "a subscriber that throws is a bug: it surfaces, and the next messages still arrive",
  async () => {
    const server = await startServer(`listen: 127.0.0.1:${await freePort()}`);
    // A program of its own: an uncaught error would end this one.
    const index = JSON.stringify(join(import.meta.dirname, "index.ts"));
    const kernel = JSON.stringify(import.meta.resolve("@carillon/kernel"));
    const program = `
    const { connectBus } = await import(${index});
    const { systemClock: clock, systemRandom: random } = await import(${kernel});
    process.on("uncaughtException", (bug) => console.log("surfaced", bug.message));
    const bus = await connectBus({ urls: [process.argv[1]], name: "p", clock, random });
    bus.subscribe("t", (message) => {
      if (message.data.length === 0) throw new Error("bug");
      console.log("arrived");
      void bus.drain();
    });
    bus.publish("t", new Uint8Array());
    bus.publish("t", new Uint8Array(1));`;
    const args = ["--input-type=module", "-e", program, server.clientUrl];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
    expect(stdout.trim().split("\n").toSorted()).toEqual(["arrived", "surfaced bug"]);
  },
  TEST_MAX_MS,
);
