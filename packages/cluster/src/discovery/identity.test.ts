// Goal: ID1–ID5, C6. Method: a metadata service of our own that is as strict as the real one.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "@carillon/kernel";
import { FakeClock } from "@carillon/testkit";
import { expect, onTestFinished, test } from "vitest";
import { createIdentitySource } from "./identity.ts";

const TOKEN_PATH = "/latest/api/token";
const DOCUMENT_PATH = "/latest/dynamic/instance-identity/document";
const DOCUMENT = {
  accountId: "123456789012",
  availabilityZone: "eu-central-1-ham-1a", // a Local Zone: its region is not "all but the last letter"
  instanceId: "i-0123456789abcdef0",
  privateIp: "10.40.1.7",
  region: "eu-central-1",
};
const FULL: Record<string, string> = {
  [DOCUMENT_PATH]: JSON.stringify(DOCUMENT),
  "/latest/meta-data/tags/instance": "Name\ncarillon:cluster\ncarillon:role",
  "/latest/meta-data/tags/instance/Name": "fra-a",
  "/latest/meta-data/tags/instance/carillon:cluster": "acme",
  "/latest/meta-data/tags/instance/carillon:role": "nats worker",
  "/latest/meta-data/autoscaling/target-lifecycle-state": "InService",
};
const KNOWN = {
  instanceId: "i-0123456789abcdef0",
  awsRegion: "eu-central-1",
  zone: "eu-central-1-ham-1a",
  accountId: "123456789012",
  privateAddress: "10.40.1.7",
};

/** IMDSv2: a token by PUT with a TTL, 401 without one, 403 when the hop limit is passed. */
async function imds(
  paths: Readonly<Record<string, string>> = FULL,
  options: { hopsCount?: number; answer?: (r: ServerResponse) => void } = {},
) {
  const asked: string[] = [];
  const tokens = new Map<string, number>();
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const { method = "", url = "", headers } = request;
    asked.push(`${method} ${url}`);
    const end = (status: number, text = ""): void => void response.writeHead(status).end(text);
    if (options.answer !== undefined) return options.answer(response);
    if (method === "PUT" && url === TOKEN_PATH) {
      const ttlSeconds = Number(headers["x-aws-ec2-metadata-token-ttl-seconds"]);
      if (!(ttlSeconds >= 1 && ttlSeconds <= 21_600)) return end(400);
      // Beyond the hop limit the answer's packets die on their way: nobody hears of them.
      if ((options.hopsCount ?? 1) > 1) return;
      const token = `AQ-${tokens.size}==`;
      tokens.set(token, performance.now() + ttlSeconds * 1_000);
      return end(200, token);
    }
    const untilMs = tokens.get(String(headers["x-aws-ec2-metadata-token"])) ?? 0;
    if (untilMs < performance.now()) return end(401);
    const text = paths[url];
    return text === undefined ? end(404) : end(200, text);
  };
  const server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { asked, endpoint: `http://127.0.0.1:${port}` };
}

test("ID1, ID2 — C6 token first; region and zone from the document, tags, lifecycle state", async () => {
  const { asked, endpoint } = await imds();
  const outcome = await createIdentitySource({ clock: systemClock, endpoint }).identity();
  expect(outcome).toEqual({
    kind: "known",
    identity: {
      ...KNOWN,
      tags: { Name: "fra-a", "carillon:cluster": "acme", "carillon:role": "nats worker" },
      lifecycleState: "InService",
    },
  });
  expect(asked.slice(0, 2)).toEqual([`PUT ${TOKEN_PATH}`, `GET ${DOCUMENT_PATH}`]);
});

test("ID2 — no tags told, no Auto Scaling group: known all the same", async () => {
  const { endpoint } = await imds({ [DOCUMENT_PATH]: JSON.stringify(DOCUMENT) });
  const outcome = await createIdentitySource({ clock: systemClock, endpoint }).identity();
  expect(outcome).toEqual({
    kind: "known",
    identity: { ...KNOWN, tags: {}, lifecycleState: null },
  });
});

