// Goal: C9: who has the tag is tried, and nothing more. Method: an EC2 API names three instances of
// this cluster, the unmodified SDK finds them, and what it found is the routes of nats.conf. Two are
// ours; the third runs a nats-server and a member as well, with what a stranger can have. Real
// servers with TLS, each at an address of its own.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BusEvent, type BusTls, connectBus, createNatsKey, type NatsKey } from "@carillon/bus";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { freePorts, startNatsServer } from "@carillon/local";
import { createTestPki, type TestPki } from "@carillon/testkit";
import { afterEach, expect, test } from "vitest";
import { createEc2TagsSource } from "./discovery/ec2-tags-source.ts";
import { routesOf } from "./discovery/nats-routes.ts";
import { pageOf, startFakeEc2 } from "./discovery/test-ec2.ts";
import { createMembership } from "./membership.ts";
import { renderNatsConf } from "./nats-conf.ts";
import { natsInboxPrefixOf } from "./nats-permissions.ts";
import { until } from "./test-topology.ts";

const TEST_MAX_MS = 120_000;
const CERTIFIED = "nats.carillon.example";
const HOSTS = { "fra-a": "127.0.0.1", "fra-b": "127.0.0.2", stranger: "127.0.0.3" } as const;
type Name = keyof typeof HOSTS;
const NAMES = Object.keys(HOSTS) as Name[];
/** What a server of 2.9 writes down of a route that it does not let in. */
const REFUSAL = /rid:\d+ - (TLS route handshake error|authentication error|.*authorization)/i;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

/** The addresses of all that have the tag, as discovery tells them. */
async function discovered(): Promise<readonly { id: string; address: string }[]> {
  const instances = Object.entries(HOSTS).map(([id, privateIp]) => ({ id, privateIp }));
  const { endpoint } = await startFakeEc2(() => pageOf(instances));
  const source = createEc2TagsSource({
    region: "fra",
    awsRegion: "eu-central-1",
    cluster: "acme-prod",
    role: "nats",
    addressKind: "private-ipv4",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    endpoint,
  });
  const found = await source.find(AbortSignal.timeout(30_000));
  if (found.kind !== "found") throw new Error(found.detail);
  return found.candidates;
}

interface Login {
  readonly key: NatsKey;
  readonly pki: TestPki;
}

interface Lack {
  readonly password?: string;
  readonly isPlain?: boolean; // no TLS
}

/** Ours run when this resolves, and are joined; the stranger is in their routes and does not run. */
async function startRegion() {
  const folder = mkdtempSync(join(tmpdir(), "carillon-candidates-"));
  cleanUps.push(() => rmSync(folder, { recursive: true }));
  const loginIn = (name: string): Login => {
    mkdirSync(join(folder, name));
    return { key: createNatsKey(), pki: createTestPki(join(folder, name)) };
  };
  const ours = loginIn("ours");
  const madeUp = loginIn("made-up"); // an authority and a key of the stranger's own
  const [clientPort = 0, clusterPort = 0, gatewayPort = 0, ...monitorPorts] = await freePorts(6);
  const monitorPortOf = (name: Name) => monitorPorts[NAMES.indexOf(name)]!;
  const routes = routesOf(await discovered(), clusterPort);
  const logs = new Map<Name, string>();

  const start = async (
    name: Name,
    { key, pki }: Login = ours,
    { password = "between us", isPlain = false }: Lack = {},
  ): Promise<void> => {
    const { certPath, keyPath } = pki.issue(name, { dnsNames: [CERTIFIED, "localhost"] });
    const configText = renderNatsConf({
      serverName: name,
      region: "fra",
      host: HOSTS[name],
      clientPort,
      clusterPort,
      gatewayPort,
      monitorPort: monitorPortOf(name),
      routes,
      gateways: [],
      pidFile: join(folder, `${name}.pid`),
      auth: { kind: "roles", keys: { worker: [key.publicKey] } },
      peerAuth: { user: "peer", password },
      ...(!isPlain && {
        tls: { certPath, keyPath, caPath: pki.caPath, routeName: "localhost" },
      }),
    });
    const server = await startNatsServer({ folder, name, configText });
    logs.set(name, server.logFile);
    cleanUps.push(() => server.stop());
  };

  const connect = async (
    to: Name,
    tls: BusTls | undefined,
    key: NatsKey | undefined,
    firstConnectMaxMs = 30_000,
  ) => {
    const events: BusEvent[] = [];
    const bus = await connectBus({
      urls: [`nats://${HOSTS[to]}:${clientPort}`],
      name: "member",
      clock: systemClock,
      random: systemRandom,
      credentials: key === undefined ? { kind: "none" } : { kind: "nkey", seed: key.seed },
      inboxPrefix: natsInboxPrefixOf(["worker"], "fra"),
      ...(tls !== undefined && { tls }),
      onEvent: (event) => void events.push(event),
      limits: { firstConnectMaxMs },
    });
    cleanUps.push(() => bus.drain());
    return { bus, events };
  };

  const joinAs = async (memberId: Name, tls: BusTls | undefined, key: NatsKey) => {
    const { bus } = await connect(memberId, tls, key);
    expect(bus.isConnected).toBe(true);
    const heard: string[] = [];
    const membership = createMembership(
      {
        self: { memberId, region: "fra", roles: ["worker"], build: "test" },
        limits: { beatEveryMs: 100 },
      },
      { bus, clock: systemClock, scheduler: systemScheduler, onMalformed: () => undefined },
    );
    membership.onBeat((beat) => void heard.push(beat.memberId));
    membership.start();
    cleanUps.push(() => membership.stop());
    return { membership, heard };
  };

  const monitor = async <T>(name: Name, page: string): Promise<T> =>
    (await (await fetch(`http://127.0.0.1:${monitorPortOf(name)}/${page}`)).json()) as T;
  const namesById = new Map<string, string>();
  const routesNow = async (name: Name): Promise<string[]> => {
    for (const one of logs.keys())
      namesById.set((await monitor<{ server_id: string }>(one, "varz")).server_id, one);
    interface Routes {
      readonly routes?: readonly { readonly remote_id: string }[];
    }
    const { routes: found = [] } = await monitor<Routes>(name, "routez");
    const names = found.map((route) => namesById.get(route.remote_id) ?? "?");
    return [...new Set(names)].toSorted();
  };
  /** Of routes that it was asked for, and of those that it asked the stranger for. */
  const refusals = (name: Name) => {
    const lines = readFileSync(logs.get(name)!, "utf8")
      .split("\n")
      .filter((line) => REFUSAL.test(line));
    const asked = lines.filter((line) => line.includes(`${HOSTS.stranger}:${clusterPort} - `));
    return { askedCount: asked.length, wasAskedCount: lines.length - asked.length };
  };

  await Promise.all([start("fra-a"), start("fra-b")]);
  await until("ours are joined", async () => (await routesNow("fra-a")).join() === "fra-b");
  const tls: BusTls = { caPath: ours.pki.caPath, serverName: CERTIFIED };
  return { ours, madeUp, tls, start, connect, joinAs, routesNow, refusals };
}

