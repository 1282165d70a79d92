// Three regions whose databases are servers of their own, with a streaming copy of fra's in par and a
// node beside it; everything real, and everything can be killed. For the tests of C24.
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, type Store } from "@carillon/store";
import { RegionApi, until } from "./api.ts";
import { CopiedPostgres, type CutLink, Psql, startCutLink } from "./copied-postgres.ts";
import { InboxLog } from "./inbox-log.ts";

const NATS_SERVER = "nats-server"; // on PATH, or where Debian has it
const MAIN = join(import.meta.dirname, "../../apps/cli/src/main.ts");
export const REGIONS = ["fra", "lon", "par"] as const;
type Region = (typeof REGIONS)[number];

export interface WorldNode {
  readonly name: string;
  readonly api: RegionApi;
  readonly ingestUrl: string;
  readonly socketUrl: string;
  readonly logFile: string;
  start(): Promise<void>;
  kill(): Promise<void>;
  signal(name: NodeJS.Signals): void;
  /** How often it said in its log that it serves its home. */
  servedCount(): number;
}

export interface CommandEnd {
  readonly code: number | null;
  readonly json: Record<string, unknown>;
  readonly progress: string[];
}

export interface World {
  /** Of fra's home, at its own place: two nodes, one with sockets. */
  readonly fra: readonly [WorldNode, WorldNode];
  readonly lon: WorldNode;
  readonly par: WorldNode;
  /** Of fra's home, in par. */
  readonly parForFra: WorldNode;
  /** fra's database at its own place, and in par. */
  readonly fraPostgres: CopiedPostgres;
  readonly parCopy: CopiedPostgres;
  /** From the copy in par to the database in fra. */
  readonly link: CutLink;
  apiOf(node: WorldNode, tenantId: string): RegionApi;
  connect(recipientId: string, at: WorldNode, tenantId?: string): Promise<InboxLog>;
  storeOf(url: string): Store;
  /** `carillon region …`, asked over lon. `killAt`: kill -9 at the progress line that has this in it. */
  region(args: readonly string[], killAt?: string): Promise<CommandEnd>;
  standingOf(place: string): Promise<string>;
  /** Resolves once the copy in par has replayed all that fra's database had when this was called. */
  copyHasAll(): Promise<void>;
  stop(): Promise<void>;
}

export const TENANTS = ["demo", "strict"] as const;

