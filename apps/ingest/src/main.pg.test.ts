// Goal: main.ts runs a node, ends it on SIGTERM, and says everything wrong with its settings.
// Method: real child processes.
import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ask, PEPPER, startRegions, TEST_MAX_MS, type TestRegions } from "./test-regions.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
let regions: TestRegions;

beforeAll(async () => {
  regions = await startRegions(["fra"]);
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

function start(env: Record<string, string>, args: readonly string[] = []) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, exited, errorsOf: () => errors };
}

function settings(): Record<string, string> {
  const { privateKey } = generateKeyPairSync("ed25519");
  return {
    CARILLON_INGEST_REGION: "fra",
    CARILLON_INGEST_REGIONS: "fra",
    CARILLON_INGEST_HOST: "127.0.0.1",
    CARILLON_INGEST_PORT: "0",
    CARILLON_INGEST_NATS_URLS: regions.natsOf.get("fra")!.clientUrl,
    CARILLON_INGEST_STORE_URL: regions.databaseUrl("fra"),
    CARILLON_INGEST_KEY_PEPPER: PEPPER,
    CARILLON_INGEST_TOKEN_PRIVATE_KEY: JSON.stringify({
      ...privateKey.export({ format: "jwk" }),
      kid: "k1",
    }),
  };
}

test("a node starts, accepts, and ends in order on SIGTERM", async () => {
  const { child, exited, errorsOf } = start(settings());
  const port = await new Promise<number>((resolve, reject) => {
    void exited.then(() => reject(new Error(errorsOf())));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const entry = JSON.parse(line) as { event: string; port?: number };
      if (entry.event === "node.ready") resolve(entry.port ?? 0);
    });
  });
  const answer = await ask(`http://127.0.0.1:${port}/v1/notifications`, {
    method: "POST",
    token: regions.apiKey,
    body: { audience: { broadcast: true }, content: { en: { title: "Hello" } } },
  });
  expect(answer.status).toBe(202);
  const metrics = await ask(`http://127.0.0.1:${port}/metrics`);
  expect(String(metrics.body["text"])).toContain(
    'carillon_ingest_notifications_total{outcome="accepted",region="fra"} 1',
  );
  child.kill("SIGTERM");
  expect([await exited, errorsOf()]).toEqual([0, ""]);
});

test("wrong settings: exit 78, all of them named, no value echoed", async () => {
  const env = {
    ...settings(),
    CARILLON_INGEST_PORT: "http",
    CARILLON_INGEST_TOKEN_PRIVATE_KEY: '{"kty":"oct","k":"very-secret"}',
    CARILLON_INGEST_POTR: "1",
  };
  const { exited, errorsOf } = start(env, ["--check-config"]);
  expect(await exited).toBe(78);
  expect(errorsOf().trim().split("\n").toSorted()).toEqual([
    "CARILLON_INGEST_PORT must be a whole number from 0 to 65535",
    "CARILLON_INGEST_POTR is not a known setting",
    "CARILLON_INGEST_TOKEN_PRIVATE_KEY must be a private Ed25519 JWK with kid, x and d",
  ]);
});
