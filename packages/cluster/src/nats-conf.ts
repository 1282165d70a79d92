// packages/cluster/src/nats-conf.ts
// The text of nats.conf for one server: its region's cluster, gateways to all regions, who may log
// in and what he may say and hear (C10).
//   NC1  The same options give the same text: a reload that changes nothing writes nothing.
//   NC2  All regions are listed from day one, this one too, so that every server of every region has
//        the same list and an unlisted cluster is turned away. Nothing in `gateway` reloads.
//   NC3  No JetStream: NATS moves, Postgres remembers (DESIGN §1).
//   NC4  An option that the server's version rejects is left out: one such line refuses the file.
//   NC5  With TLS all three listeners have it. Servers show certificates to each other; clients show
//        a key of their own instead (nkey), of which only the public half stands here.
//   NC6  Nobody is let in by an omission: a list of users has one, and a host that others can reach
//        asks clients for a login and other servers for TLS or a password.
// Accepted by nats-server 2.9.10 and newer; option names were tried there.
import { assert } from "@carillon/kernel";
import { isVersionAtLeast, list, quote } from "./nats-conf-text.ts";
import { type NatsUser, type NatsUserKeys, natsUsersOf } from "./nats-permissions.ts";

export interface NatsConfOptions {
  /** By slot ("fra-a"), not by instance, so that a replaced server keeps its name. */
  readonly serverName: string;
  readonly region: string; // name of the cluster and of the gateway
  readonly host?: string; // default 127.0.0.1, for all listeners
  readonly clientPort: number;
  readonly clusterPort: number;
  /** nats://host:port of the region's servers; this one may be among them. Reloads by SIGHUP. */
  readonly routes: readonly string[];
  readonly gatewayPort: number;
  /** Stable names of all regions' gateways; this region's own entry is ignored by the server. */
  readonly gateways: readonly { readonly region: string; readonly urls: readonly string[] }[];
  readonly maxPayloadBytes?: number; // default 4 MiB
  readonly monitorPort?: number; // HTTP, for this machine only: it asks for no login; default none
  readonly pidFile: string;
  readonly auth?: NatsClientAuth; // default none: for one machine only
  /** Between servers, on routes and gateways; the same everywhere. */
  readonly peerAuth?: { readonly user: string; readonly password: string };
  readonly tls?: NatsTls; // default none: for one machine only
  readonly lameDuckSeconds?: number; // default 30, the least that the server takes
  /** What `nats-server --version` says; default 2.9.0, the oldest that is supported. */
  readonly version?: string;
}

/**
 * PEM files, read by the server at its start and at each SIGHUP. The certificate is for servers and
 * for clients (both extended uses): a server dials the others with it.
 */
export interface NatsTls {
  readonly certPath: string;
  readonly keyPath: string;
  readonly caPath: string; // who signs servers, and nobody else
  /**
   * A DNS name that stands in the certificates of all servers of the cluster and leads to any of
   * them, this one as well. With it routes may be bare addresses, as discovery finds them: the
   * server then asks for this name.
   */
  readonly routeName?: string;
}

export type NatsClientAuth =
  /** For production: public keys by user name; what each may do follows from nats-permissions.ts. */
  | {
      readonly kind: "roles";
      readonly keys: NatsUserKeys;
      /** Homes that this region may host; default its own. */
      readonly homes?: readonly string[];
    }
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "users"; readonly users: readonly NatsUser[] };

const PAYLOAD_MAX_BYTES = 4 * 2 ** 20; // a broadcast's poke to one owner, with room
// What waits for one slow connection; 16 of the largest messages. Beyond it the server closes it.
const PENDING_MAX_BYTES = 16 * PAYLOAD_MAX_BYTES;
// A peer that is silent for 3 × 5 s is gone; the default would keep it for six minutes.
const PING_INTERVAL_SECONDS = 5;
const PINGS_OUT_MAX = 2;
const OLDEST_VERSION = "2.9.0";

/**
 * The whole file. Throws BugError when a name or address could not be written safely, or when the
 * server would be open to everybody (NC6).
 */
