// apps/cli/src/agent/agent.ts
// The discovery agent of a machine: asks every region for candidates, keeps them on disk, and keeps
// the routes of the machine's nats-server. Its parts are children of a supervisor.
//   AG1  What is on disk is in force before anything is asked: a start waits for no API (C2).
//   AG2  A part that crashes is started again alone; regions and routes do not share a fate (C5).
//   AG6  (metrics-server.ts) Metrics that cannot be served end nothing.
//   AG7  It answers for its own tree: it is no member of a region, and nobody else could.
//   AG3  `stop` ends polls under way, lets a reload finish, and leaves the file written.
import {
  CandidatesBook,
  createNatsConfKeeper,
  createNatsServerHandle,
  createPoller,
  type DiscoverySource,
  type IdentitySource,
  type InstanceIdentity,
  type NatsServerHandle,
  routesOf,
} from "@carillon/cluster";
import { type Clock, Fault, type Random } from "@carillon/kernel";
import {
  type ChildSpec,
  exitText,
  ownChild,
  ownClock,
  Supervisor,
  type TreeNode,
} from "@carillon/process";
import type { Logger, Metrics } from "@carillon/telemetry";
import { jsonPage, keepMetricsServed, metricsPage } from "../metrics-server.ts";
import { metricsObserver, supervisorObserver } from "../node-telemetry.ts";
import type { AgentConfig } from "./agent-config.ts";
import { askIdentity, type IdentityAskerDeps, ownAddressOf } from "./agent-home.ts";
import {
  createNatsOptionsFile,
  monitorUrlOf,
  natsConfText,
  type NatsOptionsFile,
} from "./agent-nats-options.ts";
import { pollObserver, publishBook, reloadObserver } from "./agent-telemetry.ts";

export interface AgentDeps {
  readonly config: AgentConfig;
  /** Of this machine. */
  readonly region: string;
  readonly sources: readonly DiscoverySource[];
  /** Undefined: the settings name the region. */
  readonly identitySource: IdentitySource | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface AgentReady {
  readonly kind: "ready";
  readonly region: string;
  /** Null: it cannot be listened on now, and is tried again (AG6). */
  readonly metricsPort: number | null;
  readonly candidatesCount: number; // known from disk
}

/** As a RegionNode, of which it is no other kind to whoever runs it. */
export interface Agent {
  start(): Promise<AgentReady>;
  stop(): Promise<void>;
  readonly gaveUp: Promise<string>;
  /** Why it gave up, when the settings are wrong (AG5). */
  readonly misconfigured: string | undefined;
  readonly book: CandidatesBook;
}

/** Crashes are bugs; faults of AWS or NATS are none. A bug that stays should end the process. */
const RESTARTS = { intensity: 10, periodMs: 60_000 };
const RESTART_DELAY_MS = 500;
const RESTART_DELAY_MAX_MS = 30_000;

export function createAgent(deps: AgentDeps): Agent {
  const { config, region, sources, clock, log, metrics } = deps;
  const { settings } = config;
  const gaveUp = Promise.withResolvers<string>();
  const book = new CandidatesBook({
    path: settings.CARILLON_AGENT_STATE_FILE,
    cluster: settings.CARILLON_AGENT_CLUSTER,
    regions: sources.map((source) => source.region),
    clock,
    onFault(what, detail) {
      metrics.failures.inc({ component: "discovery_state" });
      log.error(`discovery.state_${what}`, { reason: detail });
    },
  });
  const observe = supervisorObserver({ log: log.child("supervisor"), metrics });
  let isStopping = false;
  let misconfigured: string | undefined;
  let identity: InstanceIdentity | undefined;
  let metricsPort: number | null = null;
  const supervisor = new Supervisor({
    id: "agent",
    clock,
    strategy: "one_for_one",
    ...RESTARTS,
    restartDelayMs: (failedAttempts) =>
      Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MS * 2 ** failedAttempts),
    onReport(report) {
      observe(report);
      if (report.kind === "escalated") giveUp(`too many restarts of ${report.id}`);
    },
    onExit: (exit) => giveUp(exitText(exit)),
    children: [
      ...natsConfChildren(deps, book),
      ...sources.map((source) =>
        pollerChild(deps, { source, book, ownAddress: () => ownAddressOf(config, identity) }),
      ),
      ...identityChildren(deps, {
        onKnown: (known) => (identity = known),
        onMismatch(why) {
          misconfigured = why;
          log.error("agent.misconfigured", { reason: why });
          giveUp(why);
        },
      }),
      metricsChild(deps, {
        book,
        tree: () => supervisor.tree(),
        onPort: (port) => (metricsPort = port),
      }),
    ],
  });
  const giveUp = (reason: string): void => {
    if (!isStopping) gaveUp.resolve(reason);
  };
  return {
    book,
    gaveUp: gaveUp.promise,
    get misconfigured() {
      return misconfigured;
    },
    async start() {
      await book.load(); // AG1
      const answer = await supervisor.start();
      if (answer.kind === "start_failed") throw answer.error;
      if (answer.kind !== "started")
        throw new Fault("the agent was stopped", { code: "stopped", isRetryable: false });
      const counts = [...book.records.values()].map(({ peers }) => peers.length);
      return {
        kind: "ready",
        region,
        metricsPort,
        candidatesCount: counts.reduce((sum, count) => sum + count, 0),
      };
    },
    async stop() {
      isStopping = true;
      await supervisor.stop();
      await book.flushed();
    },
  };
}

