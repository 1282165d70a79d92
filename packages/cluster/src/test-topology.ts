// packages/cluster/src/test-topology.ts
// Regions of several real nats-servers, joined over TLS, with the users of production; for this
// package's own tests. Routes are addresses, as discovery finds them; gateways are names.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Bus,
  type BusEvent,
  type BusTls,
  connectBus,
  createNatsKey,
  type NatsKey,
} from "@carillon/bus";
import { assert, systemClock, systemRandom } from "@carillon/kernel";
import { freePorts, type NatsServer, startNatsServer } from "@carillon/local";
import { createTestPki, type TestCertificate, type TestPki } from "@carillon/testkit";
import { type NatsConfOptions, renderNatsConf } from "./nats-conf.ts";
import { natsInboxPrefixOf } from "./nats-permissions.ts";

/** In every server's certificate; resolves to nothing. */
const COMMON_NAME = "nats.carillon.example";
const UNTIL_MAX_MS = 60_000;
const ASK_AGAIN_MS = 25;

export interface Slot {
  readonly name: string; // fra-a
  readonly region: string;
  readonly clientPort: number;
  readonly clusterPort: number;
  readonly gatewayPort: number;
  readonly monitorPort: number;
}

export interface TestClient {
  readonly bus: Bus;
  readonly events: BusEvent[];
}

export class TestTopology {
  readonly slots: readonly Slot[];
  readonly tls: BusTls;
  readonly #folder: string;
  readonly #pki: TestPki;
  readonly #keys: ReadonlyMap<string, NatsKey>; // by region
  readonly #servers = new Map<string, NatsServer>();
  readonly #buses: Bus[] = [];
  /** Regions in the gateways of every server; frozen, as the server demands. */
  readonly #gateways: NatsConfOptions["gateways"];

