// apps/cli/src/agent/agent-nats-options.ts
// What the agent is told of nats.conf: the options of renderNatsConf as JSON, without the routes,
// which are the agent's.
//   AC2  A file that could not be rendered is told before anything runs, field by field, without its
//        contents. A name that is not known is a problem: a misspelt `tls` must not mean none.
//   AC3  Whoever listens to other machines has logins: `auth`, and `peerAuth` or `tls`.
//   AC4  The file is read again whenever nats.conf is looked at: a rotation needs no restart of the
//        agent, and the agent never undoes one. A file that is of no use keeps the last good options.
//   AC5  The server has a monitoring port on this machine's loopback, 8222 unless another is named:
//        nothing else tells whether it took a file.
import { readFileSync } from "node:fs";
import { type NatsConfOptions, renderNatsConf } from "@carillon/cluster";
import { z } from "zod";

export type AgentNatsOptions = Omit<NatsConfOptions, "routes"> & { readonly monitorPort: number };

const MONITOR_PORT = 8_222; // nats-server's own habit

export type ParsedNatsOptions =
  | { readonly kind: "options"; readonly options: AgentNatsOptions }
  | { readonly kind: "problems"; readonly problems: readonly string[] };

const rule = (expected: string, isValid: (value: unknown) => boolean) =>
  z.custom<unknown>(isValid, { error: expected });
const whole = (least: number, most: number, what: string) =>
  rule(
    `${what} from ${least} to ${most}`,
    (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most,
  );
const matching = (pattern: RegExp, expected: string) =>
  rule(expected, (value) => typeof value === "string" && pattern.test(value));
const listOf = <T extends z.ZodType>(one: T, expected: string) => z.array(one, { error: expected });

const LINE = /^[^\p{C}]+$/u; // of what `quote` takes
const name = matching(LINE, "a name");
const file = matching(LINE, "the path of a file");
const secret = matching(LINE, "a text of one line");
const port = whole(1, 65_535, "a port");
const publicKey = matching(/^U[A-Z2-7]{55}$/, "a user's public key: U and 55 characters");
const texts = listOf(matching(LINE, "a subject"), "a list of subjects");
const address = rule("an address such as nats://host:4222", (value) => {
  if (typeof value !== "string" || !URL.canParse(value)) return false;
  const url = new URL(value);
  return url.protocol === "nats:" && url.hostname !== "" && url.port !== "" && url.username === "";
});

const keys = listOf(publicKey, "a list of public keys").optional();
const permissions = z.strictObject(
  {
    publish: texts,
    subscribe: texts,
    mayReply: rule("true or false", (value) => typeof value === "boolean"),
  },
  { error: "an object" },
);
const user = z.union(
  [
    z.strictObject({ nkey: publicKey, permissions: permissions.optional() }),
    z.strictObject({ user: name, password: secret, permissions: permissions.optional() }),
  ],
  { error: "a user with nkey, or with user and password; permissions where not all is allowed" },
);
const auth = z.discriminatedUnion(
  "kind",
  [
    z.strictObject({
      kind: z.literal("roles"),
      keys: z.strictObject(
        { ingest: keys, worker: keys, gateway: keys, agent: keys, node: keys },
        { error: "public keys by user: ingest, worker, gateway, agent, node" },
      ),
      homes: listOf(matching(/^[a-z][a-z0-9]{1,15}$/, "a region"), "a list of regions").optional(),
    }),
    z.strictObject({ kind: z.literal("token"), token: secret }),
    z.strictObject({ kind: z.literal("users"), users: listOf(user, "a list of users") }),
  ],
  { error: "one of roles, token, users" },
);
const LAME_DUCK_LEAST_SECONDS = 30; // the least that the server takes
const PAYLOAD_MOST_BYTES = 64 * 2 ** 20; // as above, the most

const schema = z.strictObject({
  serverName: name,
  region: matching(LINE, "a region"),
  host: matching(/^[\w.:-]+$/, "a host name or an address").optional(),
  clientPort: port,
  clusterPort: port,
  gatewayPort: port,
  gateways: listOf(
    z.strictObject(
      { region: matching(LINE, "a region"), urls: listOf(address, "a list of addresses") },
      { error: "an object with region and urls" },
    ),
    "a list",
  ),
  maxPayloadBytes: whole(1_024, PAYLOAD_MOST_BYTES, "a whole number").optional(),
  monitorPort: port.optional(),
  pidFile: file,
  auth: auth.optional(),
  peerAuth: z
    .strictObject({ user: name, password: secret }, { error: "an object with user and password" })
    .optional(),
  tls: z
    .strictObject(
      {
        certPath: file,
        keyPath: file,
        caPath: file,
        routeName: matching(/^[\w.-]+$/, "a DNS name").optional(),
      },
      { error: "an object with certPath, keyPath and caPath" },
    )
    .optional(),
  lameDuckSeconds: whole(LAME_DUCK_LEAST_SECONDS, 86_400, "a whole number").optional(),
  version: matching(/^[1-9]\d*\.\d+(\.\d+)?([-+.].*)?$/, "a version such as 2.9.10").optional(),
  routes: z.undefined({ error: "left out: they are discovered" }).optional(),
});

const LOOPBACK = /^(localhost|::1|127(\.\d{1,3}){3})$/;
export const isLoopback = (host: string): boolean => LOOPBACK.test(host);

export function parseNatsOptions(json: string): ParsedNatsOptions {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return { kind: "problems", problems: ["must be JSON"] };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return { kind: "problems", problems: ["must be a JSON object"] };
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    return { kind: "problems", problems: parsed.error.issues.flatMap(problemsOf) };
  // JSON has no `undefined`: the schema's type is wider. The default: AC5.
  const options = { monitorPort: MONITOR_PORT, ...value } as AgentNatsOptions;
  const problems = [...loginProblems(options), ...monitorProblems(options)]; // AC3, AC5
  if (problems.length > 0) return { kind: "problems", problems };
  try {
    natsConfText(options, []);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "it cannot be rendered";
    return { kind: "problems", problems: [why] };
  }
  return { kind: "options", options };
}

function problemsOf(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => `${[...path, key].join(".")} is not a known option`);
  return [`${path.join(".")} must be ${issue.message}`];
}

