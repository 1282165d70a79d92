// Goal: AG1–AG3, AG5–AG7, AC4, NK5, C2, C5. Method: the agent in this process under a fake clock, with sources that say
// what the test wants; agent-command.test.ts has the real process.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DiscoverySource,
  type FindOutcome,
  type IdentityOutcome,
  type IdentitySource,
  readCandidatesFile,
  renderNatsConf,
} from "@carillon/cluster";
import { createSeededRandom } from "@carillon/kernel";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { FakeClock } from "@carillon/testkit";
import { expect, onTestFinished, test } from "vitest";
import { drawnTree, printedTree } from "../test-drawn-tree.ts";
import { readAgentConfig } from "./agent-config.ts";
import { mismatchOf, ownAddressOf, REGION_UNKNOWN, regionAtStart } from "./agent-home.ts";
import { showAgentTree } from "./agent-tree.ts";
import { createAgent } from "./agent.ts";

const found = (...ids: string[]): FindOutcome => ({
  kind: "found",
  candidates: ids.map((id) => ({ id, address: `10.0.0.${id.codePointAt(0)}` })),
  skipped: [],
  pagesCount: 1,
});

async function agentWith(
  answers: ReadonlyMap<string, FindOutcome>,
  {
    stateFile,
    onAsked,
    identitySource,
    settings = { CARILLON_AGENT_REGION: "fra" },
    regions = ["fra", "lon"],
  }: {
    regions?: readonly string[];
    stateFile?: string;
    onAsked?: (region: string) => void;
    identitySource?: IdentitySource;
    settings?: Record<string, string>;
  } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), "carillon-agent-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = stateFile ?? join(folder, "candidates.json");
  const clock = new FakeClock();
  const events: string[] = [];
  const stream = {
    write(line: string) {
      const { event, of = "", peer = "" } = JSON.parse(line) as Record<string, string>;
      events.push([event, of, peer].filter((word) => word !== "").join(" "));
    },
  };
  const about = { region: "fra", node: "fra-agent", component: "agent", level: "info" } as const;
  const metrics = createMetrics({ region: "fra", hasDefaults: false });
  const asked: string[] = [];
  const sources = regions.map((region): DiscoverySource => ({
    kind: "static",
    region,
    find() {
      asked.push(`${region}@${clock.monotonicMs()}`);
      onAsked?.(region);
      return Promise.resolve(answers.get(region) ?? found());
    },
  }));
  let isRandomBroken = false;
  const seeded = createSeededRandom(1);
  const config = readAgentConfig({
    CARILLON_AGENT_CLUSTER: "acme",
    CARILLON_AGENT_REGIONS: "fra=eu-central-1,lon=eu-west-2",
    CARILLON_AGENT_STATE_FILE: path,
    CARILLON_AGENT_METRICS_PORT: "0",
    ...settings,
  });
  const agent = createAgent({
    config,
    region: "fra",
    sources,
    identitySource,
    clock,
    random: {
      ...seeded,
      next() {
        if (!isRandomBroken) return seeded.next();
        isRandomBroken = false;
        throw new Error("planted");
      },
    },
    log: createLogger({ ...about, stream }),
    metrics,
  });
  onTestFinished(() => agent.stop());
  return {
    agent,
    config,
    clock,
    events,
    asked,
    metrics,
    path,
    crashNext: () => (isRandomBroken = true),
  };
}

test("AG1 — C2 what is on disk is known when it has started, before anything is asked", async () => {
  const failed: FindOutcome = { kind: "failed", reason: "network", detail: "refused" };
  const first = await agentWith(
    new Map([
      ["fra", found("a", "b")],
      ["lon", failed],
    ]),
  );
  expect((await first.agent.start()).candidatesCount).toBe(0);
  await first.clock.advance(1_000);
  await first.agent.stop();

  const down = new Map([
    ["fra", failed],
    ["lon", failed],
  ]);
  const { agent, clock, asked, events, metrics } = await agentWith(down, { stateFile: first.path });
  const ready = await agent.start();
  expect([ready.candidatesCount, asked]).toEqual([2, []]);
  await clock.advance(3_600_000);
  expect(agent.book.get("fra").peers.map(({ id }) => id)).toEqual(["a", "b"]);
  expect(new Set(events)).toEqual(
    new Set(["discovery.poll_failed fra", "discovery.poll_failed lon"]),
  );
  const { text } = await metrics.render();
  expect(text).toContain(
    'carillon_discovery_candidates_count{of_region="fra",state="answered",region="fra"} 2',
  );
  const [, age] = /answer_age_seconds\{of_region="fra",region="fra"\} (\d+)/.exec(text) ?? [];
  expect(Number(age)).toBeGreaterThanOrEqual(3_599);
  expect(text).not.toContain('answer_age_seconds{of_region="lon"'); // there was none
  expect(text).toMatch(/polls_total\{of_region="lon",outcome="network",region="fra"\} 1\d\n/);
});

