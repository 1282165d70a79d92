// Goal: DV1–DV3, DV7–DV12, DV14: `carillon dev` as people and crashes treat it. Method: the real command
// with two regions, real signals, real curl; processes are looked for by pid.
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DevCluster } from "./dev-cluster.ts";
import type { DevExit } from "./dev-events.ts";
import { becomes, type DevRun, newDataFolder, runCli, running } from "./dev-run.ts";

const TEST_MAX_MS = 180_000; // two shared cores, several suites at once
const UP = "Ctrl-C stops everything.";
const run = promisify(execFile);

function dev(folder: string, ...more: string[]): DevRun {
  const args = ["--no-demo", "--no-durable", "--regions", "fra,lon", "--data", folder, ...more];
  return runCli(["dev", ...args]);
}

/** The three lines, one after the other as a person pastes them; their output and HTTP statuses. */
async function pasteCurlLines(output: string): Promise<{ lines: string[]; statuses: number[] }> {
  const headers = mkdtempSync(join("/tmp", "carillon-curl-"));
  const lines = output.split("\n").filter((line) => line.includes("curl -sS"));
  expect(lines).toHaveLength(3);
  // Only adds that the headers are kept: the lines stay as they are.
  const keepHeaders = `curl() { command curl -D "$(mktemp ${headers}/XXXXXX)" "$@"; }`;
  const { stdout } = await run("bash", ["-c", [keepHeaders, ...lines].join("\n")]);
  const statuses = readdirSync(headers).map((name) =>
    Number(readFileSync(join(headers, name), "utf8").split(" ")[1]),
  );
  rmSync(headers, { recursive: true });
  return { lines: stdout.trim().split("\n"), statuses: statuses.toSorted((a, b) => a - b) };
}

describe("one data folder over its lives", { timeout: TEST_MAX_MS }, () => {
  const folder = newDataFolder();
  const alive: DevRun[] = [];
  let first: DevRun;
  let notificationId = "";

  beforeAll(async () => {
    first = dev(folder.path);
    alive.push(first);
    await first.printed(UP);
  }, TEST_MAX_MS);

  afterAll(async () => {
    for (const one of alive) {
      try {
        process.kill(one.pid, "SIGTERM");
      } catch {
        // it has ended
      }
      await one.exited;
    }
    folder.remove();
  }, TEST_MAX_MS);

  test("the three curl lines work as printed", async () => {
    const { lines, statuses } = await pasteCurlLines(first.output());
    expect(statuses).toEqual([200, 201, 202]);
    const [recipient, id = "", status] = lines;
    expect(JSON.parse(recipient!)).toMatchObject({ recipientId: "ada", homeRegion: "fra" });
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.parse(status!)).toMatchObject({ id, acceptedRegion: "lon" });
    notificationId = id;
  });

  test("DV2 — a second one in the same folder is refused, and disturbs nothing", async () => {
    const second = dev(folder.path);
    expect(await second.exited).toBe(1);
    expect(second.output()).toContain(
      `carillon dev: another carillon dev (process ${first.pid}) runs in ${folder.path}. ` +
        "Stop it, or give this one a folder of its own with --data.",
    );
    expect(second.seen()).toEqual([]);
    expect((await pasteCurlLines(first.output())).statuses).toEqual([200, 200, 202]);
  });

  test("DV3 — keys are readable by their owner only, and in no log", () => {
    const key = /tenant demo\): (\S+)/.exec(first.output())?.[1] ?? "";
    expect(key).toMatch(/^crl_/);
    const secrets = join(folder.path, "secrets");
    const files = [
      ...readdirSync(secrets).map((name) => join(secrets, name)),
      stateOf(folder.path),
    ];
    expect(files.map((file) => statSync(file).mode & 0o777)).toEqual(files.map(() => 0o600));
    const logs = execFileSync("find", [folder.path, "-name", "*.log"], { encoding: "utf8" });
    for (const log of logs.trim().split("\n")) expect(readFileSync(log, "utf8")).not.toContain(key);
  });

  test("DV8 — kill -9 of dev: its nodes end by themselves; one that cannot is reaped, and it all works again", async () => {
    const before = first.seen();
    expect(running(before)).toHaveLength(5); // Postgres, two nats-servers, two nodes
    const stopped = nodePids(folder.path)[0]!;
    process.kill(stopped, "SIGSTOP");
    process.kill(first.pid, "SIGKILL");
    await first.exited;
    await becomes(() => running(before).join() === String(stopped));
    const next = dev(folder.path);
    alive.push(next);
    await next.printed(UP);
    expect(running(before)).toEqual([]);
    expect(next.output()).toContain("that an earlier run left behind");
    // The state has survived: the recipient is known (200), the old notification too.
    expect((await pasteCurlLines(next.output())).statuses).toEqual([200, 200, 202]);
    expect(await statusOf(next, notificationId)).toBe(200);
  });

  test("DV11, DV12 — Ctrl-C: everything stops in order, exit 0, nothing is left", async () => {
    const last = alive.at(-1)!;
    const state = stateOf(folder.path);
    expect(statSync(state).isFile()).toBe(true);
    last.signalGroup("SIGINT");
    expect(await last.exited).toBe(0);
    expect(last.output()).toMatch(/Ctrl-C: stopping region processes.*\nstopped\.\n$/);
    expect(running(last.seen())).toEqual([]);
    expect(statSync(state, { throwIfNoEntry: false })).toBeUndefined();
    const logs = nodeLogs(folder.path);
    for (const log of logs) expect(log.trim().split("\n").at(-1)).toContain('"node.stopped"');
    expect(logs).toHaveLength(2);
  });

  test("DV1 — --fresh drops what was there, the keys too, and nothing of others", async () => {
    const notes = join(folder.path, "notes.txt");
    writeFileSync(notes, "mine");
    const fresh = dev(folder.path, "--fresh");
    alive.push(fresh);
    await fresh.printed(UP);
    expect(apiKeyIn(fresh)).not.toBe(apiKeyIn(first));
    expect(readFileSync(notes, "utf8")).toBe("mine");
    expect(await statusOf(fresh, notificationId)).toBe(404);
    expect((await pasteCurlLines(fresh.output())).statuses).toEqual([200, 201, 202]);
  });
});

