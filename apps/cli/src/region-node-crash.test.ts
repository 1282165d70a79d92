// Goal: RN2, RN3, RN7–RN9 when parts crash. Method: a node in this process, beside a real local
// cluster's one; a crash is planted where the part touches what it was given (a counter, the clock).
import { join } from "node:path";
import { connectBus, type Bus } from "@carillon/bus";
import { type Role, ROLES, subjects } from "@carillon/contracts";
import { type Clock, systemClock, systemRandom, systemScheduler } from "@carillon/kernel";
import type { TreeNode } from "@carillon/process";
import { createLogger, createMetrics, type Metrics } from "@carillon/telemetry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiClient } from "./clients/api-client.ts";
import { DevCluster } from "./dev/dev-cluster.ts";
import { newDataFolder } from "./dev/dev-run.ts";
import { readOrCreateSecrets } from "./dev/dev-secrets.ts";
import { nodeEnv } from "./dev/node-env.ts";
import { readRegionNodeConfig } from "./region-node-config.ts";
import { createRegionNode, newMemberId, type RegionNode } from "./region-node.ts";

const TEST_MAX_MS = 120_000;
const MALFORMED = new TextEncoder().encode("{}");

interface LogLine {
  readonly event: string;
  readonly supervisor?: string;
  readonly child?: string;
  readonly reason?: string;
}

