// apps/cli/src/load/load-command.ts
// `carillon load`: drives a running cluster of this machine and tells what it took.
//   LD4  Bounded in count and time, whatever is asked for.
import { Fault, systemClock, systemRandom } from "@carillon/kernel";
import { Command, Option } from "commander";
import { count, InvalidValue } from "../arguments.ts";
import { refuse } from "../refusal.ts";
import type { Terminal } from "../terminal.ts";
import { runBroadcast } from "./broadcast.ts";
import { runIngest } from "./ingest.ts";
import { isGood, loadReport, type LoadResult } from "./load-report.ts";
import { LoadRun } from "./load-run.ts";
import { runSingle } from "./single.ts";
import { type LoadTargets, targetsOf } from "./targets.ts";

const SCENARIOS = ["single", "broadcast", "ingest"] as const;
type Scenario = (typeof SCENARIOS)[number];

interface LoadOptions {
  readonly scenario: Scenario | "all";
  readonly dev: boolean;
  readonly data: string;
  readonly ingest?: readonly string[];
  readonly socket?: readonly string[];
  readonly key?: string;
  readonly rate: number;
  readonly seconds: number;
  readonly sockets: number;
  readonly connections: number;
  readonly json: boolean;
}

const BROADCAST_MAX_MS = 120_000;
const SINGLE_SOCKETS_MAX = 2_000;
const RECIPIENTS = 4_000;

export function loadCommand(context: {
  readonly terminal: Terminal;
  readonly defaultDataFolder: string;
  readonly exit: (exitCode: number) => void;
}): Command {
  return new Command("load")
    .description("measure a running cluster on this machine")
    .addOption(
      new Option("--scenario <name>", "what to measure")
        .choices([...SCENARIOS, "all"])
        .default("all"),
    )
    .option("--dev", "the cluster that carillon dev runs", false)
    .option("--data <folder>", "its data folder", context.defaultDataFolder)
    .option("--ingest <urls>", "HTTP API of each region, separated by commas", urls)
    .option("--socket <urls>", "socket endpoint of each region, in the same order", urls)
    .option("--key <key>", "API key with the scope admin", apiKey)
    .option("--rate <count>", "single: notifications per second", count(1, 5_000), 200)
    .option("--seconds <count>", "single, ingest: how long", count(1, 300), 10)
    .option("--sockets <count>", "broadcast, single: sessions", count(1, 50_000), 10_000)
    .option("--connections <count>", "ingest: callers at once", count(1, 512), 64)
    .option("--json", "print JSON", false)
    .action(async (options: LoadOptions) => {
      context.exit(await runLoad(options, context.terminal));
    });
}

/** 0: everything did what it should. 1: something did not. Throws UsageError: it cannot be run like this. */
async function runLoad(options: LoadOptions, terminal: Terminal): Promise<number> {
  const found = targetsOf(options);
  const progress = options.json ? { ...terminal, progress: () => undefined } : terminal;
  const wanted = options.scenario === "all" ? SCENARIOS : [options.scenario];
  const results: LoadResult[] = [];
  try {
    for (const scenario of wanted) {
      // oxlint-disable-next-line no-await-in-loop -- one after another: each wants the machine
      const result = await runScenario(scenario, found, options, progress);
      results.push(result);
      if (!options.json) terminal.line(`${loadReport(result)}\n`);
    }
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    const refusal = { code: cause.code, message: cause.message };
    refuse({ terminal, isJson: options.json, command: "load" }, refusal);
    return 1;
  }
  if (options.json) terminal.line(JSON.stringify(results, null, 2));
  return results.every(isGood) ? 0 : 1;
}

async function runScenario(
  scenario: Scenario,
  targets: LoadTargets,
  options: LoadOptions,
  terminal: Terminal,
): Promise<LoadResult> {
  const run = new LoadRun(targets, options.connections, {
    terminal,
    clock: systemClock,
    random: systemRandom,
  });
  const durationMs = options.seconds * 1_000;
  try {
    if (scenario === "broadcast")
      return await runBroadcast(run, { socketsCount: options.sockets, maxMs: BROADCAST_MAX_MS });
    if (scenario === "ingest")
      return await runIngest(run, {
        connectionsCount: options.connections,
        durationMs,
        recipientsCount: RECIPIENTS,
      });
    return await runSingle(run, {
      ratePerSecond: options.rate,
      durationMs,
      socketsCount: Math.min(options.sockets, SINGLE_SOCKETS_MAX),
    });
  } finally {
    run.close();
  }
}

function urls(text: string): string[] {
  return text.split(",").map((url) => url.trim());
}

function apiKey(text: string): string {
  if (/^[\x21-\x7e]+$/u.test(text)) return text;
  throw new InvalidValue("holds characters that no key has", "visible ASCII characters, no spaces");
}
