// apps/gateway/src/testing/gateway-fixture.ts
// A gateway on a free port with real sockets, an in-memory bus, and tokens of its own issuer.
import { type Bus, createMemoryNetwork, type MemoryNetwork } from "@carillon/bus";
import { type Beat, encodeFrame, type Frame, partitionOf } from "@carillon/contracts";
import {
  type Clock,
  type Random,
  type Scheduler,
  systemClock,
  systemRandom,
  systemScheduler,
} from "@carillon/kernel";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { WebSocket } from "ws";
import { createGateway, type Gateway, type GatewayConfig } from "../gateway.ts";
import type { GatewayLimits } from "../limits.ts";
import { HOME, ScriptedOwner, TENANT } from "./scripted-owner.ts";

export const GATEWAY_ID = "gateway-1";
const ALL_PARTITIONS = Array.from({ length: 256 }, (_, partition) => partition);
/** Quick retries: tests wait for events, not for back-off. */
const QUICK: Partial<GatewayLimits> = {
  retryMinMs: 5,
  retryMaxMs: 15,
  timeoutMs: 5_000,
  refusedHoldMinMs: 5,
  refusedHoldMaxMs: 15,
};

export interface Issuer {
  readonly jwks: GatewayConfig["auth"]["jwks"];
  /** An undefined claim is left out. */
  sign(claims?: Record<string, unknown>, kid?: string): Promise<string>;
}

export async function createIssuer(alg = "EdDSA", kid = "k1"): Promise<Issuer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg };
  return {
    jwks: { keys: [jwk] },
    sign: (claims = {}, tokenKid = kid) =>
      new SignJWT({ tenant: TENANT, sub: "anna", home: HOME, exp: inSeconds(3_600), ...claims })
        .setProtectedHeader(tokenKid === "" ? { alg } : { alg, kid: tokenKid })
        .sign(privateKey),
  };
}

export function inSeconds(seconds: number): number {
  return Math.floor(systemClock.wallClockMs() / 1_000) + seconds;
}

export interface Fixture {
  readonly gateway: Gateway;
  readonly port: number;
  readonly issuer: Issuer;
  readonly network: MemoryNetwork;
  readonly ownerBus: Bus;
  /** Owns every partition unless the test says otherwise. */
  readonly owner: ScriptedOwner;
  readonly logged: string[]; // whole lines
  beat(beat: Beat): void;
  lose(memberId: string): void;
  /** A raw client of recipient `sub`, connected; joined only by its own frames. */
  connect(options?: ConnectOptions): Promise<RawClient>;
  stop(): Promise<void>;
}

export interface FixtureOptions {
  readonly limits?: Partial<GatewayLimits>;
  readonly config?: Partial<GatewayConfig>;
  readonly clock?: Clock & Scheduler;
  readonly random?: Random;
  readonly isRelieved?: () => boolean; // default: never
  /** Default: two buses of a memory network. */
  readonly buses?: { readonly gateway: Bus; readonly owner: Bus };
}

export interface ConnectOptions {
  readonly recipientId?: string;
  readonly token?: string | null; // null: none
  readonly url?: string; // path and query
  readonly origin?: string;
}