test("AG2 — C5 a part that crashes is started again alone, and nothing is forgotten", async () => {
  const { agent, clock, events, asked, crashNext } = await agentWith(
    new Map([
      ["fra", found("a")],
      ["lon", found("x")],
    ]),
    {
      onAsked: (region) => region === "lon" && asked.length > 3 && asked.length < 6 && crashNext(),
    },
  );
  await agent.start();
  await clock.advance(300_000);
  expect(events.filter((event) => event.startsWith("supervisor."))).toEqual([
    "supervisor.child_exited",
    "supervisor.child_restarted",
  ]);
  const count = (region: string): number => asked.filter((one) => one.startsWith(region)).length;
  expect([count("fra") > 6, count("lon") > 6]).toEqual([true, true]);
  expect(agent.book.get("lon").peers.map(({ id }) => id)).toEqual(["x"]);
});

test("AG3 — after stop the file is whole, and nothing is asked", async () => {
  const { agent, clock, asked, path } = await agentWith(new Map([["fra", found("a")]]));
  await agent.start();
  await clock.advance(1_000);
  await agent.stop();
  const read = await readCandidatesFile(path, "acme");
  expect(read).toEqual({ kind: "read", records: agent.book.records, unusable: new Set() });
  const count = asked.length;
  await clock.advance(3_600_000);
  expect([asked.length, clock.timersCount]).toEqual([count, 0]);
});

test("AG6 — a taken metrics port: tried again with a growing pause, told once; nobody gives up", async () => {
  const holder = createServer();
  const taken = await listening(holder);
  const settings = {
    CARILLON_AGENT_REGION: "fra",
    CARILLON_AGENT_METRICS_PORT: String(taken),
  };
  const answers = new Map([["fra", found("a")]]);
  const { agent, clock, events, asked, metrics } = await agentWith(answers, { settings });
  expect((await agent.start()).metricsPort).toBe(null);
  const failuresCount = async (): Promise<number> => {
    const { text } = await metrics.render();
    const [, count] = /failures_total\{component="metrics_server",[^}]*\} (\d+)/.exec(text) ?? [];
    return Number(count ?? 0);
  };
  // 1, 2, 4 … 60 s, each ± 20 %: many more tries than restarts that a supervisor would allow.
  while ((await failuresCount()) < 14) await clock.advance(1_000);
  expect(clock.monotonicMs()).toBeGreaterThan(400_000);
  expect(clock.monotonicMs()).toBeLessThan(800_000);
  expect(asked.filter((one) => one.startsWith("fra")).length).toBeGreaterThan(10); // it works on
  expect(events.filter((event) => event.startsWith("supervisor."))).toEqual([]);
  expect(events.filter((event) => event.startsWith("metrics."))).toEqual(["metrics.not_served"]);
  await new Promise((resolve) => holder.close(resolve));
  while (!events.includes("metrics.served")) await clock.advance(1_000);
  const answer = await fetch(`http://127.0.0.1:${taken}/healthz`);
  expect([answer.status, await answer.text()]).toEqual([200, "ok\n"]);
  expect(await Promise.race([agent.gaveUp, Promise.resolve("goes on")])).toBe("goes on");
});

test("AG6 — AG3 a stop while the port is taken leaves no timer and no socket", async () => {
  const holder = createServer();
  const taken = await listening(holder);
  const settings = {
    CARILLON_AGENT_REGION: "fra",
    CARILLON_AGENT_METRICS_PORT: String(taken),
  };
  const { agent, clock, events } = await agentWith(new Map(), { settings });
  await agent.start();
  await agent.stop();
  await new Promise((resolve) => holder.close(resolve));
  await clock.advance(600_000);
  expect([clock.timersCount, events.includes("metrics.served")]).toEqual([0, false]);
});

function listening(holder: Server): Promise<number> {
  onTestFinished(() => void holder.close());
  return new Promise((resolve) =>
    holder.listen(0, "127.0.0.1", () => resolve((holder.address() as AddressInfo).port)),
  );
}