test("ID3 — read once, by all who ask; a failure is asked again", async () => {
  let isDown = true;
  const { asked, endpoint } = await imds(FULL);
  const down = await imds(FULL, { answer: (response) => void response.writeHead(503).end() });
  const options = {
    clock: systemClock,
    get endpoint() {
      return isDown ? down.endpoint : endpoint;
    },
  };
  const source = createIdentitySource(options);
  expect(await source.identity()).toEqual({
    kind: "failed",
    reason: "refused",
    detail: `${TOKEN_PATH}: status 503`,
  });
  isDown = false;
  const [first, second] = await Promise.all([source.identity(), source.identity()]);
  expect([first?.kind, first === second, await source.identity()]).toEqual(["known", true, first]);
  expect(asked.filter((one) => one.startsWith("PUT"))).toHaveLength(1);
});

test("ID1 — a token that the service does not take is refused, not guessed round", async () => {
  const { endpoint } = await imds(FULL, {
    answer(response) {
      const isToken = response.req.url === TOKEN_PATH;
      response.writeHead(isToken ? 200 : 401).end(isToken ? "stale" : "");
    },
  });
  const outcome = await createIdentitySource({ clock: systemClock, endpoint }).identity();
  expect(outcome).toEqual({
    kind: "failed",
    reason: "refused",
    detail: `${DOCUMENT_PATH}: status 401`,
  });
});

test("ID4 — beyond the hop limit nothing answers: unreachable after its limit", async () => {
  const { asked, endpoint } = await imds(FULL, { hopsCount: 2 });
  const clock = new FakeClock();
  const source = createIdentitySource({ clock, endpoint, requestMaxMs: 2_000 });
  const reading = source.identity();
  while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(2_000);
  expect(await reading).toEqual({
    kind: "failed",
    reason: "unreachable",
    detail: `${TOKEN_PATH}: no answer within 2000 ms`,
  });
});

test("ID5 — tags and lifecycle state that fail leave the identity known", async () => {
  const { endpoint } = await imds(FULL, {
    answer(response) {
      const { url = "" } = response.req;
      if (url === TOKEN_PATH) response.writeHead(200).end("token");
      else if (url === DOCUMENT_PATH) response.writeHead(200).end(JSON.stringify(DOCUMENT));
      else response.writeHead(500).end();
    },
  });
  const outcome = await createIdentitySource({ clock: systemClock, endpoint }).identity();
  expect(outcome).toEqual({
    kind: "known",
    identity: { ...KNOWN, tags: {}, lifecycleState: null },
  });
});

test("ID4 — all requests of a read have one limit, too", async () => {
  const clock = new FakeClock();
  let tagsCount = 0;
  const names = Array.from({ length: 50 }, (_, n) => `tag-${n}`);
  const { endpoint } = await imds(FULL, {
    answer(response) {
      const { url = "" } = response.req;
      if (url === TOKEN_PATH) response.writeHead(200).end("token");
      else if (url === DOCUMENT_PATH) response.writeHead(200).end(JSON.stringify(DOCUMENT));
      else if (url.endsWith("/instance")) response.writeHead(200).end(names.join("\n"));
      else {
        tagsCount++;
        clock.block(1_500); // each takes less than a request may
        response.writeHead(200).end("value");
      }
    },
  });
  const outcome = createIdentitySource({ clock, endpoint, readMaxMs: 3_000 }).identity();
  const ended = new AbortController();
  void outcome.then(() => ended.abort());
  while (!ended.signal.aborted) await clock.advance(0);
  expect(await outcome).toMatchObject({ kind: "known", identity: { ...KNOWN, tags: {} } });
  expect(tagsCount).toBeLessThanOrEqual(4); // of 50
});

test("ID4 — no metadata service at all: unreachable", async () => {
  const source = createIdentitySource({ clock: systemClock, endpoint: "http://127.0.0.1:1" });
  expect(await source.identity()).toMatchObject({ kind: "failed", reason: "unreachable" });
});

test.each([
  ["is not JSON", "<html>", "the identity document is not JSON"],
  [
    "lacks its region",
    JSON.stringify({ ...DOCUMENT, region: "" }),
    "the identity document has no region",
  ],
])("ID2 — a document that %s is malformed", async (_, document, detail) => {
  const { endpoint } = await imds({ ...FULL, [DOCUMENT_PATH]: document });
  const outcome = await createIdentitySource({ clock: systemClock, endpoint }).identity();
  expect(outcome).toEqual({ kind: "failed", reason: "malformed", detail });
});
