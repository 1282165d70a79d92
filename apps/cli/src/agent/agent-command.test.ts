// Goal: AG4–AG6, AG1, C2, C8, C9 and the exits of `carillon agent`. Method: the command as a real process,
// real nats-servers that know each other only through it, an EC2 API and a metadata service of ours. One
// file above 300 lines: what a machine's agent is made of is set up once.
import { type ChildProcess, execFile, fork } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderNatsConf } from "@carillon/cluster";
import { freePorts, startNatsServer } from "@carillon/local";
import { afterEach, expect, test } from "vitest";
import { type FakeAws, startFakeAws } from "./test-aws.ts";

const TEST_MAX_MS = 180_000;
const MAIN = join(import.meta.dirname, "../main.ts");
const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

// Servers of a region have one cluster port: two on one machine need two of its loopback addresses.
const hasLoopbackNet = process.platform === "linux";
if (!hasLoopbackNet)
  process.stderr.write("\nSKIPPED: no 127.0.0.2 here: the agent is not tested with nats-servers\n");

interface Server {
  readonly options: Omit<Parameters<typeof renderNatsConf>[0], "routes">;
  readonly folder: string;
  readonly confPath: string;
}

function serverAt(folder: string, host: string, ports: readonly number[]): Server {
  const [clientPort, clusterPort, gatewayPort, monitorPort] = ports as [
    number,
    number,
    number,
    number,
  ];
  const serverName = host === "127.0.0.1" ? "fra-a" : "fra-b";
  const options = {
    serverName,
    region: "fra",
    host,
    clientPort,
    clusterPort,
    gatewayPort,
    gateways: [{ region: "fra", urls: [`nats://127.0.0.1:${gatewayPort}`] }],
    monitorPort,
    pidFile: join(folder, `${serverName}.pid`),
    peerAuth: { user: "peer", password: "of the tests" }, // C9: an address alone lets nobody in
  };
  return { options, folder, confPath: join(folder, serverName, "nats.conf") };
}

async function start({ options, folder }: Server, configText: string) {
  const server = await startNatsServer({ folder, name: options.serverName, configText });
  cleanUps.push(() => server.stop());
  return server;
}

interface Routez {
  readonly server_id: string;
  readonly routes?: readonly { readonly remote_id: string }[];
}

/** What the server's monitoring says; undefined while it is gone. */
async function routez({ options }: Server): Promise<Routez | undefined> {
  for (const host of ["127.0.0.1", options.host]) {
    try {
      const answer = await fetch(`http://${host}:${options.monitorPort}/routez`);
      return (await answer.json()) as Routez;
    } catch {
      continue; // it monitors on the other address, or does not run
    }
  }
  return undefined;
}

/** Each has a route to the other. */
async function areJoined(a: Server, b: Server): Promise<boolean> {
  const [one, other] = await Promise.all([routez(a), routez(b)]);
  const has = (from: Routez | undefined, to: Routez | undefined): boolean =>
    from?.routes?.some((route) => route.remote_id === to?.server_id) === true;
  return has(one, other) && has(other, one);
}

const isTrue = (value: boolean): boolean => value;

const UNTIL_MAX_MS = 90_000;

async function until<T>(ask: () => Promise<T> | T, fits: (value: T) => boolean): Promise<T> {
  const endMs = performance.now() + UNTIL_MAX_MS;
  for (;;) {
    const value = await ask();
    if (fits(value)) return value;
    if (performance.now() > endMs)
      throw new Error(
        `not within ${UNTIL_MAX_MS} ms, last: ${JSON.stringify(value)}; ${String(fits)}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface RunningAgent {
  readonly child: ChildProcess;
  readonly ready: { readonly metricsPort: number | null; readonly candidatesCount: number };
  readonly lines: Record<string, unknown>[];
  readonly exited: Promise<number | null>;
}

function agentEnv(folder: string, aws: FakeAws, more: Record<string, string> = {}) {
  const { PATH = "", HOME = "" } = process.env;
  return {
    PATH,
    HOME,
    AWS_ACCESS_KEY_ID: "testing",
    AWS_SECRET_ACCESS_KEY: "testing",
    CARILLON_AGENT_CLUSTER: "acme",
    CARILLON_AGENT_REGIONS: "fra=eu-central-1,lon=eu-west-2",
    CARILLON_AGENT_STATE_FILE: join(folder, "state", "candidates.json"),
    CARILLON_AGENT_EC2_ENDPOINT: aws.url,
    CARILLON_AGENT_IMDS_ENDPOINT: aws.url,
    CARILLON_AGENT_POLL_MS: "200",
    CARILLON_AGENT_METRICS_PORT: "0",
    ...more,
  };
}

async function startAgent(env: Record<string, string>): Promise<RunningAgent> {
  const child = fork(MAIN, ["agent"], { env, stdio: ["ignore", "pipe", "inherit", "ipc"] });
  const lines: Record<string, unknown>[] = [];
  let rest = "";
  child.stdout?.on("data", (data: Buffer) => {
    const parts = (rest + data.toString()).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) lines.push(JSON.parse(part) as Record<string, unknown>);
  });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  cleanUps.push(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  const ready = await new Promise<RunningAgent["ready"]>((resolve, reject) => {
    child.once("message", (message) => resolve(message as RunningAgent["ready"]));
    void exited.then((code) => reject(new Error(`ended with ${code}: ${JSON.stringify(lines)}`)));
  });
  return { child, ready, lines, exited };
}

async function metricOf({ ready }: RunningAgent, name: string): Promise<number | undefined> {
  const answer = await fetch(`http://127.0.0.1:${ready.metricsPort}/metrics`);
  const line = (await answer.text()).split("\n").find((one) => one.startsWith(name));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(" ") + 1));
}

