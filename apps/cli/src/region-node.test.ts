// Goal: RN2 and RN3. Method: a node in this process, beside a real local cluster's one.
import { join } from "node:path";
import { ROLES } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevCluster } from "./dev/dev-cluster.ts";
import { newDataFolder } from "./dev/dev-run.ts";
import { readOrCreateSecrets } from "./dev/dev-secrets.ts";
import { nodeEnv } from "./dev/node-env.ts";
import { readRegionNodeConfig } from "./region-node-config.ts";
import { createRegionNode, newMemberId } from "./region-node.ts";

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

  function create() {
    const config = readRegionNodeConfig(
      nodeEnv({
        region: "fra",
        regions: ["fra"],
        roles: ROLES,
        natsUrl: cluster.natsUrl("fra"),
        storeUrl: cluster.storeUrl("fra"),
        secrets: readOrCreateSecrets(join(folder.path, "secrets"), systemRandom),
        ingestPort: 0,
        gatewayPort: 0,
        more: {},
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
