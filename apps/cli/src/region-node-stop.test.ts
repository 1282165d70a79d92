// Goal: S43, RN2, C20: in which order a node stops. Method: a node in this process beside a real local
// cluster's one, with real sockets behind what a load balancer would do.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { createInbox } from "@carillon/client";
import { ROLES } from "@carillon/contracts";
import { systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import { createStore } from "@carillon/store";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { expect, onTestFinished, test } from "vitest";
import { ApiClient } from "./clients/api-client.ts";
import { DevCluster } from "./dev/dev-cluster.ts";
import { newDataFolder } from "./dev/dev-run.ts";
import { readOrCreateSecrets } from "./dev/dev-secrets.ts";
import { nodeEnv } from "./dev/node-env.ts";
import { runUntilAsked } from "./node-command.ts";
import type { NodeReady } from "./node-messages.ts";
import { readRegionNodeConfig } from "./region-node-config.ts";
import { createRegionNode, newMemberId } from "./region-node.ts";

const TEST_MAX_MS = 120_000;
const DRAIN_MS = 15_000;
const EMPLOYEES = Array.from({ length: 12 }, (_, n) => `stop-${n}`);

test(
  "S43, RN2, C20 — its partitions are handed over within seconds while its sockets are open; what is posted then is shown once",
  async () => {
    const folder = newDataFolder();
    const cluster = await DevCluster.start({
      dataFolder: folder.path,
      regions: ["fra"],
      isDurable: false,
      isFresh: false,
      nodeOptions: {},
      log: () => undefined,
    });
    onTestFinished(async () => {
      await cluster.stop();
      folder.remove();
    }, TEST_MAX_MS);
    const store = createStore({
      url: cluster.storeUrl("fra"),
      poolMax: 1,
      applicationName: "test",
      connectTimeoutMs: 5_000,
      statementTimeoutMs: 5_000,
    });
    const baseUrl = cluster.region("fra").ingestUrl;
    const api = new ApiClient({ baseUrl, apiKey: cluster.apiKey, connectionsMax: 2 }, systemClock);
    onTestFinished(async () => {
      api.close();
      await store.close();
    });

    const { memberId, events, ready, stop, exitCode } = start(cluster, folder.path);
    const { gatewayPort, metricsPort } = await ready;
    const ownedCount = async (isIt: (ownerId: string | null) => boolean): Promise<number> =>
      (await store.leases.list("fra")).filter((one) => !one.isExpired && isIt(one.ownerId)).length;
    await until("it has its share", async () => (await ownedCount((id) => id === memberId)) >= 100);

    const balancer = await startBalancer(gatewayPort!);
    onTestFinished(() => balancer.close());
    for (const id of EMPLOYEES)
      await api.expect({ method: "PUT", path: `/v1/recipients/${id}`, body: "{}" });
    const tokens = await api.tokensOf(EMPLOYEES);
    const people = EMPLOYEES.map((id) => {
      const titles: string[] = [];
      const inbox = createInbox({
        url: `ws://127.0.0.1:${balancer.port}/socket`,
        token: () => tokens.get(id)!,
        onNotification: ({ title }) => void titles.push(title),
      });
      onTestFinished(() => inbox.close());
      return { inbox, titles };
    });
    const areLive = (): boolean => people.every(({ inbox }) => inbox.state === "live");
    await until("all are live", areLive);
    const post = (title: string) =>
      api.expect({
        method: "POST",
        path: "/v1/notifications",
        body: JSON.stringify({ audience: { recipients: EMPLOYEES }, content: { en: { title } } }),
      });
    const haveAll = (count: number) => (): boolean =>
      people.every(({ titles }) => titles.length >= count);

    balancer.target = Number(new URL(cluster.region("fra").socketUrl).port); // who comes, comes there
    const beganAtMs = performance.now();
    stop("SIGTERM");
    await until("others have all partitions", async () => {
      return (await ownedCount((id) => id !== null && id !== memberId)) === 256;
    });
    const handedOverAfterMs = performance.now() - beganAtMs;
    expect(handedOverAfterMs).toBeLessThan(5_000);
    const openCount = balancer.openCount(gatewayPort!);
    await post("meanwhile");
    await until("all were shown it", haveAll(1));
    const openAfterwardsCount = balancer.openCount(gatewayPort!);
    const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    expect(await exitCode).toBe(0);
    const tookMs = performance.now() - beganAtMs;

    expect(openCount).toBeGreaterThanOrEqual(EMPLOYEES.length / 2);
    expect(openAfterwardsCount).toBeGreaterThan(0);
    expect(tookMs).toBeGreaterThan(handedOverAfterMs + DRAIN_MS / 2);
    expect(metrics).toMatch(/carillon_gateway_sockets_count\{region="fra"\} \d+\n/);
    const steps = ["node.stopping", "worker.released", "gateway.draining", "gateway.drained"];
    expect([...new Set(events.filter((event) => steps.includes(event)))]).toEqual(steps);
    await until("all are live elsewhere", areLive);
    await post("after it");
    await until("all were shown both", haveAll(2));
    for (const { titles } of people) expect(titles).toEqual(["meanwhile", "after it"]);
    console.log(
      `S43: handed over after ${Math.round(handedOverAfterMs)} ms, ${openCount} of ` +
        `${EMPLOYEES.length} sockets open then; ended after ${Math.round(tookMs)} ms`,
    );
  },
  TEST_MAX_MS,
);

function start(cluster: DevCluster, folder: string) {
  const config = readRegionNodeConfig(
    nodeEnv({
      region: "fra",
      regions: ["fra"],
      roles: ROLES,
      natsUrl: cluster.natsUrl("fra"),
      storeUrl: cluster.storeUrl("fra"),
      secrets: readOrCreateSecrets(join(folder, "secrets"), systemRandom),
      ingestPort: 0,
      gatewayPort: 0,
      more: { CARILLON_NODE_GATEWAY_DRAIN_MS: String(DRAIN_MS) },
    }),
  );
  const events: string[] = [];
  const stream = {
    write: (line: string) => void events.push((JSON.parse(line) as { event: string }).event),
  };
  const memberId = newMemberId(config, systemRandom);
  const about = { region: "fra", node: memberId, component: "node", level: "info" } as const;
  const log = createLogger({ ...about, stream });
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
  const [ready, asked] = [Promise.withResolvers<NodeReady>(), Promise.withResolvers<string>()];
  const exitCode = runUntilAsked(node, {
    asked: asked.promise,
    uncaught: new Promise(() => {}),
    log,
    clock: systemClock,
    giveUpMaxMs: 1_000,
    onReady: ready.resolve,
  });
  return { memberId, events, ready: ready.promise, stop: asked.resolve, exitCode };
}

/** New connections go to `target`; those that stand stay where they are. */
async function startBalancer(firstTarget: number) {
  const open = new Map<Socket, number>();
  const balancer = {
    target: firstTarget,
    port: 0,
    openCount: (target: number) => [...open.values()].filter((port) => port === target).length,
    close() {
      for (const socket of open.keys()) socket.destroy();
      server.close();
    },
  };
  const server = createServer((inbound) => {
    const outbound = connect(balancer.target, "127.0.0.1");
    open.set(inbound, balancer.target);
    inbound.pipe(outbound).pipe(inbound);
    for (const [one, other] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const)
      one
        .on("error", () => other.destroy())
        .on("close", () => {
          other.destroy();
          open.delete(inbound);
        });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  balancer.port = (server.address() as AddressInfo).port;
  return balancer;
}

async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const endsAtMs = performance.now() + 60_000;
  while (!(await isTrue())) {
    if (performance.now() > endsAtMs) throw new Error(`not within a minute: ${what}`);
    await systemClock.sleep(20);
  }
}