function carillon(args: readonly string[], env: Record<string, string>) {
  return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
}

async function setUp() {
  const folder = mkdtempSync(join(tmpdir(), "carillon-agent-"));
  cleanUps.push(() => rmSync(folder, { recursive: true }));
  const aws = await startFakeAws();
  cleanUps.push(() => aws.stop());
  const ports = await freePorts(5);
  const [client, cluster, gateway, monitorA, monitorB] = ports as [
    number,
    number,
    number,
    number,
    number,
  ];
  const a = serverAt(folder, "127.0.0.1", [client, cluster, gateway, monitorA]);
  const b = serverAt(folder, "127.0.0.2", [client, cluster, gateway, monitorB]);
  const optionsPath = join(folder, "nats-options.json");
  writeFileSync(optionsPath, JSON.stringify(a.options), { mode: 0o600 });
  const env = agentEnv(folder, aws, {
    CARILLON_AGENT_NATS_CONF: a.confPath,
    CARILLON_AGENT_NATS_OPTIONS_FILE: optionsPath,
  });
  return { folder, aws, a, b, env };
}

const reloadsCount = (logFile: string): number =>
  readFileSync(logFile, "utf8").split("Reloaded server configuration").length - 1;

test.skipIf(!hasLoopbackNet)(
  "C8, AG4 — a server that gets its tag is joined by a reload; changes go on to reload; after a cold start with the API down it is joined from disk",
  async () => {
    const { aws, a, b, env } = await setUp();
    const first = await carillon(["agent", "--render"], env);
    expect(first).toEqual({
      code: 0,
      stdout: `carillon agent: ${a.confPath} written, nothing is known yet\n`,
      stderr: "",
    });
    expect(statSync(a.confPath).mode & 0o777).toBe(0o600);
    const serverA = await start(a, readFileSync(a.confPath, "utf8"));
    await start(b, renderNatsConf({ ...b.options, routes: [] }));
    aws.has("eu-central-1", ["127.0.0.1"]);
    aws.has("eu-west-2", ["127.0.0.9"]);
    const agent = await startAgent(env);
    await until(
      () => readFileSync(a.confPath, "utf8"),
      (text) => text.includes(`127.0.0.1:${a.options.clusterPort}"]`),
    );
    expect(await routez(b)).toMatchObject({ num_routes: 0 });

    aws.has("eu-central-1", ["127.0.0.1", "127.0.0.2"]);
    await until(() => areJoined(a, b), isTrue);
    await until(
      () => metricOf(agent, 'carillon_nats_reloads_total{outcome="confirmed"'),
      (n) => n === 2,
    );

    const seen = await carillon(["discover", "--json", "--region", "fra"], env);
    const view = JSON.parse(seen.stdout) as {
      regions: { peers: { id: string; decision: string }[] }[];
    };
    const peers = view.regions[0]?.peers.map(({ id, decision }) => `${id} ${decision}`);
    expect([seen.code, peers]).toEqual([0, ["i-127-0-0-1 kept", "i-127-0-0-2 kept"]]);

    // Changes with every poll, for longer than one SIGHUP in 10 s would cover.
    let n = 3;
    await until(
      () => {
        aws.has("eu-central-1", ["127.0.0.1", "127.0.0.2", `127.0.0.${(n++ % 250) + 3}`]);
        return reloadsCount(serverA.logFile);
      },
      (count) => count >= 4, // the 10 s between them: NK2, by a fake clock
    );
    const events = new Set(agent.lines.map((line) => line["event"]));
    expect([...events].filter((event) => !EXPECTED.has(String(event)))).toEqual([]);

    aws.has("eu-central-1", ["127.0.0.1", "127.0.0.2"]);
    agent.child.kill("SIGTERM");
    expect(await agent.exited).toBe(0);
    await serverA.stop();
    aws.has("eu-central-1", undefined); // hangs
    const render = await carillon(["agent", "--render"], env);
    expect(render.stdout).toMatch(/nats\.conf (unchanged|written), \d+ routes\n$/);
    await start(a, readFileSync(a.confPath, "utf8"));
    const cold = await startAgent(env);
    expect(cold.ready.candidatesCount).toBeGreaterThanOrEqual(2);
    await until(() => areJoined(a, b), isTrue);
    await until(
      () => metricOf(cold, 'carillon_discovery_candidates_count{of_region="fra",state="answered"'),
      (count) => (count ?? 0) >= 2,
    );
    cold.child.kill("SIGINT");
    expect(await cold.exited).toBe(0);
  },
  TEST_MAX_MS,
);

