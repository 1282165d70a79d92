// apps/ingest/src/test-regions.ts
// Whole regions for this app's tests and benches: one real Postgres with a database per region, one
// real nats-server per region joined by gateways, real HTTP. Nothing else imports it.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bus, connectBus } from "@carillon/bus";
import { decodeMessage, type Poke, pokeSchema, subjects } from "@carillon/contracts";
import { systemClock, systemRandom } from "@carillon/kernel";
import {
  dropPostgres,
  freePorts,
  type NatsServer,
  startNatsServer,
  startPostgres,
} from "@carillon/local";
import { createStore, type Store } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import {
  createEvents,
  createIngest,
  type Ingest,
  type IngestEvents,
  type IngestLimits,
} from "./index.ts";
import type { KnownMember } from "./admin-routes.ts";
import type { HomeGate } from "./home-gate.ts";
import { INGEST_LIMITS } from "./limits.ts";
import type { Webhooks } from "./webhooks.ts";

export const TENANT = "acme";
export const PEPPER = "pepper-of-the-tests";
export const TEST_MAX_MS = 60_000;

export interface ToldEvent {
  readonly name: keyof IngestEvents;
  readonly args: readonly unknown[];
}

export interface TestNode {
  readonly region: string;
  readonly url: string;
  readonly ingest: Ingest;
  readonly store: Store;
  readonly bus: Bus;
  readonly events: ToldEvent[];
  stop(): Promise<void>;
}

export interface NodeOptions {
  readonly limits?: Partial<IngestLimits>;
  /** Default: nobody owns anything. */
  readonly ownerOf?: (home: string, partition: number) => string | undefined;
  readonly members?: () => readonly KnownMember[];
  readonly operatorKey?: string;
  /** Default: the home is served here, always. */
  readonly home?: HomeGate;
  readonly webhooks?: Webhooks;
  readonly databaseUrl?: string;
  readonly statementTimeoutMs?: number;
}

export interface TestRegions {
  readonly regions: readonly string[];
  readonly apiKey: string; // every scope, in every region
  readonly natsOf: ReadonlyMap<string, NatsServer>;
  readonly publicJwk: Record<string, unknown>;
  databaseUrl(region: string): string;
  /** A key with these scopes only, in one region. */
  newApiKey(region: string, scopes: ApiKeyScopes): Promise<string>;
  /** A store of its own, to look at what is there. */
  openStore(region: string, databaseUrl?: string, statementTimeoutMs?: number): Store;
  connectBus(region: string, name: string): Promise<Bus>;
  startNode(region: string, options?: NodeOptions): Promise<TestNode>;
  restartNats(region: string): Promise<void>;
  stop(): Promise<void>;
}
export type ApiKeyScopes = Parameters<Store["tenants"]["createApiKey"]>[0]["scopes"];

