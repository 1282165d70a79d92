// apps/cli/src/agent/discover-command.ts
// `carillon discover`: what discovery sees now, region by region, and why a peer is held or dropped.
// It needs no agent that runs.
//   DI3  Exit 0: every region answered. 1: one did not, and its last good answer is shown. 2: one did
//        not, and nothing is known of it. 3: the agent's file cannot be used, so that nobody knows
//        what the agent would do. 64: not to be run so. 78: the settings are wrong.
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { CONFIG_EXIT_CODE, ConfigError, type Environment } from "@carillon/config";
import { systemClock } from "@carillon/kernel";
import { Command } from "commander";
import { type AgentConfig, readDiscoverConfig } from "./agent-config.ts";
import { refuse, UsageError } from "../refusal.ts";
import type { Terminal } from "../terminal.ts";
import { sourceOf } from "./agent-sources.ts";
import { discoverText } from "./discover-view.ts";
import { discover, type Discovered } from "./discover.ts";

export interface DiscoverContext {
  readonly env: Environment;
  readonly terminal: Terminal;
  readonly exit: (exitCode: number) => void;
}

interface DiscoverOptions {
  readonly json: boolean;
  readonly poll: boolean;
  readonly settings?: string;
  readonly region?: string;
}

const UNUSABLE_EXIT_CODE = 3;

export function discoverCommand(context: DiscoverContext): Command {
  return new Command("discover")
    .description("show the candidates of each region, and why a peer is held or dropped")
    .option("--json", "print JSON", false)
    .option("--no-poll", "only what the agent has on disk")
    .option("--region <name>", "only this region")
    .option("--settings <path>", "settings as in the agent's EnvironmentFile")
    .action(async (options: DiscoverOptions) => {
      context.exit(await runDiscover(options, context));
    });
}

/** Resolves with the exit code (DI3). Throws UsageError. */
export async function runDiscover(
  options: DiscoverOptions,
  { env, terminal }: Omit<DiscoverContext, "exit">,
): Promise<number> {
  let config: AgentConfig;
  try {
    config = readDiscoverConfig({ ...env, ...fileEnv(options.settings) });
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    const { problems } = cause;
    // One document holds them all (UE2); people get a line each.
    for (const message of options.json ? [problems.join("; ")] : problems)
      refuse(
        { terminal, isJson: options.json, command: "discover" },
        { code: "settings", message },
      );
    return CONFIG_EXIT_CODE;
  }
  const only = options.region;
  const regions = config.regions.filter(({ region }) => only === undefined || region === only);
  if (regions.length === 0)
    throw new UsageError(
      "--region",
      "names no region of CARILLON_AGENT_REGIONS",
      config.regions.map(({ region }) => region),
    );
  const discovered = await discover({
    config,
    regions,
    sourceOf: options.poll ? (region) => sourceOf(config, region) : undefined,
    clock: systemClock,
  });
  const { views, stateProblem } = discovered;
  if (options.json) {
    const cluster = config.settings.CARILLON_AGENT_CLUSTER;
    const body = { cluster, stateProblem: stateProblem ?? null, regions: views };
    terminal.line(JSON.stringify(body, null, 2));
  } else {
    if (stateProblem !== undefined) terminal.error(`carillon discover: ${stateProblem}`);
    terminal.line(discoverText(views));
  }
  return exitCodeOf(discovered);
}

function exitCodeOf({ views }: Discovered): number {
  if (views.some(({ isStateUsable }) => !isStateUsable)) return UNUSABLE_EXIT_CODE;
  const silent = views.filter(({ outcome }) => outcome.kind === "failed");
  const unasked = views.filter(({ outcome }) => outcome.kind === "not_asked");
  const isUnknown = [...silent, ...unasked].some(({ ageMs }) => ageMs === null);
  if (isUnknown) return 2;
  return silent.length > 0 ? 1 : 0;
}

function fileEnv(path: string | undefined): Environment {
  if (path === undefined) return {};
  try {
    return parseEnv(readFileSync(path, "utf8"));
  } catch {
    throw new ConfigError([`--settings must name a file that can be read, not ${path}`]);
  }
}
