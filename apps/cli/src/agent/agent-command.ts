// apps/cli/src/agent/agent-command.ts
// `carillon agent`: the discovery agent as an operating-system process. Signals and exits are those
// of `carillon node` (RN5, RN6, RN10).
//   AG4  `--render` writes nats.conf with the candidates on disk, asks nobody, and exits: for the start
//        of a nats-server (ExecStartPre), which then has routes while the API is down. Exit 3: the file
//        was written without routes because what is on disk cannot be used.
import { CandidatesBook, writeNatsConf } from "@carillon/cluster";
import { CONFIG_EXIT_CODE, ConfigError, type Environment, printConfig } from "@carillon/config";
import { systemClock, systemRandom } from "@carillon/kernel";
import { createLogger, createMetrics } from "@carillon/telemetry";
import { askedToStop, firstUncaught, runUntilAsked } from "../node-command.ts";
import { type AgentConfig, readAgentConfig } from "./agent-config.ts";
import { regionAtStart } from "./agent-home.ts";
import { natsConfText } from "./agent-nats-options.ts";
import { identitySourceOf, sourceOf } from "./agent-sources.ts";
import { agentName, createAgent, knownRoutes } from "./agent.ts";

export interface AgentCommandOptions {
  readonly env: Environment;
  readonly build: string;
  readonly mode: "run" | "render" | "check-config" | "print-config";
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const UNUSABLE_EXIT_CODE = 3;
const FLUSH_MS = 50; // what was logged last is on its way to the file

/** Resolves with the exit code. */
export async function runAgentCommand(options: AgentCommandOptions): Promise<number> {
  let config: AgentConfig;
  try {
    config = readAgentConfig(options.env);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    options.err(cause.problems.map((problem) => `carillon agent: ${problem}\n`).join(""));
    return CONFIG_EXIT_CODE;
  }
  switch (options.mode) {
    case "print-config":
      options.out(`${printConfig(config.settings)}\n`);
      return 0;
    case "check-config":
      options.out("carillon agent: the settings are valid\n");
      return 0;
    case "render":
      return render(config, options);
    case "run":
      return runAgent(config, options.build);
  }
}

/** AG4. */
async function render(config: AgentConfig, { out, err }: AgentCommandOptions): Promise<number> {
  const { settings, nats, regions } = config;
  if (nats === undefined) {
    err("carillon agent: --render needs CARILLON_AGENT_NATS_CONF\n");
    return CONFIG_EXIT_CODE;
  }
  const book = new CandidatesBook({
    path: settings.CARILLON_AGENT_STATE_FILE,
    cluster: settings.CARILLON_AGENT_CLUSTER,
    regions: regions.map(({ region }) => region),
    clock: systemClock,
    onFault: (_what, detail) => err(`carillon agent: ${detail}\n`),
  });
  const loaded = await book.load();
  const { region, clusterPort: port } = nats.options;
  const isUnusable =
    loaded.kind === "unusable" || (loaded.kind === "read" && loaded.unusable.has(region));
  const routes = knownRoutes(book, { region, port });
  try {
    const deps = {
      path: nats.path,
      render: (r: readonly string[]) => natsConfText(nats.options, r),
    };
    const outcome = await writeNatsConf(deps, routes);
    const from =
      routes !== undefined
        ? `${routes.length} routes`
        : isUnusable
          ? "what is known cannot be read"
          : "nothing is known yet";
    out(`carillon agent: ${nats.path} ${outcome}, ${from}\n`);
    return isUnusable && outcome !== "kept" ? UNUSABLE_EXIT_CODE : 0;
  } catch (cause) {
    err(`carillon agent: ${nats.path} cannot be written: ${String(cause)}\n`);
    return 1;
  }
}

async function runAgent(config: AgentConfig, build: string): Promise<number> {
  const { settings, regions } = config;
  const level = settings.CARILLON_AGENT_LOG_LEVEL;
  const region = regionAtStart(config); // AG5
  const log = createLogger({ region, node: agentName(region), component: "agent", level });
  const uncaught = firstUncaught(log);
  const asked = askedToStop();
  const metrics = createMetrics({ region, hasDefaults: true });
  const agent = createAgent({
    config,
    region,
    sources: regions.map((one) => sourceOf(config, one)),
    identitySource: identitySourceOf(config, systemClock),
    clock: systemClock,
    random: systemRandom,
    log,
    metrics,
  });
  const exitCode = await runUntilAsked(agent, {
    asked,
    uncaught,
    log,
    clock: systemClock,
    giveUpMaxMs: settings.CARILLON_AGENT_STOP_MAX_MS,
    onReady(ready) {
      const { region: _bound, ...fields } = ready; // each line has it already
      log.info("node.ready", { ...fields, build });
      process.send?.(ready);
    },
  });
  await systemClock.sleep(FLUSH_MS);
  return exitCode !== 0 && agent.misconfigured !== undefined ? CONFIG_EXIT_CODE : exitCode;
}