export function renderNatsConf(options: NatsConfOptions): string {
  assertClosed(options);
  const { host = "127.0.0.1", peerAuth, maxPayloadBytes = PAYLOAD_MAX_BYTES } = options;
  const gateways = options.gateways.map(
    ({ region, urls }) => `    { name: ${quote(region)}, urls: ${addresses(urls, peerAuth)} }`,
  );
  const lines = [
    `server_name: ${quote(options.serverName)}`,
    `host: ${quote(host)}`,
    `port: ${options.clientPort}`,
    `pid_file: ${quote(options.pidFile)}`,
    ...(options.monitorPort === undefined ? [] : [`http: "127.0.0.1:${options.monitorPort}"`]),
    "jetstream: disabled",
    `max_payload: ${maxPayloadBytes}`,
    `max_pending: ${Math.max(PENDING_MAX_BYTES, 2 * maxPayloadBytes)}`,
    `ping_interval: "${PING_INTERVAL_SECONDS}s"`,
    `ping_max: ${PINGS_OUT_MAX}`,
    `lame_duck_duration: "${options.lameDuckSeconds ?? 30}s"`,
    `lame_duck_grace_period: "2s"`,
    ...tlsLines("", options.tls, "server", options),
    ...clientAuth(options),
    "",
    "cluster {",
    `  name: ${quote(options.region)}`,
    `  host: ${quote(host)}`,
    `  port: ${options.clusterPort}`,
    ...tlsLines("  ", options.tls, "peer", options),
    ...peerAuthLines(peerAuth),
    `  routes: ${addresses(routesOf(options), peerAuth)}`,
    "}",
    "",
    "gateway {",
    `  name: ${quote(options.region)}`,
    `  host: ${quote(host)}`,
    `  port: ${options.gatewayPort}`,
    ...tlsLines("  ", options.tls, "peer", options),
    ...peerAuthLines(peerAuth),
    "  reject_unknown_cluster: true",
    "  gateways: [",
    ...gateways,
    "  ]",
    "}",
  ];
  return `${lines.join("\n")}\n`;
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

function assertClosed({
  host = "127.0.0.1",
  auth,
  peerAuth,
  tls,
  ...ports
}: NatsConfOptions): void {
  const { clientPort, clusterPort, gatewayPort } = ports;
  assert(
    new Set([clientPort, clusterPort, gatewayPort]).size === 3,
    "NC6 clientPort, clusterPort and gatewayPort are three different ports",
  );
  if (LOOPBACK.test(host)) return;
  assert(auth !== undefined, `NC6 auth is needed where others can reach the host, ${host}`);
  assert(
    tls !== undefined || peerAuth !== undefined,
    `NC6 tls or peerAuth is needed where others can reach the host, ${host}`,
  );
}

/** The server asks an address for the name of the first route that has one. */
function routesOf({ routes, tls, clusterPort }: NatsConfOptions): readonly string[] {
  return tls?.routeName === undefined
    ? routes
    : [`nats://${tls.routeName}:${clusterPort}`, ...routes];
}

const TLS_HANDSHAKE_MAX_SECONDS = 5; // the default of 0.5 s fails on a busy machine
const LEAST_TLS_VERSION = "1.3";

function tlsLines(
  indent: string,
  tls: NatsTls | undefined,
  kind: "server" | "peer",
  { version = OLDEST_VERSION }: NatsConfOptions,
): string[] {
  if (tls === undefined) return [];
  return [
    "tls {",
    `  cert_file: ${quote(tls.certPath)}`,
    `  key_file: ${quote(tls.keyPath)}`,
    `  ca_file: ${quote(tls.caPath)}`,
    ...(kind === "peer" ? ["  verify: true"] : []),
    `  timeout: ${TLS_HANDSHAKE_MAX_SECONDS}`,
    ...(isVersionAtLeast(version, "2.11") ? [`  min_version: ${quote(LEAST_TLS_VERSION)}`] : []),
    "}",
  ].map((line) => indent + line);
}

function clientAuth({ auth, region }: NatsConfOptions): string[] {
  if (auth === undefined) return [];
  if (auth.kind === "token") {
    assert(auth.token !== "", "NC6 auth of kind token has a token");
    return ["", "authorization {", `  token: ${quote(auth.token)}`, "}"];
  }
  const users =
    auth.kind === "users"
      ? auth.users
      : natsUsersOf(auth.keys, { region, ...(auth.homes && { homes: auth.homes }) });
  // With an empty list the server asks for no login at all.
  assert(users.length > 0, `NC6 auth of kind ${auth.kind} has at least one user`);
  return ["", "authorization {", "  users: [", ...users.flatMap(userLines), "  ]", "}"];
}

const PUBLIC_KEY = /^U[A-Z2-7]{55}$/;

function userLines(user: NatsUser): string[] {
  const { permissions } = user;
  if ("nkey" in user)
    assert(PUBLIC_KEY.test(user.nkey), "NC5 a user's public key is U and 55 characters");
  const login =
    "nkey" in user
      ? `nkey: ${quote(user.nkey)}`
      : `user: ${quote(user.user)}, password: ${quote(user.password)}`;
  if (permissions === undefined) return [`    { ${login} }`];
  return [
    `    { ${login}, permissions: {`,
    `      publish: ${allowed(permissions.publish)}`,
    `      subscribe: ${allowed(permissions.subscribe)}`,
    "    } }",
  ];
}

/** An empty list would allow everything. */
function allowed(subjects: readonly string[]): string {
  return subjects.length === 0 ? '{ deny: ">" }' : list(subjects);
}

function peerAuthLines(peerAuth: NatsConfOptions["peerAuth"]): string[] {
  if (peerAuth === undefined) return [];
  const { user, password } = peerAuth;
  return [`  authorization { user: ${quote(user)}, password: ${quote(password)} }`];
}

/** Servers log in to each other by what stands in the address. */
function addresses(urls: readonly string[], peerAuth: NatsConfOptions["peerAuth"]): string {
  return list(
    urls.map((address) => {
      const url = new URL(address);
      assert(url.protocol === "nats:" && url.port !== "", "NC2 an address is nats://host:port");
      const { user, password } = peerAuth ?? {};
      const login =
        user === undefined
          ? ""
          : `${encodeURIComponent(user)}:${encodeURIComponent(password ?? "")}@`;
      return `nats://${login}${url.host}`;
    }),
  );
}