export async function startWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "carillon-failover-"));
  chmodSync(folder, 0o711); // the server's user goes through it
  const ports = await freePorts(3 + 3 * REGIONS.length + 2 * 5);
  const nextPort = (): number => ports.pop() ?? 0;
  const ends: (() => Promise<unknown> | void)[] = [
    () =>
      process.env["KEEP"] ? console.info(folder) : rmSync(folder, { recursive: true, force: true }),
  ];
  const postgresAt = (name: string): CopiedPostgres => {
    const postgres = new CopiedPostgres(folder, name, nextPort());
    ends.push(() => postgres.stop());
    return postgres;
  };
  const others = postgresAt("others");
  const fraPostgres = postgresAt("fra");
  const parCopy = postgresAt("par-copy");
  await Promise.all([others.create(["lon", "par"]), fraPostgres.create(["fra"])]);
  const secrets = newSecrets();
  const stores = new Map<string, Store>();
  const storeOf = (url: string): Store => {
    const store =
      stores.get(url) ??
      createStore({
        url,
        poolMax: 2,
        applicationName: "test",
        connectTimeoutMs: 5_000,
        statementTimeoutMs: 10_000,
      });
    if (!stores.has(url)) ends.push(() => store.close());
    stores.set(url, store);
    return store;
  };
  const urlOf = (home: Region): string =>
    home === "fra" ? fraPostgres.urlOf("fra") : others.urlOf(home);
  for (const home of REGIONS) {
    const store = storeOf(urlOf(home));
    await store.migrate();
    await store.ensureHome(home);
    for (const tenantId of TENANTS) {
      await store.tenants.create(tenantId, tenantId);
      const keyText = secrets.apiKeys[tenantId];
      const request = { tenantId, scopes: ["admin"], pepper: secrets.pepper, keyText } as const;
      await store.tenants.insertApiKey(request);
    }
  }
  const link = await startCutLink(fraPostgres.port);
  ends.push(() => link.close());
  await parCopy.copyFrom(link.port);

  const natsUrls = await startNats(folder, nextPort, ends);
  const node = (name: string, place: Region, home: Region, roles: string): WorldNode => {
    const ingestPort = nextPort();
    const gatewayPort = nextPort();
    const ingestUrl = `http://127.0.0.1:${ingestPort}`;
    const made = new NodeProcess({
      name,
      logFile: join(folder, `${name}.log`),
      env: {
        CARILLON_NODE_REGION: place,
        ...(home === place ? {} : { CARILLON_NODE_HOME: home }),
        CARILLON_NODE_REGIONS: REGIONS.join(","),
        CARILLON_NODE_ROLES: roles,
        CARILLON_NODE_NATS_URLS: natsUrls[place],
        CARILLON_NODE_STORE_URL: home === place ? urlOf(home) : parCopy.urlOf("fra"),
        CARILLON_NODE_STORE_POOL_MAX: "6",
        CARILLON_NODE_INGEST_PORT: String(ingestPort),
        CARILLON_NODE_GATEWAY_PORT: String(gatewayPort),
        CARILLON_NODE_GATEWAY_DRAIN_MS: "200",
        CARILLON_NODE_KEY_PEPPER: secrets.pepper,
        CARILLON_NODE_OPERATOR_KEY: secrets.operatorKey,
        CARILLON_NODE_TOKEN_PRIVATE_KEY: secrets.privateJwk,
        CARILLON_NODE_TOKEN_PUBLIC_KEYS: secrets.publicJwks,
      },
    });
    ends.push(() => made.kill());
    return {
      name,
      ingestUrl,
      socketUrl: `ws://127.0.0.1:${gatewayPort}/socket`,
      logFile: made.logFile,
      api: new RegionApi(ingestUrl, secrets.apiKeys.demo),
      start: () => made.start(),
      kill: () => made.kill(),
      signal: (signal) => made.signal(signal),
      servedCount: () =>
        readFileSync(made.logFile, "utf8").split('"standing":"serving"').length - 1,
    };
  };
  const fra = [
    node("fra-1", "fra", "fra", "ingest,worker,gateway"),
    node("fra-2", "fra", "fra", "ingest,worker"),
  ] as const;
  const lon = node("lon", "lon", "lon", "ingest,worker,gateway");
  const par = node("par", "par", "par", "ingest,worker,gateway");
  const parForFra = node("par-for-fra", "par", "fra", "ingest,worker");
  await Promise.all([...fra, lon, par, parForFra].map((one) => one.start()));

  const apiOf: World["apiOf"] = (at, tenantId) =>
    new RegionApi(at.ingestUrl, secrets.apiKeys[tenantId as (typeof TENANTS)[number]]);
  const inboxes: InboxLog[] = [];
  const region: World["region"] = (args, killAt) =>
    runCommand(["region", ...args, "--json", "--url", lon.ingestUrl], secrets.operatorKey, killAt);
  return {
    fra,
    lon,
    par,
    parForFra,
    fraPostgres,
    parCopy,
    link,
    apiOf,
    storeOf,
    region,
    async connect(recipientId, at, tenantId = "demo") {
      const log = new InboxLog(at.socketUrl, () => apiOf(lon, tenantId).token(recipientId));
      inboxes.push(log);
      await log.live(180_000);
      return log;
    },
    async standingOf(place) {
      const { json } = await region(["status"]);
      const homes = json["homes"] as {
        home: string;
        places: { place: string; standing: string }[];
      }[];
      const looks = homes.find(({ home }) => home === "fra")?.places ?? [];
      return looks.find((look) => look.place === place)?.standing ?? "nobody";
    },
    async copyHasAll() {
      const primary = new Psql(fraPostgres.urlOf("fra"));
      const copy = new Psql(parCopy.urlOf("fra"));
      try {
        const target = await primary.run("select pg_current_wal_lsn()");
        await until("the copy has it all", 60_000, async () => {
          const isHere = await copy.run(`select pg_last_wal_replay_lsn() >= '${target}'::pg_lsn`);
          return isHere === "t" || undefined;
        });
      } finally {
        primary.end();
        copy.end();
      }
    },
    async stop() {
      for (const log of inboxes) log.close();
      for (const end of ends.toReversed()) await end();
    },
  };
}

class NodeProcess {
  readonly logFile: string;
  readonly #options: { name: string; logFile: string; env: Readonly<Record<string, string>> };
  #child: ChildProcess | undefined;

