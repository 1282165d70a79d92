// Goal: NC1–NC3 of nats-conf.ts. Method: a golden file, nats-server's own check of it, and two real
// regions joined by it, one of them killed and started again.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectBus, type Bus, type BusEvent, type ConnectBusOptions } from "@carillon/bus";
import { systemClock, systemRandom } from "@carillon/kernel";
import { findNatsServer, freePorts, startNatsServer, type NatsServer } from "@carillon/local";
import { afterEach, expect, test } from "vitest";
import { renderNatsConf, type NatsConfOptions } from "./nats-conf.ts";

const TEST_MAX_MS = 90_000;
const REQUEST_MAX_MS = 2_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "carillon-cluster-"));
  cleanUps.push(() => rmSync(folder, { recursive: true }));
  return folder;
}

const FULL: NatsConfOptions = {
  serverName: "fra-a",
  region: "fra",
  clientPort: 4222,
  clusterPort: 6222,
  routes: ["nats://127.0.0.1:6222", "nats://127.0.0.1:6223"],
  gatewayPort: 7222,
  gateways: [
    { region: "fra", urls: ["nats://127.0.0.1:7222"] },
    { region: "lon", urls: ["nats://gw-1.lon.example:7222", "nats://gw-2.lon.example:7222"] },
  ],
  monitorPort: 8222,
  pidFile: "/tmp/fra-a.pid",
  auth: {
    kind: "users",
    users: [
      { user: "worker", password: 'quote " and \\ $HOME', subscribe: ["region.fra.>"] },
      { user: "agent", password: "pw" },
    ],
  },
  peerAuth: { user: "peer", password: "p@ss/word" },
};

test("NC1, NC2, NC3 — the text, to the letter", () => {
  const golden = join(import.meta.dirname, "golden", "nats.conf");
  expect(renderNatsConf(FULL)).toBe(readFileSync(golden, "utf8"));
  expect(() => renderNatsConf({ ...FULL, serverName: "a\nport: 1" })).toThrow("NC1");
  expect(() => renderNatsConf({ ...FULL, routes: ["http://127.0.0.1"] })).toThrow("NC2");
});

test("NC1 — nats-server accepts it, with everything and with the least", async () => {
  const { command } = await findNatsServer();
  const path = join(newFolder(), "nats.conf");
  const { monitorPort: _monitor, auth: _auth, peerAuth: _peerAuth, ...least } = FULL;
  const withToken: NatsConfOptions = { ...least, auth: { kind: "token", token: "t" } };
  for (const options of [FULL, least, withToken]) {
    writeFileSync(path, renderNatsConf(options));
    expect(() => execFileSync(command, ["-t", "-c", path], { stdio: "pipe" })).not.toThrow();
  }
});

interface Region {
  readonly start: () => Promise<NatsServer>;
  readonly connect: (onEvent?: (event: BusEvent) => void) => Promise<Bus>;
}

/** Two regions of one server each, with logins for clients and between servers. */
async function twoRegions(): Promise<{ fra: Region; lon: Region }> {
  const names = ["fra", "lon"] as const;
  const ports = await freePorts(6);
  const gatewayPortOf = (index: number): number => ports[index * 3 + 2]!;
  const folder = newFolder();
  const regionOf = (index: number): Region => {
    const [clientPort, clusterPort] = ports.slice(index * 3) as [number, number];
    const region = names[index]!;
    const configText = renderNatsConf({
      serverName: `${region}-a`,
      region,
      clientPort,
      clusterPort,
      routes: [`nats://127.0.0.1:${clusterPort}`],
      gatewayPort: gatewayPortOf(index),
      gateways: names.map((name, at) => ({
        region: name,
        urls: [`nats://127.0.0.1:${gatewayPortOf(at)}`],
      })),
      pidFile: join(folder, `${region}.pid`),
      auth: { kind: "users", users: [{ user: "worker", password: 'p"w\\d $X' }] },
      peerAuth: FULL.peerAuth!,
    });
    return {
      async start() {
        const server = await startNatsServer({ folder, name: `${region}-a`, configText });
        cleanUps.push(() => server.stop());
        return server;
      },
      async connect(onEvent) {
        const options: ConnectBusOptions = {
          urls: [`nats://127.0.0.1:${clientPort}`],
          name: region,
          clock: systemClock,
          random: systemRandom,
          credentials: { kind: "user", user: "worker", password: 'p"w\\d $X' },
        };
        const bus = await connectBus(onEvent === undefined ? options : { ...options, onEvent });
        cleanUps.push(() => bus.drain());
        return bus;
      },
    };
  };
  return { fra: regionOf(0), lon: regionOf(1) };
}

/** Asks until an answer comes; a gateway that is away means no responders, at once. */
async function untilAnswered(bus: Bus, subject: string): Promise<string> {
  for (;;) {
    const outcome = await bus.request(subject, bytes("?"), REQUEST_MAX_MS);
    if (outcome.kind === "reply") return text(outcome.data);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test(
  "two regions — a request finds the other region's queue group; its own comes first",
  async () => {
    const { fra, lon } = await twoRegions();
    await Promise.all([fra.start(), lon.start()]);
    const [ann, bob] = [await fra.connect(), await lon.connect()];
    bob.subscribe("region.lon.notify", (message) => message.reply(bytes("lon")), {
      queue: "ingest",
    });
    bob.subscribe("shared", (message) => message.reply(bytes("lon")), { queue: "ingest" });
    expect(await untilAnswered(ann, "region.lon.notify")).toBe("lon");
    expect(await untilAnswered(ann, "shared")).toBe("lon");
    const own = ann.subscribe("shared", (message) => message.reply(bytes("fra")), {
      queue: "ingest",
    });
    const answers: string[] = [];
    for (let n = 0; n < 50; n++) answers.push(await untilAnswered(ann, "shared"));
    expect(answers).toEqual(Array(50).fill("fra"));
    own.unsubscribe();
    expect(await untilAnswered(ann, "shared")).toBe("lon");
  },
  TEST_MAX_MS,
);

test(
  "two regions — one's only server is killed: the gateway is back within 5 s of its restart",
  async () => {
    const { fra, lon } = await twoRegions();
    const [, lonServer] = await Promise.all([fra.start(), lon.start()]);
    const ann = await fra.connect();
    const disconnected = Promise.withResolvers<void>();
    const bob = await lon.connect(
      (event) => event.kind === "disconnected" && disconnected.resolve(),
    );
    bob.subscribe("region.lon.notify", (message) => message.reply(bytes("lon")), {
      queue: "ingest",
    });
    ann.subscribe("region.fra.notify", (message) => message.reply(bytes("fra")), {
      queue: "ingest",
    });
    await Promise.all([
      untilAnswered(ann, "region.lon.notify"),
      untilAnswered(bob, "region.fra.notify"),
    ]);

    lonServer.kill("SIGKILL");
    await Promise.all([lonServer.exited, disconnected.promise]);
    expect(ann.isConnected).toBe(true); // its own region's server is another one
    await lon.start();
    const startedAtMs = performance.now();
    const answers = [
      untilAnswered(ann, "region.lon.notify"),
      untilAnswered(bob, "region.fra.notify"),
    ];
    expect(await Promise.all(answers)).toEqual(["lon", "fra"]);
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  },
  TEST_MAX_MS,
);