describe("DV9, DV12, DV14 — Ctrl-C while it starts", { timeout: TEST_MAX_MS }, () => {
  // Both wait for it when it continues, as `npm start` passes on what the terminal sent as well.
  const withEcho = ["SIGSTOP", "SIGINT", "SIGTERM", "SIGCONT"] as const;
  test.each([
    ["before anything runs", "Starting 2 regions", 0, ["SIGINT"]],
    ["while the database is made", "Starting 2 regions", 600, ["SIGINT"]],
    ["while the nodes start, with its echo", "2 nats-servers run", 0, withEcho],
    ["while the nodes start, a little later", "2 nats-servers run", 400, ["SIGINT"]],
  ] as const)("%s: exit 0 and nothing is left", async (_when, text, laterMs, signals) => {
    const folder = newDataFolder();
    const one = dev(folder.path);
    await one.printed(text);
    await new Promise((resolve) => setTimeout(resolve, laterMs)); // any moment will do
    for (const signal of signals) one.signalGroup(signal);
    expect({ exitCode: await one.exited, output: one.output() }).toEqual({
      exitCode: 0,
      output: expect.stringMatching(/stopped\.\n$/),
    });
    expect(running(one.seen())).toEqual([]);
    expect(readdirSync(folder.path)).not.toContain("dev.lock");
    folder.remove();
  });
});

