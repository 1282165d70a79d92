// Goal: RN12, NP1 and C10 with the real apps: ingest, worker and gateway of one region as processes of
// their own, each with its own NATS user, and a second region in one process, all over TLS.
// Method: what people and operators do; no node may be denied anything on the way.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createNatsKey } from "@carillon/bus";
import { createInbox } from "@carillon/client";
import { type NatsUserKeys, renderNatsConf } from "@carillon/cluster";
import type { Role } from "@carillon/contracts";
import { systemClock, systemRandom } from "@carillon/kernel";
import { freePorts, startNatsServer, startPostgres } from "@carillon/local";
import { createTestPki } from "@carillon/testkit";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ApiClient } from "./clients/api-client.ts";
import { seedDatabase } from "./dev/dev-database.ts";
import { newDataFolder } from "./dev/dev-run.ts";
import { type DevSecrets, readOrCreateSecrets } from "./dev/dev-secrets.ts";
import { nodeEnv } from "./dev/node-env.ts";
import { type RegionProcess, startRegionProcess } from "./dev/region-process.ts";

const TEST_MAX_MS = 180_000;
const REGIONS = ["fra", "lon"];
const NATS_NAME = "nats.carillon.example";

const folder = newDataFolder();
const cleanUps: (() => unknown)[] = [];
const nodes: RegionProcess[] = [];
const apis = new Map<string, ApiClient>();
let secrets: DevSecrets;
let socketUrl = "";

beforeAll(async () => {
  secrets = readOrCreateSecrets(join(folder.path, "secrets"), systemRandom);
  const postgresFolder = join(folder.path, "postgres");
  const postgres = await startPostgres({
    folder: postgresFolder,
    databases: REGIONS,
    isDurable: false,
  });
  cleanUps.push(() => postgres.stop());
  for (const region of REGIONS) await seedDatabase(region, postgres.urlOf(region), secrets);

  const pki = createTestPki(folder.path);
  const ports = await freePorts(6);
  const gateways = REGIONS.map((region, at) => ({
    region,
    urls: [`nats://localhost:${ports[at * 3 + 2]}`],
  }));
  const { ingest, worker, gateway } = secrets.nats.publicKeys;
  const london = createNatsKey();
  const londonSeedFile = join(folder.path, "london.seed");
  writeFileSync(londonSeedFile, london.seed, { mode: 0o600 });
  const keysOf: Record<string, NatsUserKeys> = {
    fra: { ingest: [ingest], worker: [worker], gateway: [gateway] },
    lon: { node: [london.publicKey] },
  };
  const natsUrls = new Map<string, string>();
  for (const [at, region] of REGIONS.entries()) {
    const certificate = pki.issue(`${region}-a`, { dnsNames: [NATS_NAME, "localhost"] });
    const configText = renderNatsConf({
      serverName: `${region}-a`,
      region,
      clientPort: ports[at * 3]!,
      clusterPort: ports[at * 3 + 1]!,
      routes: [],
      gatewayPort: ports[at * 3 + 2]!,
      gateways,
      pidFile: join(folder.path, `${region}.pid`),
      tls: { ...certificate, caPath: pki.caPath },
      auth: { kind: "roles", keys: keysOf[region]! },
    });
    const server = await startNatsServer({ folder: folder.path, name: region, configText });
    cleanUps.push(() => server.stop());
    natsUrls.set(region, server.clientUrl); // an address: the name must come from elsewhere
  }

  const startNode = async (region: string, roles: readonly Role[]): Promise<RegionProcess> => {
    const env = nodeEnv({
      region,
      regions: REGIONS,
      roles,
      natsUrl: natsUrls.get(region)!,
      storeUrl: postgres.urlOf(region),
      secrets,
      ingestPort: 0,
      gatewayPort: 0,
      more: {
        CARILLON_NODE_NATS_CA_PATH: pki.caPath,
        CARILLON_NODE_NATS_SERVER_NAME: NATS_NAME,
        ...(region === "lon" && { CARILLON_NODE_NATS_SEED_FILE: londonSeedFile }),
      },
    });
    const name = `${region}-${roles.join("-")}`;
    const node = await startRegionProcess({ folder: folder.path, name, env }, systemClock);
    nodes.push(node);
    cleanUps.push(() => node.stop());
    return node;
  };
  const lon = await startNode("lon", ["ingest", "worker", "gateway"]);
  await startNode("fra", ["worker"]);
  const fraGateway = await startNode("fra", ["gateway"]);
  const fraIngest = await startNode("fra", ["ingest"]);
  socketUrl = `ws://127.0.0.1:${fraGateway.ready.gatewayPort}/socket`;
  for (const [region, { ready }] of [
    ["fra", fraIngest],
    ["lon", lon],
  ] as const) {
    const baseUrl = `http://127.0.0.1:${ready.ingestPort}`;
    apis.set(
      region,
      new ApiClient({ baseUrl, apiKey: secrets.apiKey, connectionsMax: 2 }, systemClock),
    );
  }
}, TEST_MAX_MS);
afterAll(async () => {
  for (const api of apis.values()) api.close();
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
  folder.remove();
}, TEST_MAX_MS);