  private constructor(slots: readonly Slot[]) {
    this.slots = slots;
    this.#folder = mkdtempSync(join(tmpdir(), "carillon-topology-"));
    this.#pki = createTestPki(this.#folder);
    this.tls = { caPath: this.#pki.caPath, serverName: COMMON_NAME };
    const regions = [...new Set(slots.map(({ region }) => region))];
    this.#keys = new Map(regions.map((region) => [region, createNatsKey()]));
    this.#gateways = regions.map((region) => ({
      region,
      urls: this.of(region).map(({ gatewayPort }) => `nats://localhost:${gatewayPort}`),
    }));
  }

  /** Names such as fra-a; nothing runs yet. */
  static async plan(names: readonly string[]): Promise<TestTopology> {
    const slots: Slot[] = [];
    for (const name of names) {
      const [clientPort, clusterPort, gatewayPort, monitorPort] = await freePorts(4);
      assert(clientPort && clusterPort && gatewayPort && monitorPort, "four ports");
      const region = name.split("-", 1)[0] ?? "";
      slots.push({ name, region, clientPort, clusterPort, gatewayPort, monitorPort });
    }
    return new TestTopology(slots);
  }

  of(region: string): Slot[] {
    return this.slots.filter((slot) => slot.region === region);
  }

  slot(name: string): Slot {
    const slot = this.slots.find((one) => one.name === name);
    assert(slot, `no slot ${name}`);
    return slot;
  }

  server(name: string): NatsServer {
    const server = this.#servers.get(name);
    assert(server, `${name} does not run`);
    return server;
  }

  certify(name: string): TestCertificate {
    return this.#pki.issue(name, { dnsNames: [COMMON_NAME, "localhost"] });
  }

  /** `peers`: slots that stand in its routes. */
  confOf(name: string, peers: readonly Slot[], change: Partial<NatsConfOptions> = {}): string {
    const { region, monitorPort, ...slot } = this.slot(name);
    const key = this.#keys.get(region);
    assert(key, `no region ${region}`);
    return renderNatsConf({
      serverName: name,
      region,
      monitorPort,
      clientPort: slot.clientPort,
      clusterPort: slot.clusterPort,
      gatewayPort: slot.gatewayPort,
      routes: peers.map(({ clusterPort }) => `nats://127.0.0.1:${clusterPort}`),
      gateways: this.#gateways,
      pidFile: join(this.#folder, `${name}.pid`),
      auth: { kind: "roles", keys: { ingest: [key.publicKey] } },
      peerAuth: { user: "peer", password: "between us" },
      tls: {
        certPath: join(this.#folder, `${name}.pem`),
        keyPath: join(this.#folder, `${name}-key.pem`),
        caPath: this.#pki.caPath,
        routeName: "localhost",
      },
      ...change,
    });
  }

  async start(name: string, peers: readonly Slot[]): Promise<void> {
    const configText = this.confOf(name, peers);
    this.#servers.set(name, await startNatsServer({ folder: this.#folder, name, configText }));
  }

  /** Kept from `servers`; what it was killed by is the caller's affair. */
  async ended(name: string): Promise<void> {
    await this.server(name).exited;
    this.#servers.delete(name);
  }

  /** With the rights of an ingest of that region, connected to one of its `slots`. */
  async connect(region: string, slots = this.of(region)): Promise<TestClient> {
    const key = this.#keys.get(region);
    assert(key, `no region ${region}`);
    const events: BusEvent[] = [];
    const bus = await connectBus({
      urls: slots.map(({ clientPort }) => `nats://127.0.0.1:${clientPort}`),
      name: `${region}/test`,
      clock: systemClock,
      random: systemRandom,
      credentials: { kind: "nkey", seed: key.seed },
      inboxPrefix: natsInboxPrefixOf(["ingest"], region),
      tls: this.tls,
      onEvent: (event) => void events.push(event),
    });
    this.#buses.push(bus);
    return { bus, events };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#buses.map((bus) => bus.drain()));
    await Promise.all([...this.#servers.values()].map((server) => server.stop()));
    rmSync(this.#folder, { recursive: true });
  }

  /** Names of the servers that it has routes to. */
  async routesOf(name: string): Promise<string[]> {
    const { routes } = await this.#monitor<{ routes?: { remote_id: string }[] }>(name, "routez");
    const names = await this.#namesById();
    return [
      ...new Set((routes ?? []).map((route) => names.get(route.remote_id) ?? "?")),
    ].toSorted();
  }

  /** By region, the name of the server there that this one sends to. */
  async gatewaysOf(name: string): Promise<Record<string, string>> {
    interface Gateways {
      readonly outbound_gateways?: Record<string, { connection?: { name?: string } }>;
    }
    const { outbound_gateways: outbound = {} } = await this.#monitor<Gateways>(name, "gatewayz");
    const names = await this.#namesById();
    return Object.fromEntries(
      Object.entries(outbound).map(([region, { connection }]) => [
        region,
        names.get(connection?.name ?? "") ?? "?",
      ]),
    );
  }

  /** None as well once it has ended: in lame duck mode it does so with its last client. */
  async hasClients(name: string): Promise<boolean> {
    const { num_connections: count } = await this.#monitor<{ num_connections?: number }>(
      name,
      "connz",
    );
    return count !== undefined && count > 0;
  }

  /** Routes to all that run in its region, a gateway to every other region. */
  async untilJoined(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const { region } = this.slot(name);
      const running = [...this.#servers.keys()].map((one) => this.slot(one));
      const mates = running.filter((one) => one.region === region && one.name !== name);
      const others = new Set(running.map((one) => one.region).filter((one) => one !== region));
      await until(`${name} is joined`, async () => {
        const routes = await this.routesOf(name);
        const gateways = Object.keys(await this.gatewaysOf(name));
        const isRouted =
          routes.join() ===
          mates
            .map((mate) => mate.name)
            .toSorted()
            .join();
        return isRouted && gateways.toSorted().join() === [...others].toSorted().join();
      });
    }
  }

  async #namesById(): Promise<Map<string, string>> {
    const ids = new Map<string, string>();
    for (const name of this.#servers.keys()) {
      const { server_id: id } = await this.#monitor<{ server_id: string }>(name, "varz");
      ids.set(id, name);
    }
    return ids;
  }

  async #monitor<T>(name: string, page: string): Promise<T> {
    const url = `http://127.0.0.1:${this.slot(name).monitorPort}/${page}`;
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) });
      return (await answer.json()) as T;
    } catch {
      return {} as T; // it ends: asked again
    }
  }
}

export async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const endsAtMs = systemClock.monotonicMs() + UNTIL_MAX_MS;
  while (!(await isTrue())) {
    if (systemClock.monotonicMs() > endsAtMs) throw new Error(`not within 60 s: ${what}`);
    await systemClock.sleep(ASK_AGAIN_MS);
  }
}