test("held and dropped peers are logged once each, with their reason counted", async () => {
  const answers = new Map([["fra", found("a", "b", "c")]]);
  const { agent, clock, events, metrics } = await agentWith(answers);
  await agent.start();
  await clock.advance(1_000);
  answers.set("fra", found("a", "b"));
  await clock.advance(300_000);
  expect(events.filter((event) => event.includes("fra"))).toEqual([
    "discovery.peer_added fra a",
    "discovery.peer_added fra b",
    "discovery.peer_added fra c",
    "discovery.peer_held fra c",
    "discovery.peer_dropped fra c",
  ]);
  const { text } = await metrics.render();
  expect(text).toContain('decisions_total{of_region="fra",decision="held",region="fra"} 2');
  expect(text).toContain('decisions_total{of_region="fra",decision="dropped",region="fra"} 1');
});

test("a region that comes or goes as a whole is one line, not one for each peer", async () => {
  const all = Array.from({ length: 21 }, (_, n) => String.fromCodePoint(97 + n));
  const answers = new Map([["fra", found(...all)]]);
  const { agent, clock, events } = await agentWith(answers);
  await agent.start();
  await clock.advance(1_000);
  answers.set("fra", found());
  await clock.advance(300_000);
  expect(events.filter((event) => event.includes("fra"))).toEqual([
    "discovery.peers_added fra",
    "discovery.peers_held fra",
    "discovery.peers_dropped fra",
  ]);
});

const OPTIONS = {
  serverName: "fra-a",
  region: "fra",
  clientPort: 4222,
  clusterPort: 6222,
  gatewayPort: 7222,
  gateways: [],
  monitorPort: 8222,
  pidFile: "/nowhere/nats.pid",
};

