// Goal: NC1–NC6 of nats-conf.ts. Method: golden files, nats-server's own check of them, and two real
// regions joined by it, one of them killed and started again.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bus, type BusEvent, connectBus, type ConnectBusOptions } from "@carillon/bus";
import { createNatsKey } from "@carillon/bus";
import { systemClock, systemRandom } from "@carillon/kernel";
import { findNatsServer, freePorts, startNatsServer, type NatsServer } from "@carillon/local";
import { createTestPki } from "@carillon/testkit";
import { afterEach, expect, test } from "vitest";
import { renderNatsConf, type NatsConfOptions } from "./nats-conf.ts";
import { isVersionAtLeast } from "./nats-conf-text.ts";
import { NATS_ROLES } from "./nats-permissions.ts";

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

/** For golden files; a real key has the same form. */
const nkeyOf = (name: string): string => `U${name.toUpperCase().padEnd(55, "A")}`;
const KEYS = { ingest: [nkeyOf("ingest")], worker: [nkeyOf("worker"), nkeyOf("next")] };
const MORE_KEYS = {
  gateway: [nkeyOf("gateway")],
  agent: [nkeyOf("agent")],
  node: [nkeyOf("node")],
};

const LEAST: NatsConfOptions = {
  serverName: "fra-a",
  region: "fra",
  clientPort: 4222,
  clusterPort: 6222,
  routes: [],
  gatewayPort: 7222,
  gateways: [
    { region: "fra", urls: ["nats://127.0.0.1:7222"] },
    { region: "lon", urls: ["nats://gw-1.lon.example:7222", "nats://gw-2.lon.example:7222"] },
  ],
  pidFile: "/tmp/fra-a.pid",
};
const FULL: NatsConfOptions = {
  ...LEAST,
  host: "0.0.0.0",
  routes: ["nats://10.40.0.11:6222", "nats://10.40.1.11:6222"],
  monitorPort: 8222,
  auth: { kind: "roles", keys: { ...KEYS, ...MORE_KEYS } },
  peerAuth: { user: "peer", password: 'p@ss/word " \\ $HOME' },
  tls: {
    certPath: "/etc/carillon/nats/server.pem",
    keyPath: "/etc/carillon/nats/server-key.pem",
    caPath: "/etc/carillon/nats/ca.pem",
    routeName: "nats.carillon.internal",
  },
};

test("NC1, NC2, NC3, NC5 — the text, to the letter, for each kind of region and version", () => {
  const golden = (name: string): string =>
    readFileSync(join(import.meta.dirname, "golden", `${name}.conf`), "utf8");
  expect(renderNatsConf(LEAST)).toBe(golden("nats-least"));
  expect(renderNatsConf({ ...FULL, version: "2.9.10" })).toBe(golden("nats-2.9"));
  expect(renderNatsConf({ ...FULL, version: "2.11.4" })).toBe(golden("nats-2.11"));
  for (const [version, like] of [
    ["2.10.27", "2.9.10"],
    ["2.15.1", "2.11.4"],
    ["3.0.0", "2.11.4"],
  ] as const)
    expect(renderNatsConf({ ...FULL, version })).toBe(renderNatsConf({ ...FULL, version: like }));
  expect(() => renderNatsConf({ ...LEAST, serverName: "a\nport: 1" })).toThrow("NC1");
  expect(() => renderNatsConf({ ...LEAST, routes: ["http://127.0.0.1"] })).toThrow("NC2");
  expect(() => renderNatsConf({ ...FULL, version: "latest" })).toThrow("NC4");
  const withKeys = (keys: object): NatsConfOptions => ({ ...LEAST, auth: { kind: "roles", keys } });
  expect(() => renderNatsConf(withKeys({ worker: ["SU_A_SEED"] }))).toThrow("NC5");
  expect(() => renderNatsConf(withKeys({ wroker: [nkeyOf("worker")] }))).toThrow("NP1");
});

