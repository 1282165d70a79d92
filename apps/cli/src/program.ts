// apps/cli/src/program.ts
// `carillon`: what there is to call, and what each command takes.
import { resolve } from "node:path";
import { DEFAULT_REGIONS } from "@carillon/contracts";
import { Command, Option } from "commander";
import type { OperatorContext } from "./admin-api.ts";
import { runAgentCommand } from "./agent/agent-command.ts";
import { discoverCommand } from "./agent/discover-command.ts";
import { count, regions } from "./arguments.ts";
import { runDevCommand } from "./dev/dev-command.ts";
import { loadCommand } from "./load/load-command.ts";
import { membersCommand } from "./members-command.ts";
import { natsKeyCommand } from "./nats-key-command.ts";
import { runNodeCommand } from "./node-command.ts";
import { explainCommand, notificationCommand } from "./notification-command.ts";
import { processCommand } from "./process-command.ts";
import { regionCommand } from "./region-command.ts";
import { timersCommand } from "./timers-command.ts";

export interface ProgramContext extends OperatorContext {
  readonly build: string;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const EMPLOYEES_MAX = 1_000_000;

/** Runs once: what was given is kept in it. */
export function createProgram(context: ProgramContext): Command {
  const program = new Command("carillon")
    .description(
      "Push notifications over several regions: one comes in, each employee gets it once.",
    )
    .version(context.build);
  addDev(program, context);
  addNode(program, context);
  addAgent(program, context);
  program.addCommand(discoverCommand(context));
  program.addCommand(loadCommand(context));
  program.addCommand(natsKeyCommand(context, context.exit));
  program.addCommand(processCommand(context));
  program.addCommand(regionCommand(context));
  program.addCommand(membersCommand(context));
  program.addCommand(timersCommand(context));
  program.addCommand(notificationCommand(context));
  program.addCommand(explainCommand(context));
  return program;
}

interface DevOptions {
  readonly demo: boolean;
  readonly fresh: boolean;
  readonly data: string;
  readonly regions: readonly string[];
  readonly employees: number;
  readonly durable: boolean;
}

function addDev(program: Command, { terminal, defaultDataFolder, exit }: ProgramContext): void {
  program
    .command("dev")
    .description("run whole regions on this machine, and show what they do")
    .option("--no-demo", "only run it")
    .option("--fresh", "drop what an earlier run left", false)
    .option("--data <folder>", "where state is kept", defaultDataFolder)
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
        terminal,
      );
      exit(exitCode);
    });
}

interface ModeOptions {
  readonly checkConfig: boolean;
  readonly printConfig: boolean;
}

function addNode(program: Command, context: ProgramContext): void {
  const { env, build, out, err, exit } = context;
  addModes(
    program
      .command("node")
      .description("run one process of one region; settings: CARILLON_NODE_… in the environment"),
  ).action(async ({ printConfig, checkConfig }: ModeOptions) => {
    const mode = printConfig ? "print-config" : checkConfig ? "check-config" : "run";
    exit(await runNodeCommand({ env, build, mode, out, err }));
  });
}

function addAgent(program: Command, context: ProgramContext): void {
  const { env, build, out, err, exit } = context;
  const modes = {
    printConfig: "print-config",
    checkConfig: "check-config",
    render: "render",
  } as const;
  const render = new Option("--render", "write nats.conf with the candidates on disk, and end");
  addModes(
    program
      .command("agent")
      .description(
        "find nats-servers and keep their routes; settings: CARILLON_AGENT_… as for node",
      ),
  )
    .addOption(render.default(false).conflicts(["checkConfig", "printConfig"]))
    .action(async (options: ModeOptions & { readonly render: boolean }) => {
      const asked = (["printConfig", "checkConfig", "render"] as const).find((one) => options[one]);
      const mode = asked === undefined ? "run" : modes[asked];
      exit(await runAgentCommand({ env, build, mode, out, err }));
    });
}

function addModes(command: Command): Command {
  const check = new Option("--check-config", "say what is wrong with the settings");
  const print = new Option("--print-config", "show the settings, without secrets");
  return command
    .addOption(check.default(false).conflicts("printConfig"))
    .addOption(print.default(false));
}
