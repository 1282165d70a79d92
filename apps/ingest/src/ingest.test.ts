// Goal: IN34. Method: a node over the memory network and a store that only knows API keys, with real
// HTTP; a crash is planted where a part touches what it was given (its clock, its events).
import { createMemoryNetwork } from "@carillon/bus";
import { encodeMessage, subjects } from "@carillon/contracts";
import { type Clock, systemClock, systemRandom } from "@carillon/kernel";
import type { SupervisorReport } from "@carillon/process";
import type { Store } from "@carillon/store";
import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import type { IngestEvents } from "./events.ts";
import { createIngest } from "./ingest.ts";
import { ask, until } from "./test-regions.ts";

async function start() {
  const network = createMemoryNetwork();
  const other = network.connect("lon");
  const reports: SupervisorReport[] = [];
  const bomb = { clock: false, refused: false };
  const clock: Clock = {
    ...systemClock,
    monotonicMs() {
      const { stack = "" } = new Error("where");
      if (bomb.clock && stack.includes("batcher.ts") && !stack.includes("add")) plant("clock");
      return systemClock.monotonicMs();
    },
  };
  const plant = (what: keyof typeof bomb): never => {
    bomb[what] = false;
    throw new TypeError(`planted in ${what}`);
  };
  const events = new Proxy({} as IngestEvents, {
    get: (_target, name) => () => {
      if (name === "refused" && bomb.refused) plant("refused");
    },
  });
  const store = {
    tenants: { verifyApiKey: async () => ({ tenantId: "acme", scopes: ["admin"] }) },
    outbox: {
      takeOver: async () => ({ kind: "none" }),
      readWaiting: async () => [],
      claim: async () => [],
    },
    directory: { homesOf: async () => new Map() },
  } as unknown as Store;
  const { privateKey } = generateKeyPairSync("ed25519");
  const ingest = await createIngest({
    config: {
      region: "fra",
      regions: ["fra", "lon"],
      host: "127.0.0.1",
      port: 0,
      apiKeyPepper: "pepper",
      tokenKeys: {
        privateJwk: { ...privateKey.export({ format: "jwk" }), kid: "k" },
        publicJwks: [],
      },
    },
    store,
    bus: network.connect("fra"),
    owners: { ownerOf: () => undefined, onMemberLost: () => () => undefined },
    members: () => [],
    clock,
    random: systemRandom,
    events,
    metricsText: () => Promise.resolve({ contentType: "text/plain", text: "" }),
    supervision: { onReport: (report) => void reports.push(report) },
  });
  const { port } = await ingest.start();
  const url = `http://127.0.0.1:${port}`;
  const isLive = async (): Promise<boolean> =>
    ask(`${url}/livez`).then(
      ({ status }) => status === 200,
      () => false,
    );
  const exited = (): string[] =>
    reports.flatMap((report) => (report.kind === "child_exited" ? [report.id] : []));
  const restarts = (): string[] =>
    ingest.tree().children.map(({ id, restartsCount }) => `${id} ${restartsCount}`);
  return { ingest, other, bomb, url, isLive, exited, restarts };
}

test("IN34 — the HTTP side crashes: it listens on its port again, the others were not touched", async () => {
  const { ingest, bomb, url, isLive, exited, restarts } = await start();
  bomb.clock = true;
  const posted = ask(`${url}/v1/notifications`, {
    method: "POST",
    token: "crl_test_0123456789abcdef",
    body: { audience: { broadcast: true }, content: { en: { title: "Hello" } } },
  });
  // Cut off or 500, whichever is first: not accepted either way, and tried again (D1).
  const status = await posted.then(
    (answer) => answer.status,
    (cause: Error) => cause.message,
  );
  expect(["fetch failed", 500]).toContain(status);
  await until("it has crashed", () => exited().length > 0); // told after the answer, as a rule before
  expect(exited()).toEqual(["http"]);
  await until("it serves again", isLive);
  expect(restarts()).toEqual(["relay 0", "intake 0", "http 1"]);
  await ingest.stop();
  expect(await isLive()).toBe(false);
});

test("IN34 — the intake crashes: other regions are served again, the HTTP side all the time", async () => {
  const { ingest, other, bomb, isLive, exited, restarts } = await start();
  const subject = subjects.regionLocate("fra");
  bomb.refused = true;
  await other.request(subject, encodeMessage({ tenantId: 7 }), 200);
  await until("it has crashed", () => exited().length > 0);
  const good = encodeMessage({ tenantId: "acme", recipientIds: [] });
  const outcome = await until("it answers again", async () => {
    const answer = await other.request(subject, good, 1_000);
    return answer.kind === "reply" && answer;
  });
  expect(outcome.kind).toBe("reply");
  expect([exited(), restarts(), await isLive()]).toEqual([
    ["intake"],
    ["relay 0", "intake 1", "http 0"],
    true,
  ]);
  await ingest.stop();
});