const EXPECTED = new Set([
  "node.ready",
  "discovery.peer_added",
  "discovery.peer_held",
  "discovery.peer_dropped",
  "nats_conf.reloaded",
  "agent.identity_known",
  "discovery.poll_failed", // a busy machine may take longer than a page may
]);

test.skipIf(!hasLoopbackNet)(
  "NK3 — a reload that the real server refuses is told and counted, the file before it is back",
  async () => {
    const { aws, a, env } = await setUp();
    aws.has("eu-central-1", ["127.0.0.1"]);
    const text = renderNatsConf({
      ...a.options,
      routes: [`nats://127.0.0.1:${a.options.clusterPort}`],
    });
    const server = await start(a, text);
    // Somebody changes the gateway part by hand: the server will take nothing of this file.
    const edited = text.replace("reject_unknown_cluster: true", "reject_unknown_cluster: false");
    writeFileSync(a.confPath, edited);
    aws.has("eu-central-1", ["127.0.0.1", "127.0.0.2"]);
    const agent = await startAgent(env);
    await until(
      () => metricOf(agent, 'carillon_nats_reloads_total{outcome="refused"'),
      (count) => count === 1,
    );
    expect(readFileSync(a.confPath, "utf8")).toBe(edited);
    expect(await metricOf(agent, "carillon_nats_conf_refused_count")).toBe(1);
    expect(await metricOf(agent, "carillon_nats_gateway_frozen_count")).toBe(1);
    const refused = agent.lines.filter((line) => line["event"] === "nats_conf.reload_refused");
    expect(refused).toMatchObject([{ level: "error", region: "fra" }]);
    expect(readFileSync(server.logFile, "utf8")).toContain("Failed to reload server configuration");
    expect(await fetch(`http://127.0.0.1:${agent.ready.metricsPort}/healthz`)).toMatchObject({
      status: 200,
    });
    agent.child.kill("SIGTERM");
    expect(await agent.exited).toBe(0);
  },
  TEST_MAX_MS,
);

test.skipIf(!hasLoopbackNet)(
  "NK3, NK4 — a server that runs without monitoring takes its routes all the same; unconfirmed until its next start",
  async () => {
    const { aws, a, b, env } = await setUp();
    const { monitorPort: _unknown, ...before } = a.options; // as rendered by agents before this one
    const server = await start(a, renderNatsConf({ ...before, routes: [] }));
    await start(b, renderNatsConf({ ...b.options, routes: [] }));
    aws.has("eu-central-1", ["127.0.0.1", "127.0.0.2"]);
    const agent = await startAgent(env);
    const gauge = "carillon_nats_conf_unconfirmed_count";
    await until(
      () => metricOf(agent, gauge),
      (count) => count === 1,
    );
    // Its log has what the agent cannot see: with the new port it would have refused the file.
    const log = readFileSync(server.logFile, "utf8");
    expect([reloadsCount(server.logFile), log.includes("Failed to reload")]).toEqual([1, false]);
    const joined = async (): Promise<number | undefined> =>
      ((await routez(b)) as { num_routes?: number } | undefined)?.num_routes;
    await until(joined, (count) => (count ?? 0) > 0);

    await server.stop();
    expect((await carillon(["agent", "--render"], env)).code).toBe(0);
    const rendered = readFileSync(a.confPath, "utf8");
    expect(rendered).toContain(`http: "127.0.0.1:${a.options.monitorPort}"`);
    await start(a, rendered);
    await until(
      () => metricOf(agent, gauge),
      (count) => count === 0,
    );
    await until(() => areJoined(a, b), isTrue);
    const told = agent.lines.filter(({ event }) => event === "nats_conf.reload_unconfirmed");
    expect(told).toMatchObject([{ level: "warn" }]);
    agent.child.kill("SIGTERM");
    expect(await agent.exited).toBe(0);
  },
  TEST_MAX_MS,
);

