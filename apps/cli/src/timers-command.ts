// apps/cli/src/timers-command.ts
// `carillon timers`: what was given up in a region, and what operators do about it. Exit codes and JSON
// as in process-command.ts (PC1, PC2).
import type { AdminTimers, BuriedTimer } from "@carillon/contracts";
import { Command, Option } from "commander";
import {
  addOperatorOptions,
  exitCodeOf,
  type OperatorContext,
  type OperatorOptions,
} from "./admin-api.ts";
import { count } from "./arguments.ts";
import { textTable } from "./clients/text-table.ts";
import { apiOf } from "./process-command.ts";
import { refuse } from "./refusal.ts";

interface TimersOptions extends OperatorOptions {
  readonly limit: number;
  readonly revive?: number;
  readonly delete?: number;
}

const LIST_MAX = 1_000;
const aTimer = count(1, Number.MAX_SAFE_INTEGER);

export function timersCommand(context: OperatorContext): Command {
  const command = new Command("timers")
    .description("show durable timers that were given up (buried), and revive or delete them")
    .argument("<region>", "the home region whose timers they are")
    .option("--limit <count>", "so many at most", count(1, LIST_MAX), 100)
    .addOption(
      new Option("--revive <id>", "let this one fire again, at once")
        .argParser(aTimer)
        .conflicts("delete"),
    )
    .addOption(new Option("--delete <id>", "forget this one").argParser(aTimer));
  return addOperatorOptions(command, context).action(
    async (region: string, options: TimersOptions) =>
      context.exit(await run(region, options, context)),
  );
}

/** Throws UsageError. */
async function run(
  region: string,
  options: TimersOptions,
  context: OperatorContext,
): Promise<number> {
  const { terminal } = context;
  const api = apiOf(options, context);
  const id = options.revive ?? options.delete;
  const step = options.revive === undefined ? "delete" : "revive";
  const query = new URLSearchParams({ region, limit: String(options.limit) });
  const answer =
    id === undefined
      ? await api.ask({ method: "GET", path: `/v1/admin/timers?${String(query)}` })
      : await api.ask({
          method: "POST",
          path: `/v1/admin/timers/${step}`,
          body: JSON.stringify({ region, id }),
        });
  if (answer.kind === "failed") {
    refuse({ terminal, isJson: options.json, command: "timers" }, answer.refusal);
    return exitCodeOf(answer);
  }
  if (options.json) terminal.line(JSON.stringify(answer.body, null, 2));
  if (id === undefined) {
    if (!options.json)
      for (const line of timerLines(answer.body as AdminTimers)) terminal.line(line);
    return 0;
  }
  const { isChanged } = answer.body as { isChanged: boolean };
  const done = step === "revive" ? `timer ${id} is due` : `timer ${id} is gone`;
  if (!options.json) terminal.line(isChanged ? done : `no timer ${id} is buried in ${region}`);
  return isChanged ? 0 : 1;
}

const HEAD = [
  "ID",
  "BURIED",
  "TENANT",
  "KIND",
  "KEY",
  "PARTITION",
  "CLAIMS",
  "FAILED",
  "LOST",
  "WHY",
];

export function timerLines({ timers, isCut }: AdminTimers): string[] {
  if (timers.length === 0) return ["no timer is buried"];
  const table = textTable(HEAD, timers.map(rowOf));
  return isCut ? [table, "… there are more: --limit"] : [table];
}

function rowOf(timer: BuriedTimer): string[] {
  const { id, buriedAt, tenantId, kind, key, partition, reason } = timer;
  const counts = [timer.attemptCount, timer.failureCount, timer.lostCount];
  return [String(id), buriedAt, tenantId, kind, key, ...[partition, ...counts].map(String), reason];
}