interface Denial {
  readonly event: string;
  readonly subject: string;
}

const denials = (): Denial[] =>
  nodes.flatMap(({ logFile }) =>
    readFileSync(logFile, "utf8")
      .split("\n")
      .filter((line) => line.includes("_denied"))
      .map((line) => JSON.parse(line) as Denial),
  );

test(
  "RN12, NP1, C10 — the whole way of a notification with one NATS user for each role, over TLS",
  async () => {
    const [fra, lon] = [apis.get("fra")!, apis.get("lon")!];
    const register = (recipientId: string, homeRegion: string): Promise<unknown> =>
      fra.expect({
        method: "PUT",
        path: `/v1/recipients/${recipientId}`,
        body: JSON.stringify({ homeRegion, locale: "en", attributes: {} }),
      });
    await register("ada", "fra");
    await register("bob", "lon");
    const tokens = await fra.tokensOf(["ada", "bob"]);
    const shown = new Map([
      ["ada", [] as string[]],
      ["bob", [] as string[]],
    ]);
    for (const [recipientId, titles] of shown) {
      const inbox = createInbox({
        url: socketUrl, // both in Frankfurt: bob's owner is in London
        token: () => tokens.get(recipientId)!,
        onNotification: ({ title }) => void titles.push(title),
        onReset: () => undefined,
      });
      cleanUps.push(() => inbox.close());
      await vi.waitFor(() => expect(inbox.state).toBe("live"), { timeout: 60_000 });
    }
    const posted: string[] = [];
    for (const [api, title] of [
      [fra, "from Frankfurt"],
      [lon, "from London"],
    ] as const) {
      const audience = { recipients: ["ada", "bob"] };
      posted.push((await api.post({ audience, content: { en: { title } } })).id);
      await vi.waitFor(
        () => {
          for (const titles of shown.values()) expect(titles.at(-1)).toBe(title);
        },
        { timeout: 60_000 },
      );
    }
    for (const titles of shown.values()) expect(titles).toEqual(["from Frankfurt", "from London"]);
    await vi.waitFor(
      async () => {
        const status = await fra.statusOf(posted[1]!);
        expect(status.counts).toMatchObject({ targeted: 2, deliveredSocket: 2 });
      },
      { timeout: 60_000, interval: 100 },
    );

    const headers = { authorization: `Bearer ${secrets.operatorKey}` };
    for (const { ready } of nodes) {
      const path = `/v1/admin/nodes/${ready.memberId}/tree`;
      // Frankfurt has to have heard a beat of the node: of London's every third second.
      await vi.waitFor(
        async () => {
          const tree = await fra.expect({ method: "GET", path, headers });
          expect(tree).toHaveProperty("tree");
        },
        { timeout: 60_000, interval: 100 },
      );
    }
    expect(denials()).toEqual([]);
  },
  TEST_MAX_MS,
);