function loginProblems({ host, auth: logins, peerAuth, tls }: AgentNatsOptions): string[] {
  if (host === undefined || isLoopback(host)) return [];
  const why = "where host is not this machine's loopback address";
  return [
    ...(logins === undefined ? [`auth is required ${why}`] : []),
    ...(peerAuth === undefined && tls === undefined ? [`peerAuth or tls is required ${why}`] : []),
  ];
}

/** The server would not start: it listens on none of them twice. */
function monitorProblems(options: AgentNatsOptions): string[] {
  const { clientPort, clusterPort, gatewayPort, monitorPort } = options;
  if (![clientPort, clusterPort, gatewayPort].includes(monitorPort)) return [];
  return [`monitorPort must be another port than the server's others; it is ${monitorPort}`];
}

/** The file as it is now. Never throws; nothing of its contents in a problem. */
export function readNatsOptions(path: string): ParsedNatsOptions {
  let json: string;
  try {
    json = readFileSync(path, "utf8");
  } catch {
    return { kind: "problems", problems: ["must name a file that can be read"] };
  }
  return parseNatsOptions(json);
}

export interface NatsOptionsFile {
  readonly last: AgentNatsOptions;
  /** The options as they are now, or the last good ones and why (AC4). */
  read(tell: (problem: string) => void): AgentNatsOptions;
}

/** Not of another region: that is another machine's file, and the agent's region is settled. */
export function createNatsOptionsFile(path: string, first: AgentNatsOptions): NatsOptionsFile {
  let last = first;
  return {
    get last() {
      return last;
    },
    read(tell) {
      const now = readNatsOptions(path);
      if (now.kind === "problems") tell(`${path}: ${now.problems.join("; ")}`);
      else if (now.options.region !== first.region)
        tell(`${path}: region must be ${first.region} until the agent is started again`);
      else last = now.options;
      return last;
    },
  };
}

export function natsConfText(options: AgentNatsOptions, routes: readonly string[]): string {
  return renderNatsConf({ ...options, routes });
}

/** Where the server tells of itself (AC5). */
export function monitorUrlOf({ monitorPort }: AgentNatsOptions): string {
  return `http://127.0.0.1:${monitorPort}`;
}
