// apps/cli/src/region-command.ts
// `carillon region`: who hosts which home region, and the declared failover of one (spec C24, ADR 0015).
//   RG1  Exit 0: done, shown, or so already. 1: refused, or not reachable. 64: not to be run so.
//   RG2  With --json the last line is one JSON document, refusals too; progress goes to stderr.
import { access, constants, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type HomeRequest, regionSchema } from "@carillon/contracts";
import { systemRandom } from "@carillon/kernel";
import { Command, InvalidArgumentError } from "commander";
import { adminApiOf, type OperatorContext, USAGE_EXIT_CODE, UsageError } from "./admin-api.ts";
import { count, regions } from "./arguments.ts";
import { failover } from "./region/failover.ts";
import { ApiFault, type HomeApi, homeApiOf } from "./region/home-api.ts";
import { reportLoss } from "./region/report.ts";
import { doneLines, reportLines, statusLines } from "./region/view.ts";

interface RegionContext extends OperatorContext {
  /** Progress, while the answer goes to the terminal. */
  readonly progress: (line: string) => void;
}

interface CommonOptions {
  readonly url?: string;
  readonly data: string;
  readonly json: boolean;
}

const WAIT_MAX_SECONDS = 3_600;
const SALT_BYTES = 16; // as the schema has it

export function regionCommand(context: RegionContext): Command {
  const command = new Command("region")
    .description("who hosts which home region, and moving one to another region")
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_EXIT_CODE));
  const add = <Options extends CommonOptions>(
    usage: string,
    description: string,
    act: (tools: Tools, options: Options, argument: string) => Promise<number>,
  ): Command =>
    command
      .command(usage)
      .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_EXIT_CODE))
      .description(description)
      .option(
        "--url <url>",
        "HTTP API of any region, with the operator key in CARILLON_OPERATOR_KEY",
      )
      .option("--data <folder>", "without --url: of carillon dev", context.defaultDataFolder)
      .option("--json", "print JSON", false)
      .action(async (...given: unknown[]) => {
        const argument = typeof given[0] === "string" ? given[0] : "";
        const self = given.at(-1) as Command;
        process.exit(await run(act, self.opts<Options>(), argument, context));
      });
  add("status", "hosts, epochs and copies of every home", status);
  add("failover <home>", "let another region host a home, or take it back", move)
    .requiredOption("--to <region>", "where a copy of the home's database is", region)
    .option(
      "--force",
      "take over although the old host does not answer; see docs/failover.md",
      false,
    )
    .option(
      "--max-lag <seconds>",
      "of the copy, before a planned one",
      count(0, WAIT_MAX_SECONDS),
      30,
    )
    .option("--wait <seconds>", "for the copy to replay", count(1, WAIT_MAX_SECONDS), 60);
  add(
    "report <home>",
    "what the fenced database of a home holds that the new host's does not",
    report,
  ).option("--out <file>", "write the whole report, with all ids, as JSON");
  add(
    "residency <tenant>",
    "where else a tenant's people may be served; default: nowhere",
    residency,
  )
    .option("--strict", "in their home regions only", false)
    .option("--failover-to <list>", "regions, separated by commas", regions)
    .option("--home <region>", "only for people of this home; default: of every one", region);
  return command;
}

interface Tools {
  readonly api: HomeApi;
  readonly isJson: boolean;
  readonly line: (text: string) => void;
  readonly progress: (text: string) => void;
}

async function run<Options extends CommonOptions>(
  act: (tools: Tools, options: Options, argument: string) => Promise<number>,
  options: Options,
  argument: string,
  context: RegionContext,
): Promise<number> {
  const { terminal, progress } = context;
  const line = (text: string): void => terminal.line(text);
  const fail = (reason: string): void =>
    line(options.json ? JSON.stringify({ error: reason }) : `carillon region: ${reason}`);
  try {
    const api = adminApiOf(options, context);
    try {
      return await act(
        { api: homeApiOf(api), isJson: options.json, line, progress },
        options,
        argument,
      );
    } finally {
      api.close();
    }
  } catch (cause) {
    if (!(cause instanceof UsageError) && !(cause instanceof ApiFault)) throw cause;
    fail(cause.message);
    return cause instanceof UsageError ? USAGE_EXIT_CODE : 1;
  }
}