test("NC6 — a server that would be open to everybody is not written", () => {
  const rendered = (more: Partial<NatsConfOptions>) => () => renderNatsConf({ ...LEAST, ...more });
  const noUser = "has at least one user";
  expect(rendered({ auth: { kind: "roles", keys: {} } })).toThrow(noUser);
  expect(rendered({ auth: { kind: "roles", keys: { gateway: [], node: [] } } })).toThrow(noUser);
  expect(rendered({ auth: { kind: "users", users: [] } })).toThrow(noUser);
  expect(rendered({ auth: { kind: "token", token: "" } })).toThrow("NC6 auth of kind token");
  for (const ports of [
    { clientPort: LEAST.clusterPort },
    { clusterPort: LEAST.gatewayPort },
    { gatewayPort: LEAST.clientPort },
  ])
    expect(rendered(ports)).toThrow("three different ports");
  const { auth, tls, peerAuth } = FULL;
  for (const host of ["0.0.0.0", "::", "10.40.0.11", "fra-a.internal"]) {
    expect(rendered({ host, tls: tls!, peerAuth: peerAuth! })).toThrow("NC6 auth is needed");
    expect(rendered({ host, auth: auth! })).toThrow("NC6 tls or peerAuth is needed");
    expect(rendered({ host, auth: auth!, tls: tls! })).not.toThrow();
    expect(rendered({ host, auth: auth!, peerAuth: peerAuth! })).not.toThrow();
  }
  for (const host of ["127.0.0.1", "127.3.0.1", "::1", "localhost"])
    expect(rendered({ host })).not.toThrow();
});

test("NC1, NC4 — nats-server accepts and starts it, and only what its version knows", async () => {
  const { command, version } = await findNatsServer();
  const folder = newFolder();
  const path = join(folder, "nats.conf");
  const checked = (options: NatsConfOptions): string => {
    writeFileSync(path, renderNatsConf(options));
    try {
      execFileSync(command, ["-t", "-c", path], { stdio: "pipe" });
      return "valid";
    } catch (cause) {
      return String((cause as { stderr?: Buffer }).stderr);
    }
  };
  const pki = createTestPki(folder);
  const certificate = pki.issue("fra-a", { dnsNames: ["localhost"] });
  const [clientPort, clusterPort, gatewayPort, monitorPort] = await freePorts(4);
  const ports = { clientPort: clientPort!, clusterPort: clusterPort!, gatewayPort: gatewayPort! };
  const pidFile = join(folder, "fra-a.pid");
  const tls = { ...certificate, caPath: pki.caPath, routeName: "localhost" };
  const gateways = [{ region: "fra", urls: [`nats://localhost:${gatewayPort}`] }];
  const least = { ...LEAST, ...ports, pidFile, gateways };
  const keys = NATS_ROLES.map((role) => [role, [createNatsKey().publicKey]] as const);
  const auth = { kind: "roles", keys: Object.fromEntries(keys), homes: ["fra", "lon"] } as const;
  const full = { ...FULL, ...least, auth, tls, version, monitorPort: monitorPort! };
  const cases: NatsConfOptions[] = [
    least,
    { ...least, tls },
    { ...least, auth: { kind: "token", token: "t" } },
    { ...least, auth: { kind: "users", users: [{ user: "a", password: 'quote " \\ $X' }] } },
    full,
  ];
  for (const options of cases) {
    expect(checked(options)).toBe("valid");
    const configText = renderNatsConf(options);
    const server = await startNatsServer({ folder, name: "fra-a", configText });
    expect(await server.stop()).toBe("stopped");
  }
  const isTaken = checked({ ...full, version: "2.11.0" }) === "valid"; // refused: min_version
  expect(isTaken).toBe(isVersionAtLeast(version, "2.11"));
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
      peerAuth: { user: "peer", password: "p@ss/word" },
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