/** As its log lines name it. */
export function agentName(region: string): string {
  return `${region}-agent`;
}

function limitsOf({ config, clock }: AgentDeps) {
  const maxMs = config.settings.CARILLON_AGENT_STOP_MAX_MS;
  return { clock, shutdown: maxMs, abandonMaxMs: maxMs };
}

function pollerChild(
  deps: AgentDeps,
  {
    source,
    book,
    ownAddress,
  }: { source: DiscoverySource; book: CandidatesBook; ownAddress: () => string | undefined },
): ChildSpec {
  const { config, region, random, log, metrics } = deps;
  return ownChild({
    id: source.region,
    ...limitsOf(deps),
    start(run) {
      const poller = createPoller({
        source,
        book,
        random,
        clock: ownClock(run, deps.clock),
        pollEveryMs: config.settings.CARILLON_AGENT_POLL_MS,
        ...(source.region === region && { ownAddress }), // DP5
        onPoll: pollObserver({ log: log.child("discovery"), metrics }),
        onCrash: run.crashed,
      });
      poller.start();
      return { stop: () => poller.stop() };
    },
  });
}

/** AG5. */
function identityChildren(
  deps: AgentDeps,
  tell: Pick<IdentityAskerDeps, "onKnown" | "onMismatch">,
): ChildSpec[] {
  const { config, identitySource: source, random, log } = deps;
  if (source === undefined) return [];
  const child = ownChild({
    id: "identity",
    ...limitsOf(deps),
    start(run) {
      const clock = ownClock(run, deps.clock);
      const end = askIdentity({
        config,
        source,
        clock,
        random,
        log,
        ...tell,
        onCrash: run.crashed,
      });
      return { stop: end };
    },
  });
  return [child];
}

/** None without a nats.conf to keep. */
function natsConfChildren(deps: AgentDeps, book: CandidatesBook): ChildSpec[] {
  const { config, region, log, metrics } = deps;
  const { nats } = config;
  if (nats === undefined) return [];
  const file = createNatsOptionsFile(nats.optionsPath, nats.options); // AC4
  const child = ownChild({
    id: "nats_conf",
    ...limitsOf(deps),
    start(run) {
      const clock = ownClock(run, deps.clock);
      const routesNow = (): string[] | undefined =>
        knownRoutes(book, { region, port: file.last.clusterPort });
      const keeper = createNatsConfKeeper({
        path: nats.path,
        clock,
        render(routes, tell) {
          const options = file.read(tell);
          return natsConfText(options, routesNow() ?? routes); // the port may be another by now
        },
        server: serverOf(file, clock),
        onReport: run.guarded(reloadObserver({ log: log.child("nats_conf"), metrics })),
      });
      const look = (): void => keeper.want(routesNow());
      run.onOver(book.onChange((changed) => changed === region && look()));
      look();
      return { stop: () => keeper.stop() };
    },
  });
  return [child];
}

/** The server as the options name it now. */
function serverOf(file: NatsOptionsFile, clock: Clock): NatsServerHandle {
  const now = (): NatsServerHandle => {
    const { pidFile } = file.last;
    return createNatsServerHandle({ pidFile, clock, monitorUrl: monitorUrlOf(file.last) });
  };
  return {
    find: () => now().find(),
    hangUp: (run) => now().hangUp(run),
    loadedAtMs: () => now().loadedAtMs(),
  };
}

/** Undefined: nothing was ever known of the region (NK5). */
export function knownRoutes(
  book: CandidatesBook,
  { region, port }: { region: string; port: number },
): string[] | undefined {
  const { goodAtMs, peers } = book.get(region);
  return goodAtMs === null ? undefined : routesOf(peers, port);
}

function metricsChild(
  deps: AgentDeps,
  {
    book,
    tree,
    onPort,
  }: { book: CandidatesBook; tree: () => TreeNode; onPort: (port: number) => void },
): ChildSpec {
  const { config, region, random, log, metrics } = deps;
  const advice = "free the port, or set CARILLON_AGENT_METRICS_PORT; discovery and routes go on";
  return ownChild({
    id: "metrics",
    ...limitsOf(deps),
    async start(run) {
      const clock = ownClock(run, deps.clock);
      const observer = metricsObserver({ log, metrics, advice });
      const served = await keepMetricsServed({
        host: config.settings.CARILLON_AGENT_METRICS_HOST,
        port: config.settings.CARILLON_AGENT_METRICS_PORT,
        clock,
        random,
        onError: (cause) => log.warn("metrics.accept_failed", { reason: cause.message }),
        pages: {
          "/metrics": () => metricsPage(metrics),
          "/tree": () => jsonPage(200, { node: agentName(region), tree: tree() }), // AG7
        },
        onServed(port) {
          onPort(port);
          observer.onServed(port);
        },
        onFailed: (failure) => observer.onFailed(failure),
        onCrash: run.crashed,
      });
      const end = publishBook({ book, metrics, clock });
      run.onOver(end);
      return { stop: () => served.stop() };
    },
  });
}