function natsFolder() {
  const folder = mkdtempSync(join(tmpdir(), "carillon-agent-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [confPath, optionsPath] = [join(folder, "nats.conf"), join(folder, "options.json")];
  const options = (more: object): void =>
    writeFileSync(optionsPath, JSON.stringify({ ...OPTIONS, ...more }));
  const settings = {
    CARILLON_AGENT_REGION: "fra",
    CARILLON_AGENT_NATS_CONF: confPath,
    CARILLON_AGENT_NATS_OPTIONS_FILE: optionsPath,
  };
  return { confPath, options, settings, text: () => readFileSync(confPath, "utf8") };
}

test("AC4 — a rotation of logins stays: the agent never writes the old ones back", async () => {
  const { confPath, options, settings, text } = natsFolder();
  options({ auth: { kind: "token", token: "first" } });
  const { agent, clock, events } = await agentWith(new Map([["fra", found("a")]]), { settings });
  await agent.start();
  while (!events.includes("nats_conf.written")) await clock.advance(100);
  expect(text()).toContain("first");
  // As `--render` before a start of the server does.
  const rotated = { auth: { kind: "token", token: "second" } } as const;
  options(rotated);
  const rendered = renderNatsConf({ ...OPTIONS, ...rotated, routes: ["nats://10.0.0.97:6222"] });
  writeFileSync(confPath, rendered);
  for (let n = 0; n < 6; n++) {
    await clock.advance(10_000);
    expect(text()).toBe(rendered);
  }
  // And without one: written by the next look.
  options({ auth: { kind: "token", token: "third" } });
  while (!text().includes("third")) await clock.advance(1_000);
  // A half-written file changes nothing and is told, once.
  options({ auth: { kind: "token" } });
  while (!events.includes("nats_conf.failed")) await clock.advance(1_000);
  await clock.advance(60_000);
  expect(text()).toContain("third");
  expect(events.filter((event) => event === "nats_conf.failed")).toHaveLength(1);
});

test("NK5, DP5 — a first answer that is empty takes no routes away before it came three times", async () => {
  const { confPath, options, settings, text } = natsFolder();
  options({});
  const before = renderNatsConf({ ...OPTIONS, routes: ["nats://10.0.0.9:6222"] });
  writeFileSync(confPath, before);
  const { agent, clock, events, asked } = await agentWith(new Map(), { settings });
  await agent.start();
  const fraCount = (): number => asked.filter((one) => one.startsWith("fra")).length;
  while (fraCount() < 3) {
    expect(text()).toBe(before);
    await clock.advance(1_000);
  }
  while (!events.includes("nats_conf.written")) await clock.advance(1_000);
  expect(text()).toContain("routes: []");
  expect(events.filter((event) => event === "discovery.answer_doubted fra")).toHaveLength(2);
});

const IDENTITY = {
  instanceId: "i-1",
  awsRegion: "eu-west-2",
  zone: "eu-west-2a",
  accountId: "1",
  privateAddress: "10.0.0.7",
  tags: {},
  lifecycleState: null,
};

test("AG5 — C2 the metadata service is asked beside the work until it answers, and is remembered", async () => {
  const failed: IdentityOutcome = { kind: "failed", reason: "unreachable", detail: "hop limit" };
  let outcome: IdentityOutcome = failed;
  const identitySource = { identity: () => Promise.resolve(outcome) };
  const settings = { CARILLON_AGENT_REGION: "auto" };
  const { agent, config, clock, events, asked } = await agentWith(new Map(), {
    identitySource,
    settings,
  });
  expect(regionAtStart(config)).toBe(REGION_UNKNOWN);
  await agent.start();
  await clock.advance(600_000);
  expect(asked.length).toBeGreaterThan(10); // the work goes on
  const unknownCount = events.filter((event) => event === "agent.identity_unknown").length;
  expect(unknownCount).toBeGreaterThan(2);
  expect(unknownCount).toBeLessThan(20); // with a back-off
  outcome = { kind: "known", identity: IDENTITY };
  while (!events.includes("agent.identity_known")) await clock.advance(1_000);
  while (regionAtStart(config) !== "lon") await clock.advance(0);
  expect(agent.misconfigured).toBe(undefined);
});

test("AG5 — a machine in another region than its settings: given up as misconfigured", async () => {
  const { options, settings } = natsFolder();
  options({});
  const known: IdentityOutcome = { kind: "known", identity: IDENTITY };
  const { agent, clock, config } = await agentWith(new Map(), {
    identitySource: { identity: () => Promise.resolve(known) },
    settings: { ...settings, CARILLON_AGENT_REGION: "auto" },
  });
  expect(regionAtStart(config)).toBe("fra");
  await agent.start();
  await clock.advance(0);
  const why = "this machine is in lon, and the NATS options are of fra";
  expect([await agent.gaveUp, agent.misconfigured]).toEqual([why, why]);
  expect(mismatchOf(config, { ...IDENTITY, awsRegion: "us-east-1" })).toBe(
    "this machine is in us-east-1, which is not among CARILLON_AGENT_REGIONS",
  );
  expect(mismatchOf(config, { ...IDENTITY, awsRegion: "eu-central-1" })).toBe(undefined);
  expect([undefined, IDENTITY].map((identity) => ownAddressOf(config, identity))).toEqual([
    undefined,
    "10.0.0.7",
  ]);
});

test("AG7, PC1, PC2 — the agent prints the tree that docs/architecture.md draws; who does not answer is told", async () => {
  const { options, settings } = natsFolder();
  options({});
  const { agent } = await agentWith(new Map(), {
    identitySource: { identity: () => Promise.resolve({ kind: "known", identity: IDENTITY }) },
    settings,
    regions: ["fra", "lon", "par", "dub"],
  });
  const { metricsPort } = await agent.start();
  const lines: string[] = [];
  const told = (text: string): void => void lines.push(text);
  const terminal = { isTty: false, line: told, progress() {}, error: told };
  const show = async (url: string, isJson = false) => {
    lines.length = 0;
    const exitCode = await showAgentTree(url, { terminal, isJson });
    return { exitCode, lines: [...lines] };
  };
  const url = `http://127.0.0.1:${metricsPort}`;
  const shown = await show(url);
  expect([shown.exitCode, shown.lines[0]]).toEqual([0, "fra-agent"]);
  expect(printedTree(shown.lines.slice(1))).toEqual(drawnTree("agent"));
  const asJson = await show(url, true);
  expect(JSON.parse(asJson.lines.join(""))).toMatchObject([
    { node: "fra-agent", tree: { id: "agent" } },
  ]);
  await agent.stop();
  expect(await show(url)).toEqual({
    exitCode: 2,
    lines: [`carillon process: ${url}: ECONNREFUSED`],
  });
  expect(await show(url, true)).toEqual({
    exitCode: 2,
    lines: [JSON.stringify({ error: { code: "unreachable", message: `${url}: ECONNREFUSED` } })],
  });
});