test.each<[string, "ours" | "madeUp", Lack]>([
  ["a certificate of its own authority", "madeUp", {}],
  ["no certificate", "madeUp", { isPlain: true }],
  ["a certificate of ours, and a guess of the servers' password", "ours", { password: "a guess" }],
])(
  "C9 — an instance with the tag and %s is a candidate, and gets neither route nor membership",
  async (_, whose, lack) => {
    const { ours, madeUp, tls, start, connect, joinAs, routesNow, refusals } = await startRegion();
    const members = [await joinAs("fra-a", tls, ours.key), await joinAs("fra-b", tls, ours.key)];
    const login = { ...madeUp, pki: whose === "ours" ? ours.pki : madeUp.pki };
    await start("stranger", login, lack);
    const itsTls = { caPath: login.pki.caPath, serverName: CERTIFIED };
    const itself = await joinAs("stranger", lack.isPlain === true ? undefined : itsTls, madeUp.key);
    await until("all four ways were tried twice, and refused", () =>
      [refusals("fra-a"), refusals("fra-b")].every(
        ({ askedCount, wasAskedCount }) => askedCount >= 2 && wasAskedCount >= 2,
      ),
    );
    // Nor as a client of ours: the certificate is the server's, the login is a key.
    for (const key of [madeUp.key, undefined]) {
      const { bus, events } = await connect("fra-a", tls, key, 50);
      await until("it is refused", () => events.length > 0);
      expect(events[0]).toMatchObject({ kind: "connect_failed", code: "unauthorized" });
      expect(bus.isConnected).toBe(false);
    }
    for (const { heard } of [...members, itself]) heard.length = 0;
    await until("everybody heard twenty words more", () =>
      [...members, itself].every(({ heard }) => heard.length >= 20),
    );
    for (const { heard, membership } of members) {
      expect(new Set(heard)).toEqual(new Set(["fra-a", "fra-b"]));
      expect(membership.workers()).toEqual(["fra-a", "fra-b"]);
    }
    expect(new Set(itself.heard)).toEqual(new Set(["stranger"]));
    expect(itself.membership.workers()).toEqual(["stranger"]);
    expect(await routesNow("fra-a")).toEqual(["fra-b"]);
    expect(await routesNow("fra-b")).toEqual(["fra-a"]);
    expect(await routesNow("stranger")).toEqual([]);
  },
  TEST_MAX_MS,
);

test(
  "C9 — the same instance with certificate, password and key is one of them",
  async () => {
    const { ours, tls, start, joinAs, routesNow } = await startRegion();
    const first = await joinAs("fra-a", tls, ours.key);
    await start("stranger");
    const third = await joinAs("stranger", tls, ours.key);
    await until("both know both", () =>
      [first, third].every(({ membership }) => membership.workers().join() === "fra-a,stranger"),
    );
    await until("it has its routes", async () => (await routesNow("stranger")).length === 2);
    expect(await routesNow("stranger")).toEqual(["fra-a", "fra-b"]);
  },
  TEST_MAX_MS,
);