export async function startRegions(
  regions: readonly string[],
  options: { readonly isDurable?: boolean } = {},
): Promise<TestRegions> {
  const folder = mkdtempSync(join(tmpdir(), "carillon-ingest-"));
  const postgres = await startPostgres({
    folder: join(folder, "postgres"),
    databases: regions,
    isDurable: options.isDurable ?? false,
  });
  const closes: (() => Promise<unknown>)[] = [];
  const configs = await natsConfigs(regions);
  const natsOf = new Map<string, NatsServer>();
  const startNats = async (region: string): Promise<void> => {
    const configText = configs.get(region) ?? "";
    natsOf.set(region, await startNatsServer({ configText, folder, name: region }));
  };
  const openStore: TestRegions["openStore"] = (region, databaseUrl, statementTimeoutMs) => {
    const store = createStore({
      url: databaseUrl ?? postgres.urlOf(region),
      poolMax: 6,
      applicationName: `ingest-test-${region}`,
      connectTimeoutMs: 5_000,
      statementTimeoutMs: statementTimeoutMs ?? 20_000,
    });
    closes.push(() => store.close());
    return store;
  };
  const stores = new Map<string, Store>();
  let apiKey = "";
  for (const region of regions) {
    await startNats(region);
    const store = openStore(region);
    stores.set(region, store);
    await store.migrate();
    await store.ensureHome(region);
    await store.tenants.create(TENANT, "Acme");
    const request = { tenantId: TENANT, scopes: ["admin"], pepper: PEPPER } as const;
    if (apiKey === "") apiKey = await store.tenants.createApiKey(request);
    else await store.tenants.insertApiKey({ ...request, keyText: apiKey });
  }
  const { privateJwk, publicJwk } = newTokenKey();

  const openBus = async (region: string, name: string): Promise<Bus> => {
    const urls = [natsOf.get(region)?.clientUrl ?? ""];
    const bus = await connectBus({ urls, name, clock: systemClock, random: systemRandom });
    closes.push(() => bus.drain());
    return bus;
  };

  return {
    regions,
    apiKey,
    natsOf,
    publicJwk,
    openStore,
    databaseUrl: (region) => postgres.urlOf(region),
    connectBus: openBus,
    async newApiKey(region, scopes) {
      const store = stores.get(region) ?? openStore(region);
      return await store.tenants.createApiKey({ tenantId: TENANT, scopes, pepper: PEPPER });
    },
    async startNode(region, nodeOptions = {}) {
      const store = openStore(region, nodeOptions.databaseUrl, nodeOptions.statementTimeoutMs);
      const bus = await openBus(region, `${region}/ingest`);
      const events: ToldEvent[] = [];
      const log = createLogger({ region, node: "test", component: "ingest", level: "fatal" });
      const metrics = createMetrics({ region, hasDefaults: false });
      const ingest = await createIngest({
        config: {
          region,
          regions,
          host: "127.0.0.1",
          port: 0,
          apiKeyPepper: PEPPER,
          tokenKeys: { privateJwk, publicJwks: [] },
          operatorKey: nodeOptions.operatorKey,
          limits: { ...INGEST_LIMITS, ...nodeOptions.limits },
        },
        store,
        bus,
        owners: {
          ownerOf: nodeOptions.ownerOf ?? (() => undefined),
          onMemberLost: () => () => undefined,
        },
        members: nodeOptions.members ?? (() => []),
        clock: systemClock,
        random: systemRandom,
        events: recordInto(events, createEvents(log, metrics, systemClock)),
        metricsText: () => metrics.render(),
        ...(nodeOptions.home && { home: nodeOptions.home }),
        webhooks: nodeOptions.webhooks,
      });
      const { port } = await ingest.start();
      closes.push(() => ingest.stop());
      const url = `http://127.0.0.1:${port}`;
      return { region, url, ingest, store, bus, events, stop: () => ingest.stop() };
    },
    restartNats: startNats,
    async stop() {
      for (const close of closes.toReversed()) await close();
      for (const server of natsOf.values()) await server.stop();
      await postgres.stop();
      dropPostgres(join(folder, "postgres"));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What a worker hears on its poke subject, and the raw number of messages. */
export function collectPokes(bus: Bus, memberId: string): Poke[] {
  const pokes: Poke[] = [];
  bus.subscribe(subjects.memberPoke(memberId), (message) => {
    const decoded = decodeMessage(pokeSchema, message.data);
    if (decoded.kind === "message") pokes.push(decoded.message);
  });
  return pokes;
}

export interface TestAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** One request; `body` is sent as JSON unless it is text or bytes. */
export async function ask(
  url: string,
  request: {
    readonly method?: string;
    readonly token?: string;
    readonly body?: unknown;
    readonly headers?: Record<string, string>;
  } = {},
): Promise<TestAnswer> {
  const { method = "GET", token, body } = request;
  const isRaw = typeof body === "string" || body instanceof Uint8Array;
  const headers: Record<string, string> = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...request.headers,
  };
  const response = await fetch(url, {
    method,
    headers,
    ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
  });
  const text = await response.text();
  const parsed = text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : { text };
  return { status: response.status, headers: response.headers, body: parsed };
}

/** Asks again until `question` gives something; fails after a generous limit. */
export async function until<T>(
  what: string,
  question: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 30_000,
): Promise<T> {
  const endMs = systemClock.monotonicMs() + limitMs;
  for (;;) {
    const answer = await question();
    if (answer !== undefined && answer !== false) return answer;
    if (systemClock.monotonicMs() > endMs) throw new Error(`not within ${limitMs} ms: ${what}`);
    await systemClock.sleep(20);
  }
}

/** Keeps what is told, and tells it on. */
function recordInto(events: ToldEvent[], next: IngestEvents): IngestEvents {
  const told = Object.entries(next).map(([name, tell]) => [
    name,
    (...args: readonly unknown[]): void => {
      events.push({ name: name as keyof IngestEvents, args });
      (tell as (...all: readonly unknown[]) => void)(...args);
    },
  ]);
  return Object.fromEntries(told) as IngestEvents;
}

function newTokenKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const kid = "test-key";
  const privateJwk = { ...privateKey.export({ format: "jwk" }), kid };
  return { privateJwk, publicJwk: { ...publicKey.export({ format: "jwk" }), kid } };
}

/** One cluster per region, a gateway to each other. */
async function natsConfigs(regions: readonly string[]): Promise<Map<string, string>> {
  const ports = await freePorts(regions.length * 2);
  const gateways = regions
    .map((region, at) => `{ name: ${region}, url: "nats://127.0.0.1:${ports[at * 2 + 1]}" }`)
    .join(", ");
  return new Map(
    regions.map((region, at) => [
      region,
      `server_name: ${region}-a
listen: "127.0.0.1:${ports[at * 2]}"
max_payload: 4194304
gateway { name: ${region}, listen: "127.0.0.1:${ports[at * 2 + 1]}", connect_retries: 100
  gateways: [${gateways}] }`,
    ]),
  );
}