describe("a region node whose parts crash", { timeout: TEST_MAX_MS }, () => {
  const folder = newDataFolder();
  let cluster: DevCluster;
  let bus: Bus;

  beforeAll(async () => {
    cluster = await DevCluster.start({
      dataFolder: folder.path,
      regions: ["fra"],
      isDurable: false,
      isFresh: false,
      nodeOptions: {},
      log: () => undefined,
    });
    bus = await connectBus({
      urls: [cluster.natsUrl("fra")],
      credentials: cluster.natsCredentials,
      name: "test",
      clock: systemClock,
      random: systemRandom,
    });
  }, TEST_MAX_MS);
  afterAll(async () => {
    await bus.drain();
    await cluster.stop();
    folder.remove();
  }, TEST_MAX_MS);

  function create(
    options: { roles?: readonly Role[]; ingestPort?: number; gatewayPort?: number } = {},
  ) {
    const config = readRegionNodeConfig(
      nodeEnv({
        region: "fra",
        regions: ["fra"],
        roles: options.roles ?? ROLES,
        natsUrl: cluster.natsUrl("fra"),
        storeUrl: cluster.storeUrl("fra"),
        secrets: readOrCreateSecrets(join(folder.path, "secrets"), systemRandom),
        ingestPort: options.ingestPort ?? 0,
        gatewayPort: options.gatewayPort ?? 0,
        more: {},
      }),
    );
    const lines: LogLine[] = [];
    const stream = { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) };
    const memberId = newMemberId(config, systemRandom);
    const about = { region: "fra", node: memberId, component: "node" };
    const metrics = createMetrics({ region: "fra", hasDefaults: false });
    const bomb = { place: undefined as string | undefined };
    const node = createRegionNode({
      config,
      memberId,
      build: "test",
      clock: bombed(bomb),
      random: systemRandom,
      scheduler: systemScheduler,
      log: createLogger({ ...about, level: "debug", stream }),
      metrics,
    });
    const told = (event: string): string[] =>
      lines
        .filter((line) => line.event === event)
        .map(({ supervisor, child }) => `${supervisor}/${child}`);
    return { node, memberId, lines, metrics, bomb, told };
  }

  test("RN9 — a worker that crashes: the sockets stay, and what is posted then arrives on them", async () => {
    const { node, memberId, metrics, told } = create();
    const ready = await node.start();
    const servedCount = async () => (await metrics.partitionsServed.get()).values[0]?.value ?? 0;
    await until("it has its share", async () => (await servedCount()) >= 100);
    const api = apiOf(ready.ingestPort);
    const recipients = ["eve", "fay", "gil", "hal", "ida", "jon"]; // some of them are this worker's
    for (const id of recipients)
      await api.expect({ method: "PUT", path: `/v1/recipients/${id}`, body: "{}" });
    const tokens = [...(await api.tokensOf(recipients)).values()];
    const sockets = await Promise.all(tokens.map((token) => joined(ready.gatewayPort, token)));
    const crash = once(metrics, "poke");
    bus.publish(subjects.memberPoke(memberId), MALFORMED);
    await crash;
    await until("the worker runs again", () => partOf(node, "worker").children[0]?.restartsCount);
    expect(told("supervisor.child_exited")).toEqual(["worker/processes"]);
    await api.expect({
      method: "POST",
      path: "/v1/notifications",
      body: JSON.stringify({ audience: { recipients }, content: { en: { title: "After it" } } }),
    });
    await until("it arrives", () =>
      sockets.every(({ heard }) => heard.some((text) => text.includes("After it"))),
    );
    expect(sockets.flatMap(({ closeCodes }) => closeCodes)).toEqual([]);
    expect(restartsOf(node)).toEqual({ store: 0, bus: 0, home: 0, membership: 0, roles: 0 });
    const { text } = await metrics.render();
    const labels = 'supervisor="worker",child="processes",region="fra"';
    expect(text).toContain(`carillon_supervisor_restarts_total{${labels}} 1\n`);
    api.close();
    await node.stop();
    await until("they are closed", () =>
      sockets.every(({ closeCodes }) => closeCodes.length === 1),
    );
  });

  test("RN7, RN9 — a timer of the membership: it and the roles begin anew, as another member", async () => {
    const { node, memberId, lines, bomb, told } = create();
    const ready = await node.start();
    bomb.place = "cluster/src/membership.ts";
    await until("it has crashed", () => told("supervisor.child_exited").length);
    await until("all runs again", () => restartsOf(node)["roles"] === 1);
    expect(told("supervisor.child_exited")).toEqual(["node/membership"]);
    expect(restartsOf(node)).toEqual({ store: 0, bus: 0, home: 0, membership: 1, roles: 1 });
    expect(lines.find(({ event }) => event === "node.member_renewed")).toMatchObject({
      memberId: expect.not.stringMatching(memberId) as string,
    });
    expect(await isServing(ready.ingestPort)).toBe(true); // on the ports it had
    expect(await isServing(ready.gatewayPort)).toBe(true);
    await node.stop();
    expect(await isServing(ready.gatewayPort)).toBe(false);
  });

  test("RN9 — a bus that crashes: all above it begins anew with it, and what is posted then arrives", async () => {
    const { node, bomb, told } = create();
    const ready = await node.start();
    bomb.place = "bus/src/nats-link.ts"; // its heartbeat
    await until("it has crashed", () => told("supervisor.child_exited").length);
    await until("all runs again", () => restartsOf(node)["roles"] === 1);
    expect(told("supervisor.child_exited")).toEqual(["node/bus"]);
    expect(restartsOf(node)).toEqual({ store: 0, bus: 1, home: 1, membership: 1, roles: 1 });
    expect(statusesOf(node.tree()).filter((status) => !status.endsWith(" running"))).toEqual([]);
    const api = apiOf(ready.ingestPort);
    const recipients = ["kim", "leo", "mia", "noa", "oda", "pia"];
    for (const id of recipients)
      await api.expect({ method: "PUT", path: `/v1/recipients/${id}`, body: "{}" });
    const tokens = [...(await api.tokensOf(recipients)).values()];
    const sockets = await Promise.all(tokens.map((token) => joined(ready.gatewayPort, token)));
    await api.expect({
      method: "POST",
      path: "/v1/notifications",
      body: JSON.stringify({ audience: { recipients }, content: { en: { title: "After it" } } }),
    });
    await until("it arrives", () =>
      sockets.every(({ heard }) => heard.some((text) => text.includes("After it"))),
    );
    api.close();
    await node.stop();
  });

  test("RN8 — a gateway that crashes takes its member id with it, and listens on its port again", async () => {
    const { node, bomb, told } = create({ roles: ["gateway"] });
    const ready = await node.start();
    bomb.place = "gateway/src/edge.ts";
    await until("all runs again", () => restartsOf(node)["roles"] === 1);
    expect(new Set(told("supervisor.child_exited"))).toEqual(
      new Set(["node/membership", "roles/gateway"]),
    );
    await until("it serves again", () => isServing(ready.gatewayPort));
    expect(statusesOf(node.tree()).filter((status) => !status.endsWith(" running"))).toEqual([]);
    await node.stop();
  });

  test("RN9 — what crashes again and again ends the node, once, and in order", async () => {
    const { node, memberId, metrics, told } = create({ roles: ["worker"] });
    await node.start();
    metrics.messagesMalformed.inc = planted;
    let reason: string | undefined;
    void node.gaveUp.then((why) => (reason = why));
    await until("it gives up", () => {
      bus.publish(subjects.memberPoke(memberId), MALFORMED);
      return reason;
    });
    expect(reason).toBe("too many restarts of roles");
    await node.stop();
    expect(told("supervisor.escalated")).toEqual([
      "worker/processes",
      "worker/processes",
      "roles/worker",
      "worker/processes",
      "worker/processes",
      "roles/worker",
      "node/roles",
    ]);
    expect(statusesOf(node.tree()).filter((status) => !status.endsWith(" stopped"))).toEqual([]);
  });

  test("RN2 — the last part does not start: all before it stop in reverse, partitions before sockets", async () => {
    const { port } = new URL(cluster.region("fra").ingestUrl); // taken
    const { node, told } = create({ ingestPort: Number(port) });
    await expect(node.start()).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(told("supervisor.child_stopped")).toEqual([
      "ingest/intake",
      "ingest/relay",
      "worker/stats",
      "worker/leases",
      "worker/flusher",
      "worker/processes",
      "roles/worker",
      "roles/webhooks",
      "roles/gateway",
      "roles/operators",
      "roles/stats",
      "roles/metrics",
      "node/membership",
      "node/home",
      "node/bus",
      "node/store",
    ]);
    await node.stop();
  });

  test("RN2 — sockets that cannot be listened for: told as such, and nothing is left", async () => {
    const { port } = new URL(cluster.region("fra").socketUrl); // taken
    const { node } = create({ gatewayPort: Number(port) });
    await expect(node.start()).rejects.toMatchObject({ code: "listen" });
    expect(statusesOf(node.tree()).filter((status) => !status.endsWith(" stopped"))).toEqual([]);
    await node.stop();
  });

  test("RN3 — stopped while a part is started again: nothing is left, and it takes no longer", async () => {
    const { node, bomb, told, lines } = create();
    const ready = await node.start();
    bomb.place = "cluster/src/membership.ts";
    await until("it has crashed", () => told("supervisor.child_exited").length);
    const startedAtMs = performance.now();
    await node.stop();
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
    expect(await isServing(ready.ingestPort)).toBe(false);
    expect(await isServing(ready.gatewayPort)).toBe(false);
    const wrong = ["supervisor.child_killed", "supervisor.stop_failed", "node.stop_late"];
    expect(lines.filter(({ event }) => wrong.includes(event))).toEqual([]);
  });

  function apiOf(port: number | null): ApiClient {
    const baseUrl = `http://127.0.0.1:${port}`;
    return new ApiClient({ baseUrl, apiKey: cluster.apiKey, connectionsMax: 1 }, systemClock);
  }
});

