// Goal: RN15, and RN1 for its settings. Method: settings good and bad; the child under a supervisor of its
// own, posting to a real receiver over TLS whose authority is in a file.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deriveWebhookSecret } from "@carillon/channels";
import { ConfigError, printConfig } from "@carillon/config";
import { systemClock } from "@carillon/kernel";
import { Supervisor } from "@carillon/process";
import { createMetrics } from "@carillon/telemetry";
import { createTestPki } from "@carillon/testkit";
import { afterAll, expect, test } from "vitest";
import { NodeWebhooks } from "./node-webhooks.ts";
import { readRegionNodeConfig } from "./region-node-config.ts";

const folder = mkdtempSync(join(tmpdir(), "carillon-webhooks-"));
afterAll(() => rmSync(folder, { recursive: true }));

const KEY = "geheim-und-mindestens-32-Zeichen-lang";
const WORKER = {
  CARILLON_NODE_REGION: "fra",
  CARILLON_NODE_ROLES: "worker",
  CARILLON_NODE_NATS_URLS: "nats://127.0.0.1:4222",
  CARILLON_NODE_STORE_URL: "postgres://u:geheim@127.0.0.1/fra",
};
const configOf = (more: Record<string, string>) => readRegionNodeConfig({ ...WORKER, ...more });

function problemsOf(more: Record<string, string>): readonly string[] {
  try {
    configOf(more);
  } catch (cause) {
    if (cause instanceof ConfigError) return cause.problems;
    throw cause;
  }
  return [];
}

test("RN15 — without a key there are no webhooks; with several the present one comes first", () => {
  expect(NodeWebhooks.of(configOf({}))).toBeUndefined();
  const config = configOf({ CARILLON_NODE_WEBHOOK_KEYS: `new-${KEY},${KEY}` });
  expect(NodeWebhooks.of(config)?.secretsOf("acme")).toEqual([
    deriveWebhookSecret(`new-${KEY}`, "acme"),
    deriveWebhookSecret(KEY, "acme"),
  ]);
  expect(printConfig(config)).not.toContain(KEY);
});

test("RN1, RN15 — every setting of webhooks that is wrong is told, and no key is shown", () => {
  const problems = problemsOf({
    CARILLON_NODE_WEBHOOK_KEYS: "geheim",
    CARILLON_NODE_WEBHOOK_ALLOW: "10.0.0.0/8, 0.0.0.0/0",
    CARILLON_NODE_WEBHOOK_PORTS: "443, 0",
    CARILLON_NODE_WEBHOOK_CA_PATH: "/nowhere",
  });
  expect(problems).toEqual([
    "CARILLON_NODE_WEBHOOK_KEYS must be 1 to 3 keys of at least 32 characters, separated by commas",
    "CARILLON_NODE_WEBHOOK_ALLOW must be CIDRs such as 10.20.0.0/16 and hosts such as hooks.corp or *.corp, separated by commas",
    "CARILLON_NODE_WEBHOOK_PORTS must be ports from 1 to 65535, separated by commas, or any",
    expect.stringMatching(/^CARILLON_NODE_WEBHOOK_CA_PATH must be /),
  ]);
  for (const keys of [`${KEY},short`, `${KEY} ${KEY}`, [KEY, KEY, KEY, KEY].join(",")])
    expect(problemsOf({ CARILLON_NODE_WEBHOOK_KEYS: keys }).length).toBe(1);
});

test("RN15 — what is public may be registered, and what the operator has opened", () => {
  const keys = { CARILLON_NODE_WEBHOOK_KEYS: KEY };
  const strict = NodeWebhooks.of(configOf(keys))!;
  expect(strict.endpointProblem("https://hook.example.com/x")).toBeUndefined();
  expect(strict.endpointProblem("https://10.20.0.1/x")).toBe("must name a host, not an address");
  expect(strict.endpointProblem("https://hook.example.com:8443/")).toMatch(/port/);
  const opened = NodeWebhooks.of(
    configOf({
      ...keys,
      CARILLON_NODE_WEBHOOK_ALLOW: "10.20.0.0/16,hooks.corp",
      CARILLON_NODE_WEBHOOK_PORTS: "443,8443",
    }),
  )!;
  expect(opened.endpointProblem("https://10.20.0.1/x")).toBeUndefined();
  expect(opened.endpointProblem("https://hooks.corp:8443/x")).toBeUndefined();
});

test("RN15 — posts while its child runs, and is `closed` before and after; counted by outcome", async () => {
  const pki = createTestPki(folder);
  const { certPath, keyPath } = pki.issue("hook", { dnsNames: [], addresses: ["127.0.0.1"] });
  const ids: unknown[] = [];
  const receiver = createServer(
    { cert: readFileSync(certPath), key: readFileSync(keyPath) },
    (request, response) => {
      ids.push(request.headers["webhook-id"]);
      request.resume().on("end", () => response.writeHead(204).end());
    },
  );
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const config = configOf({
    CARILLON_NODE_WEBHOOK_KEYS: KEY,
    CARILLON_NODE_WEBHOOK_ALLOW: "127.0.0.1",
    CARILLON_NODE_WEBHOOK_PORTS: "any",
    CARILLON_NODE_WEBHOOK_CA_PATH: pki.caPath,
  });
  const metrics = createMetrics({ region: "fra", hasDefaults: false });
  const webhooks = NodeWebhooks.of(config)!;
  const port = (receiver.address() as AddressInfo).port;
  const post = (id: string) =>
    webhooks.post({
      id,
      tenantId: "acme",
      url: `https://127.0.0.1:${port}/`,
      timestampMs: systemClock.wallClockMs(),
      body: "{}",
    });
  expect(await post("early")).toEqual({ kind: "failed", code: "closed" });
  const supervisor = new Supervisor({
    id: "test",
    clock: systemClock,
    intensity: 0,
    periodMs: 1,
    children: [webhooks.child({ config, clock: systemClock, metrics })],
  });
  await supervisor.start();
  expect(await post("first")).toEqual({ kind: "accepted", status: 204 });
  await supervisor.stop();
  expect(await post("late")).toEqual({ kind: "failed", code: "closed" });
  expect(ids).toEqual(["first"]);
  const { text } = await metrics.render();
  expect(text).toContain('carillon_webhook_posts_total{outcome="accepted",region="fra"} 1');
  expect(text).toContain('carillon_webhook_post_duration_seconds_count{region="fra"} 1');
  expect(text).toContain('carillon_webhook_posts_running_count{region="fra"} 0');
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
});
