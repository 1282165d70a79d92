// apps/cli/src/main.ts
// `carillon`: what there is to call. Only here the environment is read.
import { join, resolve } from "node:path";
import { DEFAULT_REGIONS } from "@carillon/contracts";
import { Command, Option } from "commander";
import packageJson from "../package.json" with { type: "json" };
import { runAgentCommand } from "./agent/agent-command.ts";
import { discoverCommand } from "./agent/discover-command.ts";
import { count, regions } from "./arguments.ts";
import { runDevCommand } from "./dev/dev-command.ts";
import { loadCommand } from "./load/load-command.ts";
import { membersCommand } from "./members-command.ts";
import { natsKeyCommand } from "./nats-key-command.ts";
import { runNodeCommand } from "./node-command.ts";
import { processCommand } from "./process-command.ts";
import { regionCommand } from "./region-command.ts";
import { createTerminal } from "./terminal.ts";

const BUILD = packageJson.version;
const DEFAULT_DATA_FOLDER = join(import.meta.dirname, "../../..", ".carillon");
const EMPLOYEES_MAX = 1_000_000;
const USAGE_EXIT_CODE = 64;
const endsAs = ({ exitCode }: { exitCode: number }): never =>
  process.exit(exitCode === 0 ? 0 : USAGE_EXIT_CODE);
const AGENT_MODES = {
  printConfig: "print-config",
  checkConfig: "check-config",
  render: "render",
} as const;

const program = new Command("carillon")
  .description("Push notifications over several regions: one comes in, each employee gets it once.")
  .version(BUILD)
  .showHelpAfterError();

program
  .command("dev")
  .description("run whole regions on this machine, and show what they do")
  .option("--no-demo", "only run it")
  .option("--fresh", "drop what an earlier run left", false)
  .option("--data <folder>", "where state is kept", DEFAULT_DATA_FOLDER)
  .option("--regions <list>", "regions, separated by commas", regions, [...DEFAULT_REGIONS])
  .option("--employees <count>", "people of the demonstration", count(1, EMPLOYEES_MAX), 10_000)
  .option("--no-durable", "let Postgres not sync: faster, and lost with the machine")
  .action(async (options: DevOptions) => {
    const exitCode = await runDevCommand(
      {
        dataFolder: resolve(options.data),
        regions: options.regions,
        employeesCount: options.employees,
        isDurable: options.durable,
        isFresh: options.fresh,
        hasDemo: options.demo,
      },
      createTerminal(process.stdout),
    );
    process.exit(exitCode);
  });

program
  .command("node")
  .description("run one process of one region; settings: CARILLON_NODE_… in the environment")
  .addOption(new Option("--check-config", "say what is wrong with the settings").default(false))
  .addOption(new Option("--print-config", "show the settings, without secrets").default(false))
  .action(async (options: { checkConfig: boolean; printConfig: boolean }) => {
    const mode = options.printConfig
      ? "print-config"
      : options.checkConfig
        ? "check-config"
        : "run";
    const exitCode = await runNodeCommand({
      env: process.env,
      build: BUILD,
      mode,
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
    });
    process.exit(exitCode);
  });

program
  .command("agent")
  .exitOverride(endsAs)
  .description("find nats-servers and keep their routes; settings: CARILLON_AGENT_… as for node")
  .addOption(new Option("--check-config", "say what is wrong with the settings").default(false))
  .addOption(new Option("--print-config", "show the settings").default(false))
  .addOption(
    new Option("--render", "write nats.conf with the candidates on disk, and end").default(false),
  )
  .action(async (options: { checkConfig: boolean; printConfig: boolean; render: boolean }) => {
    const asked = (["printConfig", "checkConfig", "render"] as const).find((one) => options[one]);
    const exitCode = await runAgentCommand({
      env: process.env,
      build: BUILD,
      mode: asked === undefined ? "run" : AGENT_MODES[asked],
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
    });
    process.exit(exitCode);
  });

program.addCommand(
  discoverCommand({
    env: process.env,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  }),
);

program.addCommand(
  loadCommand({ terminal: createTerminal(process.stdout), defaultDataFolder: DEFAULT_DATA_FOLDER }),
);

program.addCommand(
  natsKeyCommand(
    {
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
    },
    (exitCode) => void (process.exitCode = exitCode),
  ),
);

program.addCommand(
  processCommand({
    terminal: createTerminal(process.stdout),
    defaultDataFolder: DEFAULT_DATA_FOLDER,
    env: process.env,
  }),
);

program.addCommand(
  regionCommand({
    terminal: createTerminal(process.stdout),
    progress: (line) => void process.stderr.write(`${line}\n`),
    defaultDataFolder: DEFAULT_DATA_FOLDER,
    env: process.env,
  }),
);

program.addCommand(
  membersCommand({
    terminal: createTerminal(process.stdout),
    defaultDataFolder: DEFAULT_DATA_FOLDER,
    env: process.env,
  }),
);

await program.parseAsync();

interface DevOptions {
  readonly demo: boolean;
  readonly fresh: boolean;
  readonly data: string;
  readonly regions: readonly string[];
  readonly employees: number;
  readonly durable: boolean;
}