/** The next call from the place throws: its timers arm themselves anew when they fire. */
function bombed(bomb: { place: string | undefined }): Clock {
  return {
    ...systemClock,
    setTimer(delayMs, callback) {
      const isIt = bomb.place !== undefined && new Error("where").stack?.includes(bomb.place);
      if (isIt !== true) return systemClock.setTimer(delayMs, callback);
      bomb.place = undefined;
      return planted();
    },
  };
}

function planted(): never {
  throw new TypeError("planted");
}

/** The next malformed message is not counted, but throws; resolves when it has. */
function once(metrics: Metrics, subject: string): Promise<void> {
  const { messagesMalformed } = metrics;
  const { inc } = messagesMalformed;
  return new Promise((resolve) => {
    messagesMalformed.inc = (labels: unknown) => {
      if ((labels as { subject: string }).subject !== subject) return;
      messagesMalformed.inc = inc;
      resolve();
      planted();
    };
  });
}

function partOf(node: RegionNode, id: string): TreeNode {
  const roles = node.tree().children.find((child) => child.id === "roles");
  return roles!.children.find((child) => child.id === id)!;
}

function restartsOf(node: RegionNode): Record<string, number> {
  return Object.fromEntries(
    node.tree().children.map(({ id, restartsCount }) => [id, restartsCount]),
  );
}

function statusesOf({ id, status, children }: TreeNode): string[] {
  return [`${id} ${status}`, ...children.flatMap((child) => statusesOf(child))];
}

async function joined(port: number | null, token: string) {
  const bearer = `base64url.bearer.phx.${Buffer.from(token).toString("base64url")}`;
  const url = `ws://127.0.0.1:${port}/socket/websocket?vsn=2.0.0`;
  const socket = new WebSocket(url, ["phoenix", bearer]);
  socket.binaryType = "arraybuffer";
  const heard: string[] = [];
  const closeCodes: number[] = [];
  socket.addEventListener("message", ({ data }) => {
    heard.push(typeof data === "string" ? data : Buffer.from(data as ArrayBuffer).toString());
  });
  socket.addEventListener("close", ({ code }) => closeCodes.push(code));
  socket.addEventListener("open", () => socket.send('["1","1","inbox","phx_join",{}]'));
  await until("it has joined", () => heard.some((text) => text.includes('"status":"ok"')));
  return { heard, closeCodes };
}

async function isServing(port: number | null): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200;
  } catch {
    return false;
  }
}

async function until(what: string, isTrue: () => unknown): Promise<void> {
  const endsAtMs = performance.now() + 30_000;
  while (!(await isTrue())) {
    if (performance.now() > endsAtMs) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
