// Goal: AC1–AC5. Method: environments given by hand, one file of NATS options.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "@carillon/config";
import { afterAll, expect, test } from "vitest";
import { readAgentConfig } from "./agent-config.ts";
import { createNatsOptionsFile, monitorUrlOf, natsConfText } from "./agent-nats-options.ts";

const folder = mkdtempSync(join(tmpdir(), "carillon-agent-"));
afterAll(() => rmSync(folder, { recursive: true }));

const OPTIONS = {
  serverName: "fra-a",
  region: "fra",
  clientPort: 4222,
  clusterPort: 6222,
  gatewayPort: 7222,
  gateways: [{ region: "fra", urls: ["nats://gw.fra.example:7222"] }],
  monitorPort: 8222,
  pidFile: "/run/nats.pid",
};
const LEAST = { CARILLON_AGENT_CLUSTER: "acme-prod" };

function natsEnv(options: unknown): Record<string, string> {
  const path = join(folder, "nats-options.json");
  writeFileSync(path, typeof options === "string" ? options : JSON.stringify(options));
  return {
    ...LEAST,
    CARILLON_AGENT_NATS_CONF: join(folder, "nats.conf"),
    CARILLON_AGENT_NATS_OPTIONS_FILE: path,
  };
}

const problemsOf = (env: Record<string, string>): readonly string[] => {
  try {
    readAgentConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

test("AC1 — the least that is needed, and what it becomes", () => {
  const { regions, nats, settings } = readAgentConfig(LEAST);
  expect(regions).toEqual([
    { region: "fra", awsRegion: "eu-central-1" },
    { region: "lon", awsRegion: "eu-west-2" },
    { region: "par", awsRegion: "eu-west-3" },
    { region: "dub", awsRegion: "eu-west-1" },
  ]);
  expect([nats, settings.CARILLON_AGENT_POLL_MS]).toEqual([undefined, 30_000]);
  const { nats: kept } = readAgentConfig(natsEnv(OPTIONS));
  expect(kept).toEqual({
    path: join(folder, "nats.conf"),
    optionsPath: join(folder, "nats-options.json"),
    options: OPTIONS,
  });
  expect(kept && monitorUrlOf(kept.options)).toBe("http://127.0.0.1:8222");
});

test("AC5 — no monitoring port named: nats-server's usual one, rendered and asked", () => {
  const { monitorPort: _none, ...without } = OPTIONS;
  const { nats } = readAgentConfig(natsEnv(without));
  expect(nats?.options).toEqual(OPTIONS);
  expect(nats && natsConfText(nats.options, [])).toContain('http: "127.0.0.1:8222"\n');
  expect(nats && monitorUrlOf(nats.options)).toBe("http://127.0.0.1:8222");
  expect(problemsOf(natsEnv({ ...without, clusterPort: 8222 }))).toEqual([
    "CARILLON_AGENT_NATS_OPTIONS_FILE: monitorPort must be another port than the server's others; it is 8222",
  ]);
});

test("AC1 — every wrong setting at once, and never its value", () => {
  expect(
    problemsOf({
      CARILLON_AGENT_CLUSTER: "canary canary",
      CARILLON_AGENT_REGIONS: "fra=canary",
      CARILLON_AGENT_SOURCE: "canary",
      CARILLON_AGENT_POLL_MS: "canary",
      CARILLON_AGENT_EC2_ENDPOINT: "canary",
      CARILLON_AGENT_CANARY: "canary",
    }),
  ).toEqual([
    "CARILLON_AGENT_CANARY is not a known setting",
    "CARILLON_AGENT_CLUSTER must be 1 to 64 letters, digits, dots, hyphens or underscores",
    "CARILLON_AGENT_REGIONS must be regions such as fra=eu-central-1, separated by commas",
    "CARILLON_AGENT_SOURCE must be one of ec2-tags, static, file",
    "CARILLON_AGENT_POLL_MS must be a whole number from 200 to 200000",
    "CARILLON_AGENT_EC2_ENDPOINT must be an address such as http://host:port",
  ]);
});

test.each([
  [
    { CARILLON_AGENT_REGIONS: "fra,lon=eu-west-2" },
    [
      "CARILLON_AGENT_REGION must be named where a region has no AWS region",
      "CARILLON_AGENT_REGIONS must name the AWS region of each, as fra=eu-central-1",
    ],
  ],
  [
    { CARILLON_AGENT_REGIONS: "fra=eu-west-2,fra=eu-west-1", CARILLON_AGENT_REGION: "lon" },
    [
      "CARILLON_AGENT_REGIONS names fra twice",
      "CARILLON_AGENT_REGION must be auto or one of CARILLON_AGENT_REGIONS",
    ],
  ],
  [{ CARILLON_AGENT_SOURCE: "file" }, ["CARILLON_AGENT_FILE is required by the source file"]],
  [
    { CARILLON_AGENT_SOURCE: "file", CARILLON_AGENT_FILE: "/x", CARILLON_AGENT_STATE_FILE: "/x" },
    ["CARILLON_AGENT_FILE must be another file than CARILLON_AGENT_STATE_FILE"],
  ],
  [
    { CARILLON_AGENT_SOURCE: "static" },
    ["CARILLON_AGENT_STATIC_PEERS is required by the source static"],
  ],
  [
    { CARILLON_AGENT_SOURCE: "static", CARILLON_AGENT_STATIC_PEERS: "fra=10.0.0.1,rom=10.0.0.2" },
    ["CARILLON_AGENT_STATIC_PEERS must be regions of CARILLON_AGENT_REGIONS, each with an address"],
  ],
  [
    { CARILLON_AGENT_NATS_CONF: "/x" },
    ["CARILLON_AGENT_NATS_CONF and CARILLON_AGENT_NATS_OPTIONS_FILE must be set together"],
  ],
  [
    { CARILLON_AGENT_NATS_CONF: "/x", CARILLON_AGENT_NATS_OPTIONS_FILE: "/nowhere/options" },
    ["CARILLON_AGENT_NATS_OPTIONS_FILE must name a file that can be read"],
  ],
])("AC1 — settings that do not go together: %j", (env, problems) => {
  expect(problemsOf({ ...LEAST, ...env })).toEqual(problems);
});

test.each<[string, unknown, string[]]>([
  ["is not JSON", "{canary", ["must be JSON"]],
  ["is a list", [], ["must be a JSON object"]],
  [
    "lacks fields, and names routes",
    { ...OPTIONS, region: "", clusterPort: "6222", routes: ["nats://canary:1"] },
    [
      "region must be a region",
      "clusterPort must be a port from 1 to 65535",
      "routes must be left out: they are discovered",
    ],
  ],
  [
    "cannot be rendered",
    { ...OPTIONS, gateways: [{ region: "fra", urls: ["http://canary"] }] },
    ["gateways.0.urls.0 must be an address such as nats://host:4222"],
  ],
  [
    "has misspelt names: they must not mean that there is no security",
    {
      ...OPTIONS,
      host: "0.0.0.0",
      peerauth: { user: "a", password: "canary" },
      TLS: {},
      authentication: {},
      tls: { certpath: "/canary" },
    },
    [
      "tls.certPath must be the path of a file",
      "tls.keyPath must be the path of a file",
      "tls.caPath must be the path of a file",
      "tls.certpath is not a known option",
      "peerauth is not a known option",
      "TLS is not a known option",
      "authentication is not a known option",
    ],
  ],
  [
    "would be rendered unquoted",
    { ...OPTIONS, maxPayloadBytes: "x\n} canary", lameDuckSeconds: "5" },
    [
      "maxPayloadBytes must be a whole number from 1024 to 67108864",
      "lameDuckSeconds must be a whole number from 30 to 86400",
    ],
  ],
  [
    "names a kind of login that is none",
    { ...OPTIONS, auth: { kind: "role" } },
    ["auth.kind must be one of roles, token, users"],
  ],
  [
    "has a login without its keys",
    { ...OPTIONS, auth: { kind: "roles" } },
    ["auth.keys must be public keys by user: ingest, worker, gateway, agent, node"],
  ],
  [
    "listens to everybody without logins (AC3)",
    { ...OPTIONS, host: "10.0.0.1" },
    [
      "auth is required where host is not this machine's loopback address",
      "peerAuth or tls is required where host is not this machine's loopback address",
    ],
  ],
  [
    "is of a strange region",
    { ...OPTIONS, region: "rom" },
    ["region must be one of CARILLON_AGENT_REGIONS"],
  ],
])("AC2 — a file of NATS options that %s", (_, options, problems) => {
  expect(problemsOf(natsEnv(options))).toEqual(
    problems.map((one) =>
      one.startsWith("must ")
        ? `CARILLON_AGENT_NATS_OPTIONS_FILE ${one}`
        : `CARILLON_AGENT_NATS_OPTIONS_FILE: ${one}`,
    ),
  );
});

test("AC3 — logins for clients and for servers, and every host is allowed", () => {
  const key = `U${"A".repeat(55)}`;
  const tls = { certPath: "/a", keyPath: "/b", caPath: "/c", routeName: "nats.example" };
  const peerAuth = { user: "peer", password: "canary" };
  const permissions = { publish: [], subscribe: ["a.>"], mayReply: true };
  for (const more of [
    { auth: { kind: "roles", keys: { ingest: [key] }, homes: ["fra", "lon"] }, tls },
    { auth: { kind: "token", token: "canary" }, peerAuth },
    { auth: { kind: "users", users: [{ nkey: key, permissions }] }, peerAuth, tls },
    { auth: { kind: "users", users: [{ user: "a", password: "canary" }] }, peerAuth },
  ])
    expect(
      problemsOf(natsEnv({ ...OPTIONS, host: "0.0.0.0", version: "2.9.10", ...more })),
    ).toEqual([]);
});

test("AC4 — read again at each look; of no use or of another region: the last good ones, and why", () => {
  const path = join(folder, "again.json");
  const options = createNatsOptionsFile(path, OPTIONS);
  const told: string[] = [];
  const read = () => options.read((problem) => told.push(problem));
  expect([read(), told.splice(0)]).toEqual([
    OPTIONS,
    [`${path}: must name a file that can be read`],
  ]);
  const rotated = { ...OPTIONS, auth: { kind: "token", token: "canary" } };
  writeFileSync(path, JSON.stringify(rotated));
  expect([read(), told.splice(0)]).toEqual([rotated, []]);
  writeFileSync(path, JSON.stringify({ ...OPTIONS, Auth: "canary" }));
  expect([read(), told.splice(0)]).toEqual([rotated, [`${path}: Auth is not a known option`]]);
  writeFileSync(path, JSON.stringify({ ...OPTIONS, region: "lon" }));
  expect([read(), told.splice(0)]).toEqual([
    rotated,
    [`${path}: region must be fra until the agent is started again`],
  ]);
});
