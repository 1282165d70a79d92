// packages/cluster/src/nats-conf.ts
// The text of nats.conf for one server: its region's cluster, gateways to all regions (C10).
//   NC1  The same options give the same text: a reload that changes nothing writes nothing.
//   NC2  All regions are listed from day one, this one too, so that every server of every region has
//        the same list and an unlisted cluster is turned away. Nothing in `gateway` reloads.
//   NC3  No JetStream: NATS moves, Postgres remembers (DESIGN §1).
// Accepted by nats-server 2.9.10 and newer; option names were tried there.
import { assert } from "@carillon/kernel";

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
  readonly monitorPort?: number; // HTTP on `host`; default none
  readonly pidFile: string;
  readonly auth?: NatsClientAuth; // default none: for one machine only
  /** Between servers, on routes and gateways; the same everywhere. */
  readonly peerAuth?: { readonly user: string; readonly password: string };
  readonly lameDuckSeconds?: number; // default 30, the least that the server takes
}

export type NatsClientAuth =
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "users"; readonly users: readonly NatsUser[] };

export interface NatsUser {
  readonly user: string;
  readonly password: string;
  /** Subjects it may publish to and subscribe to; absent: all. */
  readonly publish?: readonly string[];
  readonly subscribe?: readonly string[];
}

const PAYLOAD_MAX_BYTES = 4 * 2 ** 20; // a broadcast's poke to one owner, with room
// What waits for one slow connection; 16 of the largest messages. Beyond it the server closes it.
const PENDING_MAX_BYTES = 16 * PAYLOAD_MAX_BYTES;
// A peer that is silent for 3 × 5 s is gone; the default would keep it for six minutes.
const PING_INTERVAL_SECONDS = 5;
const PINGS_OUT_MAX = 2;

/** The whole file. Throws BugError when a name or address could not be written safely. */
export function renderNatsConf(options: NatsConfOptions): string {
  const { host = "127.0.0.1", peerAuth, maxPayloadBytes = PAYLOAD_MAX_BYTES } = options;
  const gateways = options.gateways.map(
    ({ region, urls }) => `    { name: ${quote(region)}, urls: ${addresses(urls, peerAuth)} }`,
  );
  const lines = [
    `server_name: ${quote(options.serverName)}`,
    `host: ${quote(host)}`,
    `port: ${options.clientPort}`,
    `pid_file: ${quote(options.pidFile)}`,
    ...(options.monitorPort === undefined
      ? []
      : [`http: ${quote(`${host}:${options.monitorPort}`)}`]),
    "jetstream: disabled",
    `max_payload: ${maxPayloadBytes}`,
    `max_pending: ${Math.max(PENDING_MAX_BYTES, 2 * maxPayloadBytes)}`,
    `ping_interval: "${PING_INTERVAL_SECONDS}s"`,
    `ping_max: ${PINGS_OUT_MAX}`,
    `lame_duck_duration: "${options.lameDuckSeconds ?? 30}s"`,
    `lame_duck_grace_period: "2s"`,
    ...clientAuth(options.auth),
    "",
    "cluster {",
    `  name: ${quote(options.region)}`,
    `  host: ${quote(host)}`,
    `  port: ${options.clusterPort}`,
    ...peerAuthLines(peerAuth),
    `  routes: ${addresses(options.routes, peerAuth)}`,
    "}",
    "",
    "gateway {",
    `  name: ${quote(options.region)}`,
    `  host: ${quote(host)}`,
    `  port: ${options.gatewayPort}`,
    ...peerAuthLines(peerAuth),
    "  reject_unknown_cluster: true",
    "  gateways: [",
    ...gateways,
    "  ]",
    "}",
  ];
  return `${lines.join("\n")}\n`;
}

function clientAuth(auth: NatsClientAuth | undefined): string[] {
  if (auth === undefined) return [];
  if (auth.kind === "token") return ["", "authorization {", `  token: ${quote(auth.token)}`, "}"];
  const users = auth.users.flatMap(({ user, password, publish, subscribe }) => [
    `    { user: ${quote(user)}, password: ${quote(password)}, permissions: {`,
    `      publish: ${list(publish ?? [">"])}`,
    `      subscribe: ${list(subscribe ?? [">"])}`,
    // Whoever may hear a request may answer it, once, wherever the asker's inbox is.
    `      allow_responses: true } }`,
  ]);
  return ["", "authorization {", "  users: [", ...users, "  ]", "}"];
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

function list(texts: readonly string[]): string {
  return `[${texts.map(quote).join(", ")}]`;
}

/** The file's strings know JSON's escapes for quotes and backslashes, and no others. */
function quote(text: string): string {
  assert(/^[^\p{C}]*$/u.test(text), "NC1 no control characters in nats.conf");
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}
