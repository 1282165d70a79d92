// packages/channels/src/test-receiver.ts
// A real HTTPS server as receivers have it, under names that a scripted resolver leads to it.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@carillon/kernel";
import { createTestPki } from "@carillon/testkit";
import {
  createEndpointPolicy,
  createWebhookSender,
  deriveWebhookSecret,
  type EndpointPolicyOptions,
  type WebhookDeps,
  type WebhookLimits,
  type WebhookOutcome,
  type WebhookPost,
  type WebhookSender,
} from "./index.ts";

export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

type Answer = (response: ServerResponse, received: Received, socket: Socket) => void;

export interface Receiver {
  readonly port: number;
  /** Posts whose body came whole, oldest first. */
  readonly received: Received[];
  /** Connections that were opened, TLS or not. */
  connectionsCount(): number;
  answer(next: Answer): void;
  close(): Promise<void>;
}

const folder = mkdtempSync(join(tmpdir(), "carillon-webhook-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
const pki = createTestPki(folder);
export const CA = readFileSync(pki.caPath, "utf8");
export const HOST = "hook.example.com";
export const SERVER_KEY = "a key of the tests, 32 characters at least";

/** Open on 127.0.0.1, and `accepted` until told otherwise. */
export async function startReceiver(
  wish: { readonly dnsNames?: readonly string[]; readonly daysValid?: number } = {},
): Promise<Receiver> {
  const { dnsNames = [HOST, "*.example.com"], daysValid = 7 } = wish;
  const name = `${dnsNames.join("-").replaceAll("*", "any")}${daysValid}`;
  const { certPath, keyPath } = pki.issue(name, { dnsNames, addresses: ["127.0.0.1"], daysValid });
  const files = { cert: readFileSync(certPath), key: readFileSync(keyPath) };
  let answer: Answer = (response) => response.writeHead(204).end();
  let connectionsCount = 0;
  const received: Received[] = [];
  const server: Server = createServer(files, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      received.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      answer(response, received.at(-1)!, request.socket);
    });
  });
  server.on("connection", () => connectionsCount++);
  server.on("tlsClientError", () => undefined); // clients that do not like the certificate
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received,
    connectionsCount: () => connectionsCount,
    answer: (next) => (answer = next),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface SenderWish {
  readonly policy?: EndpointPolicyOptions;
  readonly limits?: Partial<WebhookLimits>;
  readonly deps?: Partial<WebhookDeps>;
  readonly ca?: string | null; // null: the usual authorities
}

/** Every name leads to 127.0.0.1, which is open to it; secrets are derived. */
export function senderFor(wish: SenderWish = {}): WebhookSender {
  const policy = createEndpointPolicy({ allow: ["127.0.0.1"], ports: "any", ...wish.policy });
  const { ca = CA } = wish;
  return createWebhookSender(
    { policy, ...(wish.limits && { limits: wish.limits }), ...(ca !== null && { ca }) },
    {
      clock: systemClock,
      secretsOf: (tenantId) => [deriveWebhookSecret(SERVER_KEY, tenantId)],
      resolve: () => Promise.resolve(["127.0.0.1"]),
      ...wish.deps,
    },
  );
}

let postsCount = 0;

export function postTo(receiver: Receiver, more: Partial<WebhookPost> = {}): WebhookPost {
  return {
    id: `msg_${postsCount++}`,
    tenantId: "acme",
    url: `https://${HOST}:${receiver.port}/hook/s3cret-path?token=s3cret-query`,
    timestampMs: systemClock.wallClockMs(),
    body: JSON.stringify({ type: "ack.overdue", data: { note: "s3cret-body äöü" } }),
    ...more,
  };
}

/** Without the status, which most tables do not turn on. */
export function codeOf(outcome: WebhookOutcome): string {
  return outcome.kind === "accepted" ? "accepted" : `${outcome.kind} ${outcome.code}`;
}