async function status({ api, isJson, line }: Tools): Promise<number> {
  const homes = await api.homes();
  if (isJson) line(JSON.stringify({ homes }));
  else for (const text of statusLines(homes)) line(text);
  return 0;
}

async function move(
  { api, isJson, line, progress }: Tools,
  options: CommonOptions & { to: string; force: boolean; maxLag: number; wait: number },
  home: string,
): Promise<number> {
  const outcome = await failover(
    api,
    {
      home,
      to: options.to,
      isForced: options.force,
      lagMaxMs: options.maxLag * 1_000,
      replayMaxMs: options.wait * 1_000,
    },
    progress,
  );
  if (isJson) line(JSON.stringify(outcome));
  else if (outcome.kind === "refused") line(`carillon region: ${outcome.reason}`);
  else for (const text of doneLines(outcome)) line(text);
  return outcome.kind === "done" ? 0 : 1;
}

async function report(
  { api, isJson, line, progress }: Tools,
  options: CommonOptions & { out?: string },
  home: string,
): Promise<number> {
  const { out } = options;
  if (out !== undefined) await assertWritable(out); // before all the work
  const salt = Buffer.from(systemRandom.bytes(SALT_BYTES)).toString("hex");
  const outcome = await reportLoss(api, home, salt);
  if (outcome.kind === "refused") {
    line(isJson ? JSON.stringify({ error: outcome.reason }) : `carillon region: ${outcome.reason}`);
    return 1;
  }
  if (isJson) line(JSON.stringify(outcome.report));
  else for (const text of reportLines(outcome.report)) line(text);
  if (out === undefined) return 0;
  try {
    await writeFile(out, `${JSON.stringify(outcome.report, null, 2)}\n`, { mode: 0o600 });
  } catch (cause) {
    progress(`${out} cannot be written (${codeOf(cause)})`); // the report itself was shown
    return 1;
  }
  return 0;
}

/** Throws UsageError. What is there already is replaced, as a shell's > would. */
async function assertWritable(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory() === true) throw new UsageError(`--out: ${path} is a folder`);
  try {
    await access(there === undefined ? dirname(path) : path, constants.W_OK);
  } catch (cause) {
    throw new UsageError(`--out: ${path} cannot be written (${codeOf(cause)})`);
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
}

async function residency(
  { api, isJson, line }: Tools,
  options: CommonOptions & { strict: boolean; failoverTo?: readonly string[]; home?: string },
  tenantId: string,
): Promise<number> {
  const failoverTo = options.strict ? [] : options.failoverTo;
  if (failoverTo === undefined || (options.strict && options.failoverTo !== undefined))
    throw new UsageError("say either --strict or --failover-to");
  const all = await api.homes();
  const known = all.map(({ home }) => home); // every region is a home
  for (const one of [...failoverTo, options.home ?? known[0] ?? ""])
    if (!known.includes(one))
      throw new UsageError(`there is no region ${one}; there are ${known.join(", ")}`);
  const homes = all.filter(({ home }) => (options.home ?? home) === home);
  const results: { home: string; isChanged: boolean; reason: string | null }[] = [];
  for (const { home, places } of homes) {
    const place = places.find(({ standing }) => standing === "serving")?.place ?? home;
    const request: HomeRequest = { kind: "residency", tenantId, failoverTo: [...failoverTo] };
    const answer = await api.step(home, place, request);
    const reason = answer.kind === "reply" ? null : answer.reason;
    results.push({ home, isChanged: reason === null, reason });
  }
  const words = failoverTo.length === 0 ? "strict" : `failover to ${failoverTo.join(", ")}`;
  if (isJson) line(JSON.stringify({ tenantId, failoverTo, homes: results }));
  else
    for (const { home, reason } of results)
      line(`${tenantId} in ${home}: ${reason === null ? words : `not changed. ${reason}`}`);
  return results.length > 0 && results.every(({ isChanged }) => isChanged) ? 0 : 1;
}

function region(text: string): string {
  const parsed = regionSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError("A region is 2 to 16 lower-case letters or digits.");
}
