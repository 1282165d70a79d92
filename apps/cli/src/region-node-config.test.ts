// Goal: RN1 and the exit code of RN6. Method: environments, good and bad.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createNatsKey } from "@carillon/bus";
import { ConfigError } from "@carillon/config";
import { type Role, ROLES } from "@carillon/contracts";
import { createSeededRandom } from "@carillon/kernel";
import { expect, test } from "vitest";
import { runNodeCommand } from "./node-command.ts";
import { natsOptionsOf } from "./node-nats.ts";
import { retentionOf } from "./node-retention.ts";
import { readRegionNodeConfig } from "./region-node-config.ts";
import { newMemberId } from "./region-node.ts";

const pair = generateKeyPairSync("ed25519");
const named = { kid: "k1", alg: "EdDSA" };
const PRIVATE = JSON.stringify({ ...pair.privateKey.export({ format: "jwk" }), ...named });
const PUBLIC = JSON.stringify({
  keys: [{ ...pair.publicKey.export({ format: "jwk" }), ...named }],
});
const WORKER = {
  CARILLON_NODE_REGION: "fra",
  CARILLON_NODE_ROLES: "worker",
  CARILLON_NODE_NATS_URLS: "nats://127.0.0.1:4222",
  CARILLON_NODE_STORE_URL: "postgres://u:geheim@127.0.0.1/fra",
};
const ALL = {
  ...WORKER,
  CARILLON_NODE_ROLES: "",
  CARILLON_NODE_KEY_PEPPER: "geheim",
  CARILLON_NODE_TOKEN_PRIVATE_KEY: PRIVATE,
  CARILLON_NODE_TOKEN_PUBLIC_KEYS: PUBLIC,
};

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readRegionNodeConfig(env);
  } catch (cause) {
    if (cause instanceof ConfigError) return cause.problems;
    throw cause;
  }
  return [];
}

test("RN1 — each role needs its own secrets and no others", () => {
  expect(problemsOf(WORKER)).toEqual([]);
  const { CARILLON_NODE_STORE_URL: _, ...storeless } = WORKER;
  const gateway = { CARILLON_NODE_ROLES: "gateway", CARILLON_NODE_TOKEN_PUBLIC_KEYS: PUBLIC };
  expect(problemsOf({ ...storeless, ...gateway })).toEqual([]);
  expect(problemsOf(storeless)).toEqual([
    "CARILLON_NODE_STORE_URL (or CARILLON_NODE_STORE_URL_FILE) is required by the role worker",
  ]);
  expect(problemsOf(ALL)).toEqual([]);
  expect(problemsOf({ ...WORKER, CARILLON_NODE_ROLES: "worker, gateway" })).toEqual([
    "CARILLON_NODE_TOKEN_PUBLIC_KEYS (or CARILLON_NODE_TOKEN_PUBLIC_KEYS_FILE) is required by the role gateway",
  ]);
  expect(problemsOf({ ...WORKER, CARILLON_NODE_ROLES: "" })).toEqual([
    "CARILLON_NODE_KEY_PEPPER (or CARILLON_NODE_KEY_PEPPER_FILE) is required by the role ingest",
    "CARILLON_NODE_TOKEN_PRIVATE_KEY (or CARILLON_NODE_TOKEN_PRIVATE_KEY_FILE) is required by the role ingest",
    "CARILLON_NODE_TOKEN_PUBLIC_KEYS (or CARILLON_NODE_TOKEN_PUBLIC_KEYS_FILE) is required by the role ingest, gateway",
  ]);
});

test("RN1 — what is kept by the day: 90, and notifications never shorter than the longest ttl", () => {
  expect(retentionOf(readRegionNodeConfig(ALL))).toEqual({
    notificationDays: 90,
    buriedTimerDays: 90,
    journalDays: 30,
  });
  const kept = { ...ALL, CARILLON_NODE_KEEP_BURIED_TIMERS_DAYS: "7" };
  expect(retentionOf(readRegionNodeConfig(kept)).buriedTimerDays).toBe(7);
  expect(problemsOf({ ...ALL, CARILLON_NODE_KEEP_NOTIFICATIONS_DAYS: "58" })).toEqual([
    expect.stringMatching(/^CARILLON_NODE_KEEP_NOTIFICATIONS_DAYS .*59/),
  ]);
});

test("RN1, RN6 — every problem at once, no value echoed, exit 78", async () => {
  const errors: string[] = [];
  const exitCode = await runNodeCommand({
    env: {
      ...ALL,
      CARILLON_NODE_REGION: "Frankfurt!",
      CARILLON_NODE_ROLES: "ingest,gatway",
      CARILLON_NODE_KEY_PEPPER: "",
      CARILLON_NODE_TOKEN_PRIVATE_KEY: '{"kty":"oct","k":"geheim"}',
      CARILLON_NODE_TOKEN_PUBLIC_KEYS: PRIVATE,
      CARILLON_NODE_INGEST_PORT: "70000",
      CARILLON_NODE_INGEST_PROT: "1",
      PATH: "/bin",
    },
    build: "test",
    mode: "run",
    out: () => undefined,
    err: (text) => errors.push(text),
  });
  expect(exitCode).toBe(78);
  expect(errors.join("").trim().split("\n")).toEqual([
    "carillon node: CARILLON_NODE_INGEST_PROT is not a known setting",
    "carillon node: CARILLON_NODE_REGION must be 2 to 16 lower-case letters or digits",
    "carillon node: CARILLON_NODE_ROLES must be ingest, worker or gateway, separated by commas",
    "carillon node: CARILLON_NODE_TOKEN_PRIVATE_KEY must be an Ed25519 private key as JWK with kid",
    'carillon node: CARILLON_NODE_TOKEN_PUBLIC_KEYS must be a JSON Web Key Set ({"keys": […]}) with at least one key, all public',
    "carillon node: CARILLON_NODE_INGEST_PORT must be a whole number from 0 to 65535",
    "carillon node: CARILLON_NODE_KEY_PEPPER (or CARILLON_NODE_KEY_PEPPER_FILE) is required by the role ingest",
  ]);
});

