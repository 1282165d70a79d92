// Goal: RN2, RN3, RN13, RN14, RN15 and AG6. Method: a node in this process, beside a real local cluster's one.
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { deriveWebhookSecret } from "@carillon/channels";
import { CLOSE_CODES, DEFAULT_REGIONS, type Role, ROLES } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiClient } from "./clients/api-client.ts";
import { DevCluster } from "./dev/dev-cluster.ts";
import { newDataFolder } from "./dev/dev-run.ts";
import { readOrCreateSecrets } from "./dev/dev-secrets.ts";
import { nodeEnv } from "./dev/node-env.ts";
import { supervisorLines } from "./process-view.ts";
import { readRegionNodeConfig } from "./region-node-config.ts";
import { createRegionNode, newMemberId } from "./region-node.ts";
import { drawnTree, printedTree } from "./test-drawn-tree.ts";

const TEST_MAX_MS = 120_000;

describe("a region node", { timeout: TEST_MAX_MS }, () => {
  const folder = newDataFolder();
  let cluster: DevCluster;

  beforeAll(async () => {
    cluster = await DevCluster.start({
      dataFolder: folder.path,
      regions: ["fra"],
      isDurable: false,
      isFresh: false,
      nodeOptions: {},
      log: () => undefined,
    });
  }, TEST_MAX_MS);
  afterAll(async () => {
    await cluster.stop();
    folder.remove();
  }, TEST_MAX_MS);

  function create(
    options: {
      roles?: readonly Role[];
      regions?: readonly string[];
      storeUrl?: string;
      more?: Record<string, string>;
    } = {},
  ) {
    const config = readRegionNodeConfig(
      nodeEnv({
        region: "fra",
        regions: options.regions ?? ["fra"],
        roles: options.roles ?? ROLES,
        natsUrl: cluster.natsUrl("fra"),
        storeUrl: options.storeUrl ?? cluster.storeUrl("fra"),
        secrets: readOrCreateSecrets(join(folder.path, "secrets"), systemRandom),
        ingestPort: 0,
        gatewayPort: 0,
        more: options.more ?? {},
      }),
    );
    const events: string[] = [];
    const stream = {
      write: (line: string) => void events.push((JSON.parse(line) as { event: string }).event),
    };
    const memberId = newMemberId(config, systemRandom);
    const log = createLogger({
      region: "fra",
      node: memberId,
      component: "node",
      level: "info",
      stream,
    });
    const node = createRegionNode({
      config,
      memberId,
      build: "test",
      clock: systemClock,
      random: systemRandom,
      scheduler: systemScheduler,
      log,
      metrics: createMetrics({ region: "fra", hasDefaults: false }),
    });
    return { node, memberId, events };
  }

  const isServing = (port: number | null, path: string): Promise<boolean> =>
    fetch(`http://127.0.0.1:${port}${path}`).then(
      ({ status }) => status === 200,
      () => false,
    );

  test("RN2 — serves when it is ready; stops in reverse, each part once", async () => {
    const { node, memberId, events } = create();
    const ready = await node.start();
    expect(ready).toEqual({
      kind: "ready",
      memberId,
      ingestPort: expect.any(Number) as number,
      gatewayPort: expect.any(Number) as number,
      metricsPort: expect.any(Number) as number,
    });
    expect(await isServing(ready.ingestPort, "/readyz")).toBe(true);
    expect(await isServing(ready.gatewayPort, "/readyz")).toBe(true);
    events.length = 0;
    await Promise.all([node.stop(), node.stop()]);
    expect(await isServing(ready.ingestPort, "/livez")).toBe(false);
    expect(await isServing(ready.gatewayPort, "/livez")).toBe(false);
    const steps = ["gateway.draining", "gateway.drained", "node.stop_failed", "node.stop_late"];
    expect(events.filter((event) => steps.includes(event))).toEqual([
      "gateway.draining",
      "gateway.drained",
    ]);
  });

  test("RN2 — with one role it is that alone; a gateway by itself needs no database", async () => {
    const gateway = create({ roles: ["gateway"], storeUrl: "" });
    const ready = await gateway.node.start();
    expect(ready.ingestPort).toBe(null);
    const answer = await fetch(`http://127.0.0.1:${ready.gatewayPort}/readyz`);
    expect(await answer.json()).toEqual({ status: "ready", isBusConnected: true });
    await gateway.node.stop();
    expect(await isServing(ready.gatewayPort, "/livez")).toBe(false);

    const ingest = create({ roles: ["ingest"] });
    const { ingestPort, gatewayPort } = await ingest.node.start();
    expect(gatewayPort).toBe(null);
    const url = `http://127.0.0.1:${ingestPort}`;
    const accepted = await fetch(`${url}/v1/notifications`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
      body: JSON.stringify({ audience: { broadcast: true }, content: { en: { title: "Hello" } } }),
    });
    expect(accepted.status).toBe(202);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain(
      'carillon_ingest_notifications_total{outcome="accepted",region="fra"} 1\n',
    );
    await ingest.node.stop();
  });

  test.each(ROLES)(
    "RN14 — a node with only the role %s shows its metrics, until it has stopped",
    async (role) => {
      const { node } = create({ roles: [role] });
      const { metricsPort } = await node.start();
      const url = `http://127.0.0.1:${metricsPort}`;
      expect(await (await fetch(`${url}/healthz`)).text()).toBe("ok\n");
      const answer = await fetch(`${url}/readyz`);
      expect([answer.status, await answer.json()]).toEqual([
        200,
        {
          status: "ready",
          roles: [role],
          isBusConnected: true,
          standing: role === "gateway" ? null : "serving",
        },
      ]);
      const shown = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
      const runtime = `carillon_process_resident_count{runtime="${role}",region="fra"} 0\n`;
      const members = 'carillon_members_count{state="alive",region="fra"}';
      while (!(await shown()).includes(members)) await systemClock.sleep(20); // once a second
      expect((await shown()).includes(runtime)).toBe(role !== "ingest");
      expect((await fetch(`${url}/tree`)).status).toBe(404); // asked with the operator key only
      await node.stop();
      expect(await isServing(metricsPort, "/healthz")).toBe(false);
    },
  );

  test("RN14, AG6 — a metrics port that is taken ends nothing, and is served once it is free", async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
    const { port } = holder.address() as AddressInfo;
    const { node, events } = create({ more: { CARILLON_NODE_METRICS_PORT: String(port) } });
    const ready = await node.start();
    expect([ready.metricsPort, await isServing(ready.ingestPort, "/readyz")]).toEqual([null, true]);
    await new Promise((resolve) => holder.close(resolve));
    while (!(await isServing(port, "/readyz"))) await systemClock.sleep(20);
    expect(events.filter((event) => event.startsWith("metrics."))).toEqual([
      "metrics.not_served",
      "metrics.served",
    ]);
    await node.stop();
  });

  test.each(["CARILLON_NODE_TOKEN_ISSUER", "CARILLON_NODE_TOKEN_AUDIENCE"])(
    "%s is asked of tokens; when it is not set, none is",
    async (name) => {
      const { ingestUrl: baseUrl } = cluster.region("fra");
      const api = new ApiClient(
        { baseUrl, apiKey: cluster.apiKey, connectionsMax: 1 },
        systemClock,
      );
      await api.expect({ method: "PUT", path: "/v1/recipients/ada", body: "{}" });
      const token = (await api.tokensOf(["ada"])).get("ada")!; // names neither
      api.close();
      const closeCodeOf = async (more: Record<string, string>): Promise<number> => {
        const { node } = create({ roles: ["gateway"], storeUrl: "", more });
        const { gatewayPort } = await node.start();
        const bearer = `base64url.bearer.phx.${Buffer.from(token).toString("base64url")}`;
        const url = `ws://127.0.0.1:${gatewayPort}/socket/websocket?vsn=2.0.0`;
        const socket = new WebSocket(url, ["phoenix", bearer]);
        const joined = Promise.withResolvers<void>();
        const closed = new Promise<number>((resolve) => {
          socket.addEventListener("close", ({ code }) => resolve(code));
        });
        socket.addEventListener("message", ({ data }) => {
          if (String(data).includes('"status":"ok"')) joined.resolve();
        });
        socket.addEventListener("open", () => socket.send('["1","1","inbox","phx_join",{}]'));
        await Promise.race([joined.promise, closed]);
        await node.stop();
        return closed;
      };
      expect(await closeCodeOf({})).toBe(CLOSE_CODES.drain);
      expect(await closeCodeOf({ [name]: "hr.example" })).toBe(CLOSE_CODES.unauthenticated);
    },
  );

  test("RN15 — a node tells its tenants' webhook secrets, made of its own key", async () => {
    const { apiKey, webhookKeysFile } = readOrCreateSecrets(
      join(folder.path, "secrets"),
      systemRandom,
    );
    const response = await fetch(`${cluster.region("fra").ingestUrl}/v1/webhooks/secret`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    const secret = deriveWebhookSecret(readFileSync(webhookKeysFile, "utf8").trim(), "demo");
    expect([response.status, await response.json()]).toEqual([200, { secret, previous: [] }]);
  });

  test("RN13 — the tree is printed as docs/architecture.md draws it", async () => {
    const { node } = create({ regions: DEFAULT_REGIONS });
    await node.start();
    const printed = supervisorLines(node.tree(), "  ");
    await node.stop();
    expect(printedTree(printed)).toEqual(drawnTree("node"));
  });

  test("RN3 — stopped while it starts, and before: nothing goes on", async () => {
    const { node, events } = create();
    const starting = node.start();
    await node.stop();
    const ready = await starting;
    expect(await isServing(ready.ingestPort, "/livez")).toBe(false);
    expect(await isServing(ready.gatewayPort, "/livez")).toBe(false);
    expect(events.filter((event) => event.startsWith("node.stop"))).toEqual([]);
    await create().node.stop();
  });
});