test(
  "AG6 — a metrics port that is taken: an error line, routes are kept all the same, served once it is free",
  async () => {
    const { aws, a, env } = await setUp();
    aws.has("eu-central-1", ["127.0.0.1", "127.0.0.2"]);
    const holder = createServer();
    const port = await new Promise<number>((resolve) =>
      holder.listen(0, "127.0.0.1", () => resolve((holder.address() as AddressInfo).port)),
    );
    cleanUps.push(() => holder.close());
    const agent = await startAgent({ ...env, CARILLON_AGENT_METRICS_PORT: String(port) });
    expect(agent.ready.metricsPort).toBe(null);
    await until(
      () => (existsSync(a.confPath) ? readFileSync(a.confPath, "utf8") : ""),
      (text) => text.includes(`@127.0.0.2:${a.options.clusterPort}"`),
    );
    const told = agent.lines.filter((line) => line["event"] === "metrics.not_served");
    expect(told).toMatchObject([
      {
        level: "error",
        reason: `listen_failed: 127.0.0.1:${port} cannot be listened on: EADDRINUSE`,
        failuresCount: 1,
      },
    ]);
    expect(String(told[0]?.["advice"])).toContain("CARILLON_AGENT_METRICS_PORT");
    await new Promise((resolve) => holder.close(resolve));
    const served = await until(
      () => agent.lines.find((line) => line["event"] === "metrics.served"),
      (line) => line !== undefined,
    );
    expect(served).toMatchObject({ level: "info", port });
    const found = { ...agent, ready: { ...agent.ready, metricsPort: port } };
    const failures = 'carillon_failures_total{component="metrics_server"';
    expect(await metricOf(found, failures)).toBeGreaterThan(0);
    agent.child.kill("SIGTERM");
    expect(await agent.exited).toBe(0);
  },
  TEST_MAX_MS,
);

test(
  "AG5, AG4 — C6 the agent starts without a metadata service; wrong settings: 78, all of them; wrong words: 64; unusable state: 3",
  async () => {
    const { env, a } = await setUp();
    const nowhere = { CARILLON_AGENT_IMDS_ENDPOINT: "http://127.0.0.1:1" };
    const agent = await startAgent({ ...env, ...nowhere });
    await until(
      () => agent.lines.find((line) => line["event"] === "agent.identity_unknown"),
      (line) => line?.["reason"] === "unreachable" && line["region"] === "fra",
    );
    agent.child.kill("SIGTERM");
    expect(await agent.exited).toBe(0);

    // The machine is in eu-central-1; these settings say that this is lon.
    const strange = await carillon(["agent"], {
      ...env,
      CARILLON_AGENT_NATS_CONF: "",
      CARILLON_AGENT_NATS_OPTIONS_FILE: "",
      CARILLON_AGENT_REGIONS: "lon=eu-west-2",
    });
    expect([strange.code, strange.stdout.includes("agent.misconfigured")]).toEqual([78, true]);
    expect((await carillon(["agent", "--bogus"], env)).code).toBe(64);

    writeFileSync(env.CARILLON_AGENT_STATE_FILE, "half");
    rmSync(a.confPath, { force: true });
    const unusable = await carillon(["agent", "--render"], env);
    expect([unusable.code, unusable.stdout]).toEqual([
      3,
      `carillon agent: ${a.confPath} written, what is known cannot be read\n`,
    ]);
    const kept = await carillon(["agent", "--render"], env);
    expect([kept.code, kept.stdout]).toEqual([
      0,
      `carillon agent: ${a.confPath} kept, what is known cannot be read\n`,
    ]);

    const wrong = await carillon(["agent", "--check-config"], {
      PATH: env.PATH,
      CARILLON_AGENT_POLL_MS: "x",
    });
    expect(wrong).toEqual({
      code: 78,
      stdout: "",
      stderr:
        "carillon agent: CARILLON_AGENT_CLUSTER is required: value of the tag carillon:cluster; not to be mixed with others'\n" +
        "carillon agent: CARILLON_AGENT_POLL_MS must be a whole number from 200 to 200000\n",
    });
    const shown = await carillon(["agent", "--print-config"], env);
    expect([shown.code, shown.stdout.includes("CARILLON_AGENT_POLL_MS=200\n")]).toEqual([0, true]);
    const right = await carillon(["agent", "--check-config"], env);
    expect(right.stdout).toBe("carillon agent: the settings are valid\n");
    expect(shown.stdout + right.stdout).not.toContain("of the tests"); // the servers' password
  },
  TEST_MAX_MS,
);
