// test/e2e/webhook.test.ts
// Goal: A9 for chains (ADR 0030, 0031): who does not acknowledge is told to the tenant's endpoint, signed with the
// secret that the API tells, again after a failure, under one id; an endpoint that leads nowhere public is a 422.
// Method: a real node, a real receiver over TLS, the receivers' own library.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RecipientExplanation } from "@carillon/contracts";
import { createTestPki } from "@carillon/testkit";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./api.ts";
import { startTestCluster, type TestCluster } from "./cluster.ts";

interface Posted {
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

const folder = mkdtempSync(join(tmpdir(), "carillon-webhook-"));
const pki = createTestPki(folder);
const posted: Posted[] = [];
let receiver: Server;
let system: TestCluster;
const fra = () => system.api("fra");

beforeAll(async () => {
  const { certPath, keyPath } = pki.issue("hook", { dnsNames: [], addresses: ["127.0.0.1"] });
  receiver = createServer(
    { cert: readFileSync(certPath), key: readFileSync(keyPath) },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        posted.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
        if (posted.length === 1) response.writeHead(503, { "retry-after": "1" }).end("later");
        else response.writeHead(204).end();
      });
    },
  );
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  system = await startTestCluster(["fra"], { CARILLON_NODE_WEBHOOK_CA_PATH: pki.caPath });
  await fra().register("ada", "fra");
});
afterAll(async () => {
  await system?.stop();
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
  rmSync(folder, { recursive: true });
});

test("A9, FL6 — an overdue acknowledgement is posted, signed, again after a 503, under one id", async () => {
  const url = `https://127.0.0.1:${(receiver.address() as AddressInfo).port}/overdue?token=x`;
  const ada = await system.connect("ada", { region: "fra" });
  const id = await fra().post({ recipients: ["ada"] }, "evacuate", {
    requireAck: { deadlineSeconds: 10, escalation: [{ to: { webhook: url } }] },
  });
  await ada.has(1);
  await until("it was posted twice", 60_000, () =>
    Promise.resolve(posted.length >= 2 || undefined),
  );
  const { body: told } = await fra().call<{ secret: string }>("GET", "/v1/webhooks/secret");
  const theirs = new Webhook(told.secret);
  for (const { headers, body } of posted)
    expect(theirs.verify(body, headers as Record<string, string>)).toMatchObject({
      type: "notification.ack_overdue",
      data: { notificationId: id, recipientId: "ada", step: 1 },
    });
  expect(new Set(posted.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  expect(posted.length).toBe(2);
  const kinds = await until("the story is written", 30_000, async () => {
    const path = `/v1/notifications/${id}/recipients/ada`;
    const { body } = await fra().call<RecipientExplanation>("GET", path);
    const all = body.timeline.map(({ kind, code }) => `${kind} ${code}`);
    return all.includes("escalated webhook") ? all : undefined;
  });
  expect(kinds.filter((kind) => kind.startsWith("escalated"))).toEqual(["escalated webhook"]);
}, 120_000);

test("A9, A13 — an endpoint that leads nowhere public is a 422 that names its place", async () => {
  const { status, body } = await fra().call<{ errors: unknown }>("POST", "/v1/notifications", {
    audience: { recipients: ["ada"] },
    content: { en: { title: "x" } },
    requireAck: {
      deadlineSeconds: 10,
      escalation: [{ to: { webhook: "https://169.254.169.254/latest/meta-data/" } }],
    },
  });
  expect(status).toBe(422);
  expect(body.errors).toEqual([
    { field: "requireAck.escalation[0].to.webhook", message: "must name a host, not an address" },
  ]);
});