describe("the cluster for tests", { timeout: TEST_MAX_MS }, () => {
  const stops: (() => Promise<void> | void)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).toReversed()) await stop();
  }, TEST_MAX_MS);

  async function start(log: string[] = []): Promise<DevCluster> {
    const folder = newDataFolder();
    stops.push(() => folder.remove());
    const cluster = await DevCluster.start({
      dataFolder: folder.path,
      regions: ["fra", "lon"],
      isDurable: false,
      isFresh: false,
      nodeOptions: {},
      log: (line) => void log.push(line),
    });
    stops.push(() => cluster.stop());
    return cluster;
  }

  test("DV7, DV9 — a node that does not start: told with the end of its log, nothing is left", async () => {
    const folder = newDataFolder();
    stops.push(() => folder.remove());
    const options = { dataFolder: folder.path, regions: ["fra"], isDurable: false, isFresh: false };
    const bad = { CARILLON_NODE_LOG_LEVEL: "loud" };
    const log = (): void => undefined;
    await expect(DevCluster.start({ ...options, nodeOptions: bad, log })).rejects.toMatchObject({
      code: "node_start_failed",
      message: expect.stringContaining("CARILLON_NODE_LOG_LEVEL must be one of debug") as string,
    });
    expect(readdirSync(folder.path)).not.toContain("dev.lock");
    const pids = (part: string): string[] => readdirSync(join(folder.path, part, "pids"));
    expect([...pids("postgres"), ...pids("nats"), ...pids("nodes")]).toEqual([]);
  });

  test("DV7, DV10 — what is killed runs again on its port, and says so in one line", async () => {
    const log: string[] = [];
    const cluster = await start(log);
    const restarted = (wanted: string) =>
      new Promise<number>((resolve) =>
        cluster.on("restarted", ({ component, region, pid }) => {
          if (`${component} ${region}` === wanted) resolve(pid);
        }),
      );
    const exits: DevExit[] = [];
    cluster.on("exit", (exit) => exits.push(exit));
    const { ingestUrl } = cluster.region("fra");
    expect((await fetch(`${ingestUrl}/readyz`)).status).toBe(200);
    log.length = 0;

    const nodeAgain = restarted("node fra");
    const memberId = (await cluster.nodeOf("fra")).ready.memberId;
    cluster.killNode("fra", "SIGKILL");
    const nodePid = await nodeAgain;
    expect((await cluster.nodeOf("fra")).ready.memberId).not.toBe(memberId);
    expect((await fetch(`${ingestUrl}/readyz`)).status).toBe(200);

    const natsAgain = restarted("nats lon");
    cluster.killNats("lon", "SIGKILL");
    const natsPid = await natsAgain;

    const postgresAgain = restarted("postgres null");
    const storeUrl = cluster.storeUrl("lon");
    cluster.killPostgres("SIGKILL");
    const postgresPid = await postgresAgain;
    expect(cluster.storeUrl("lon")).toBe(storeUrl);

    expect(log).toEqual([
      `node fra ended (SIGKILL) and runs again as process ${nodePid}`,
      `nats lon ended (SIGKILL) and runs again as process ${natsPid}`,
      `Postgres ended (SIGKILL) and runs again as process ${postgresPid}`,
    ]);
    const killed = { code: null, signal: "SIGKILL", isRestarting: true };
    expect(exits).toEqual([
      { component: "node", region: "fra", ...killed },
      { component: "nats", region: "lon", ...killed },
      { component: "postgres", region: null, ...killed },
    ]);
  });

  test("DV10, DV11, RN5 — stopped parts stay down until they are started; a worker comes and goes", async () => {
    const cluster = await start();
    const exits: DevExit[] = [];
    cluster.on("exit", (exit) => exits.push(exit));
    const marks = [...cluster.pids];
    expect(marks).toHaveLength(5);

    await cluster.stopNode("lon");
    await cluster.stopNats("lon");
    expect(cluster.pids).toHaveLength(3);
    await cluster.startNats("lon");
    await cluster.startNode("lon");
    expect(cluster.pids).toHaveLength(5);
    expect((await fetch(`${cluster.region("lon").ingestUrl}/readyz`)).status).toBe(200);

    const worker = await cluster.addWorker("fra");
    expect(worker.memberId).toMatch(/^fra-worker-[a-z0-9]{8}$/);
    expect(cluster.pids).toContain(worker.pid);
    await worker.stop();
    const hurried = await cluster.addWorker("fra");
    // Both wait for it when it continues: the second one ends it at once.
    for (const signal of ["SIGSTOP", "SIGTERM", "SIGINT", "SIGCONT"] as const) hurried.kill(signal);
    await hurried.exited;
    const killed = await cluster.addWorker("fra");
    killed.kill("SIGSTOP");
    killed.kill("SIGKILL");
    await killed.exited;
    const asked = { code: 0, signal: null, isRestarting: false };
    expect(exits).toEqual([
      { component: "node", region: "lon", ...asked },
      // nats-server ends with 1 when it is asked to
      { component: "nats", region: "lon", ...asked, code: expect.any(Number) as number },
      { component: "worker", region: "fra", ...asked },
      { component: "worker", region: "fra", ...asked, code: 130 },
      { component: "worker", region: "fra", ...asked, code: null, signal: "SIGKILL" },
    ]);

    const sleeper = await cluster.addWorker("lon");
    sleeper.kill("SIGSTOP"); // does not hear, and ends nevertheless
    await Promise.all([cluster.stop(), cluster.stop()]);
    expect(cluster.pids).toEqual([]);
  });
});

function stateOf(folder: string): string {
  return join(folder, "dev-state.json");
}

function nodePids(folder: string): number[] {
  return readdirSync(join(folder, "nodes", "pids")).map((name) => Number.parseInt(name, 10));
}

function nodeLogs(folder: string): string[] {
  const nodes = join(folder, "nodes");
  const names = readdirSync(nodes).filter((name) => name.endsWith(".log"));
  return names.map((name) => readFileSync(join(nodes, name), "utf8"));
}

function apiKeyIn(one: DevRun): string {
  return /tenant demo\): (\S+)/.exec(one.output())?.[1] ?? "";
}

async function statusOf(one: DevRun, notificationId: string): Promise<number> {
  const url = /lon {3}HTTP (\S+)/.exec(one.output())?.[1];
  const headers = { authorization: `Bearer ${apiKeyIn(one)}` };
  return (await fetch(`${url}/v1/notifications/${notificationId}`, { headers })).status;
}
