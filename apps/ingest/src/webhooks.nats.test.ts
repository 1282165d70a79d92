// Goal: IN84 and A9. Method: two regions over real NATS, joined to one key as nodes are; one without.
import {
  checkEndpoint,
  createEndpointPolicy,
  deriveWebhookSecret,
  ENDPOINT_PROBLEMS,
} from "@carillon/channels";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ask,
  PEPPER,
  startRegions,
  TENANT,
  TEST_MAX_MS,
  type TestNode,
  type TestRegions,
} from "./test-regions.ts";
import { webhookErrorsOf } from "./webhooks.ts";

let regions: TestRegions;
let fra: TestNode;
let lon: TestNode;

const KEYS = ["the key of the tests, the present one", "the key of the tests, the one before"];
const secretsOf = (tenantId: string): string[] =>
  KEYS.map((key) => deriveWebhookSecret(key, tenantId));
const endpointProblem = (url: string): string | undefined => {
  const check = checkEndpoint(url, createEndpointPolicy());
  return check.kind === "refused" ? ENDPOINT_PROBLEMS[check.problem] : undefined;
};
const webhooks = { secretsOf, endpointProblem };

beforeAll(async () => {
  regions = await startRegions(["fra", "lon"]);
  fra = await regions.startNode("fra", { webhooks });
  lon = await regions.startNode("lon", { webhooks });
}, TEST_MAX_MS);
afterAll(() => regions.stop(), TEST_MAX_MS);

const read = (node: TestNode, token?: string) =>
  ask(`${node.url}/v1/webhooks/secret`, token === undefined ? {} : { token });

test("IN84 — a tenant's admin reads its secrets, the same in every region, not to be kept", async () => {
  const [secret, ...previous] = secretsOf(TENANT);
  for (const node of [fra, lon]) {
    const answer = await read(node, regions.apiKey);
    expect([answer.status, answer.body]).toEqual([200, { secret, previous }]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
  }
});

test("IN84 — no other scope, nobody without a key, and no other tenant reads them", async () => {
  expect((await read(fra)).status).toBe(401);
  const scopes = ["notifications:write", "recipients:write", "read"] as const;
  const answer = await read(fra, await regions.newApiKey("fra", [...scopes]));
  expect([answer.status, answer.body["code"]]).toEqual([403, "forbidden"]);
  await fra.store.tenants.create("other", "Other");
  const request = { tenantId: "other", scopes: ["admin"], pepper: PEPPER } as const;
  const theirs = await read(fra, await fra.store.tenants.createApiKey(request));
  const [secret, ...previous] = secretsOf("other");
  expect([theirs.status, theirs.body]).toEqual([200, { secret, previous }]);
  expect(secretsOf(TENANT)).not.toContain(secret);
});

test("IN84 — where no key was given there is nothing; and no event has held a secret", async () => {
  const without = await regions.startNode("lon");
  const answer = await read(without, regions.apiKey);
  expect([answer.status, answer.body["code"]]).toEqual([404, "not_found"]);
  expect(JSON.stringify([fra.events, lon.events])).not.toContain("whsec_");
});

test("A9, A13 — a webhook that leads nowhere public is named by its place, and not repeated", () => {
  const steps = [
    { to: "recipient" },
    { to: { webhook: "https://hook.example.com/s3cret" } },
    { to: { attribute: "manager" } },
    { to: { webhook: "https://169.254.169.254/s3cret" } },
    { to: { webhook: "https://s3cret@hook.example.com/" } },
  ];
  const at = { field: "requireAck.escalation" };
  expect(webhookErrorsOf(steps, { ...at, webhooks })).toEqual([
    {
      field: "requireAck.escalation[3].to.webhook",
      message: "must name a host, not an address",
    },
    {
      field: "requireAck.escalation[4].to.webhook",
      message: "must have no user name or password",
    },
  ]);
  const noneHere = webhookErrorsOf(steps, { ...at, webhooks: undefined });
  expect(noneHere.map(({ field }) => field)).toEqual(
    [1, 3, 4].map((place) => `requireAck.escalation[${place}].to.webhook`),
  );
  expect(new Set(noneHere.map(({ message }) => message))).toEqual(
    new Set(["cannot be used: this region has no webhooks"]),
  );
});