export async function startFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const issuer = await createIssuer();
  const network = createMemoryNetwork();
  const ownerBus = options.buses?.owner ?? network.connect("owner");
  const owner = new ScriptedOwner(ownerBus, "owner-1");
  for (const partition of ALL_PARTITIONS) owner.own(partition, 1);
  const beatListeners: ((beat: Beat) => void)[] = [];
  const lostListeners: ((memberId: string) => void)[] = [];
  const logged: string[] = [];
  const record = (event: string, fields?: object): void =>
    void logged.push(`${event} ${JSON.stringify(fields ?? {})}`);
  const gateway = createGateway({
    config: {
      region: HOME,
      host: "127.0.0.1",
      port: 0,
      auth: { jwks: issuer.jwks, regions: ["fra", "lon", "par", "dub"] },
      origins: [],
      ...options.config,
      limits: { ...QUICK, ...options.limits },
    },
    memberId: GATEWAY_ID,
    bus: options.buses?.gateway ?? network.connect("gateway"),
    members: {
      onBeat: (listener) => void beatListeners.push(listener),
      onMemberLost: (listener) => void lostListeners.push(listener),
    },
    isRelieved: options.isRelieved ?? (() => false),
    clock: options.clock ?? systemClock,
    scheduler: options.clock ?? systemScheduler,
    random: options.random ?? systemRandom,
    log: { info: record, warn: record, error: record },
  });
  const { port } = await gateway.start();
  const clients: RawClient[] = [];
  return {
    gateway,
    port,
    issuer,
    network,
    ownerBus,
    owner,
    logged,
    beat: (beat) => beatListeners.forEach((listener) => listener(beat)),
    lose: (memberId) => lostListeners.forEach((listener) => listener(memberId)),
    async connect(connect = {}) {
      const sub = connect.recipientId ?? "anna";
      const token = connect.token === undefined ? await issuer.sign({ sub }) : connect.token;
      const client = await RawClient.open(port, { ...connect, token });
      clients.push(client);
      return client;
    },
    async stop() {
      for (const client of clients) client.ws.terminate();
      await gateway.stop();
      owner.stop();
    },
  };
}

/** A WebSocket that shows its frames as they are. */
export class RawClient {
  readonly ws: WebSocket;
  readonly frames: Frame[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  #ref = 0;

  constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on("message", (data) =>
      this.frames.push(JSON.parse((data as Buffer).toString("utf8")) as Frame),
    );
    this.closed = new Promise((resolve) =>
      ws.on("close", (code, reason) => resolve({ code, reason: reason.toString("utf8") })),
    );
    ws.on("error", () => undefined);
  }

  /** Rejects with the HTTP status when the upgrade is refused. */
  static open(port: number, options: ConnectOptions): Promise<RawClient> {
    const url = options.url ?? "/socket/websocket?vsn=2.0.0";
    const { token } = options;
    const bearer = token ? [`base64url.bearer.phx.${btoa(token).replace(/=/g, "")}`] : [];
    const headers = options.origin === undefined ? {} : { origin: options.origin };
    const ws = new WebSocket(`ws://127.0.0.1:${port}${url}`, ["phoenix", ...bearer], { headers });
    const client = new RawClient(ws);
    return new Promise((resolve, reject) => {
      ws.on("open", () => resolve(client));
      ws.on("unexpected-response", (_request, response) => {
        reject(new Error(`HTTP ${response.statusCode}`));
        ws.terminate();
      });
      ws.on("error", reject);
    });
  }

  send(frame: Frame | string | Buffer): void {
    this.ws.send(Array.isArray(frame) ? encodeFrame(frame) : frame);
  }

  /** Pushes on `inbox`, returns its ref. */
  push(event: string, payload: Record<string, unknown>, joinRef: string | null = "1"): string {
    const ref = `r${++this.#ref}`;
    this.send([joinRef, ref, "inbox", event, payload]);
    return ref;
  }

  join(payload: Record<string, unknown> = {}, joinRef = "1"): void {
    this.send([joinRef, joinRef, "inbox", "phx_join", payload]);
  }

  /** Payloads of all notifications so far. */
  get ntfs(): Record<string, unknown>[] {
    return this.frames.filter(([, , , event]) => event === "ntf").map((frame) => frame[4]);
  }

  get offsets(): unknown[] {
    return this.ntfs.map((payload) => payload["offset"]);
  }

  /** Payload of the answer to `ref`, once it is there. */
  reply(ref: string): Record<string, unknown> | undefined {
    return this.frames.find((frame) => frame[1] === ref && frame[3] === "phx_reply")?.[4];
  }
}

/** Recipients of one and the same partition. */
export function recipientsOfOnePartition(count: number): string[] {
  const wanted = partitionOf(TENANT, "anna");
  const ids = ["anna"];
  for (let number = 0; ids.length < count; number++)
    if (partitionOf(TENANT, `r${number}`) === wanted) ids.push(`r${number}`);
  return ids;
}