  constructor(options: { name: string; logFile: string; env: Readonly<Record<string, string>> }) {
    this.#options = options;
    this.logFile = options.logFile;
  }

  async start(): Promise<void> {
    const { env, logFile, name } = this.#options;
    const log = openSync(logFile, "a");
    const child = spawn(process.execPath, [MAIN, "node"], {
      env: { ...env },
      stdio: ["ignore", log, log, "ipc"],
    });
    this.#child = child;
    const ready = once(child, "message").then(() => undefined);
    const exited = once(child, "exit").then(() => {
      throw new Error(`${name} did not start: ${readFileSync(logFile, "utf8").slice(-2_000)}`);
    });
    exited.catch(() => undefined); // an end later is the test's own doing
    await Promise.race([ready, exited]);
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
}

async function runCommand(
  args: readonly string[],
  operatorKey: string,
  killAt: string | undefined,
): Promise<CommandEnd> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { CARILLON_OPERATOR_KEY: operatorKey },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let progress = "";
  child.stdout.on("data", (chunk: Buffer) => void (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => {
    progress += chunk.toString();
    if (killAt !== undefined && progress.includes(killAt)) child.kill("SIGKILL");
  });
  const [code] = (await once(child, "close")) as [number | null];
  const json = out.trim() === "" ? {} : (JSON.parse(out) as Record<string, unknown>);
  return { code, json, progress: progress.trim().split("\n") };
}

/** One nats-server per region, joined by gateways. */
async function startNats(
  folder: string,
  nextPort: () => number,
  ends: (() => Promise<unknown> | void)[],
): Promise<Record<Region, string>> {
  const plans = REGIONS.map((region) => ({ region, port: nextPort(), gatewayPort: nextPort() }));
  const gateways = plans
    .map(({ region, gatewayPort }) => `{name: ${region}, url: "nats://127.0.0.1:${gatewayPort}"}`)
    .join(", ");
  const urls: Partial<Record<Region, string>> = {};
  for (const { region, port, gatewayPort } of plans) {
    const file = join(folder, `nats-${region}.conf`);
    const listen = `listen: "127.0.0.1:${gatewayPort}"`;
    writeFileSync(
      file,
      `server_name: ${region}-a\nlisten: "127.0.0.1:${port}"\nmax_payload: 4194304\n` +
        `gateway { name: ${region}, ${listen}, gateways: [${gateways}] }\n`,
    );
    const log = openSync(join(folder, `nats-${region}.log`), "a");
    const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/bin`;
    const child = spawn(NATS_SERVER, ["-c", file], {
      env: { PATH: path },
      stdio: ["ignore", log, log],
    });
    ends.push(async () => {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    });
    urls[region] = `nats://127.0.0.1:${port}`;
  }
  return urls as Record<Region, string>;
}

function newSecrets() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const named = { kid: "failover", alg: "EdDSA", use: "sig" };
  const key = () =>
    `crl_${randomBytes(8).toString("hex")}_${randomBytes(32).toString("base64url")}`;
  return {
    apiKeys: { demo: key(), strict: key() },
    pepper: randomBytes(32).toString("base64url"),
    operatorKey: randomBytes(32).toString("base64url"),
    privateJwk: JSON.stringify({ ...privateKey.export({ format: "jwk" }), ...named }),
    publicJwks: JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), ...named }] }),
  };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

export interface Posted {
  readonly id: string;
  readonly title: string;
}

/** Posts one after the other until it is stopped; what was not answered 202 is posted again. */
export function startTraffic(
  api: RegionApi,
  audience: object,
  prefix: string,
): { stop(): Promise<Posted[]> } {
  const posted: Posted[] = [];
  const state = { isOver: false };
  const loop = (async () => {
    for (let number = 0; !state.isOver; number++) {
      const title = `${prefix} ${number}`;
      const body = { audience, content: { en: { title } } };
      const headers = { "idempotency-key": `${prefix.replaceAll(" ", "-")}-${number}` };
      const id = await until(`${title} is accepted`, 120_000, async () => {
        const answer = await api.call<{ id: string }>("POST", "/v1/notifications", body, headers);
        return answer.status === 202 ? answer.body.id : undefined;
      });
      posted.push({ id, title });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    async stop() {
      state.isOver = true;
      await loop;
      return posted;
    },
  };
}