test("RN12 — NATS: a seed, a file of certificates and a name, each checked; the seed not shown", () => {
  const { seed } = createNatsKey();
  const folder = mkdtempSync(join(tmpdir(), "carillon-config-"));
  const caPath = join(folder, "ca.pem");
  writeFileSync(caPath, "-----BEGIN CERTIFICATE-----\n");
  const nats = {
    CARILLON_NODE_NATS_SEED: seed,
    CARILLON_NODE_NATS_CA_PATH: caPath,
    CARILLON_NODE_NATS_SERVER_NAME: "nats.carillon.internal",
  };
  const urls = ["nats://127.0.0.1:4222"];
  const optionsOf = (more: Record<string, string>, roles: readonly Role[]) =>
    natsOptionsOf(readRegionNodeConfig({ ...WORKER, ...more }), roles);
  expect(optionsOf(nats, ["worker"])).toEqual({
    urls,
    inboxPrefix: "_INBOX.fra.worker",
    credentials: { kind: "nkey", seed },
    tls: { caPath, serverName: "nats.carillon.internal" },
  });
  expect(optionsOf({}, ROLES)).toEqual({ urls, inboxPrefix: "_INBOX.fra.node" });
  const secured = { CARILLON_NODE_NATS_URLS: "tls://nats.example:4222" };
  expect(optionsOf(secured, ["worker"])).toMatchObject({ tls: {} });
  rmSync(folder, { recursive: true });
  const wrong = problemsOf({
    ...WORKER,
    // Another letter in the middle: its checksum finds one wrong letter, whatever the seed.
    CARILLON_NODE_NATS_SEED: seed.replace(/(?<=^.{10})./, (letter) => (letter === "A" ? "B" : "A")),
    CARILLON_NODE_NATS_CA_PATH: caPath,
    CARILLON_NODE_NATS_SERVER_NAME: "https://nats",
  });
  expect(wrong).toEqual([
    "CARILLON_NODE_NATS_SEED must be the seed of a NATS user (SU…)",
    "CARILLON_NODE_NATS_CA_PATH must be the path of a PEM file of certificates that can be read",
    "CARILLON_NODE_NATS_SERVER_NAME must be a DNS name such as nats.carillon.internal",
  ]);
});

test("RN1 — a node serves one of the regions", () => {
  expect(problemsOf({ ...WORKER, CARILLON_NODE_REGIONS: "lon,par" })).toEqual([
    "CARILLON_NODE_REGION must be one of CARILLON_NODE_REGIONS",
  ]);
});

test("--check-config says in one line that all is fine, and starts nothing", async () => {
  const told: string[] = [];
  const tell = (text: string): void => void told.push(text);
  const options = { env: ALL, build: "test", out: tell, err: tell };
  expect(await runNodeCommand({ ...options, mode: "check-config" })).toBe(0);
  expect(told).toEqual(["carillon node: the settings are valid\n"]);
});

test("RN1, RN6 — --check-config looks at what a secret is, and does not show it", async () => {
  for (const url of [
    "http://u:geheim@127.0.0.1/fra",
    "u:geheim@127.0.0.1/fra",
    "postgres://",
    "postgres://u:geheim@127.0.0.1:99999/fra",
  ]) {
    const told: string[] = [];
    const tell = (text: string): void => void told.push(text);
    const env = { ...ALL, CARILLON_NODE_STORE_URL: url };
    const options = { env, build: "test", out: tell, err: tell };
    expect(await runNodeCommand({ ...options, mode: "check-config" })).toBe(78);
    expect(told).toEqual([
      "carillon node: CARILLON_NODE_STORE_URL must be an address such as " +
        "postgres://user:password@host:port/name, a port from 1 to 65535, and / ? # @ in the password " +
        "as %2F %3F %23 %40\n",
    ]);
  }
});

test("--print-config shows everything but secrets", async () => {
  let text = "";
  const options = { env: ALL, build: "test", err: () => undefined };
  const out = (part: string): void => void (text += part);
  expect(await runNodeCommand({ ...options, mode: "print-config", out })).toBe(0);
  expect(text).toContain("CARILLON_NODE_STORE_URL=[secret]\n");
  expect(text).toContain("CARILLON_NODE_ROLES=ingest,worker,gateway\n");
  expect(text).not.toContain("geheim");
  expect(text).not.toContain(JSON.parse(PRIVATE).d);
});

test("a member's id names region and role, is new each time and fits a NATS subject", () => {
  const random = createSeededRandom(1);
  const worker = newMemberId(readRegionNodeConfig(WORKER), random);
  const node = newMemberId(readRegionNodeConfig(ALL), random);
  expect(worker).toMatch(/^fra-worker-[a-z0-9]{8}$/);
  expect(node).toMatch(/^fra-node-[a-z0-9]{8}$/);
  expect(worker.slice(-8)).not.toBe(node.slice(-8));
});
