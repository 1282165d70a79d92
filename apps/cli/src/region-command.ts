// apps/cli/src/region-command.ts
// `carillon region`: who hosts which home region, and the declared failover of one (spec C24, ADR 0015).
//   RG1  Exit 0: done, shown, or so already. 1: refused, or not reachable. 64: not to be run so.
//   RG2  With --json the answer is one JSON document, refusals too; progress goes to stderr.
//   RG3  A region that is none of this cluster is a usage error that lists those there are, before any step.
import { access, constants, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type AdminHome, type HomeRequest, tenantIdSchema } from "@carillon/contracts";
import { systemRandom } from "@carillon/kernel";
import { Command } from "commander";
import {
  addOperatorOptions,
  adminApiOf,
  type OperatorContext,
  type OperatorOptions,
} from "./admin-api.ts";
import { count, InvalidValue, region, regions } from "./arguments.ts";
import { bodyOf, type Refusal, refuse, UsageError } from "./refusal.ts";
import { failover } from "./region/failover.ts";
import { ApiFault, type HomeApi, homeApiOf } from "./region/home-api.ts";
import { reportLoss } from "./region/report.ts";
import { doneLines, reportLines, statusLines } from "./region/view.ts";

const WAIT_MAX_SECONDS = 3_600;
const SALT_BYTES = 16; // as the schema has it

export function regionCommand(context: OperatorContext): Command {
  const command = new Command("region").description(
    "who hosts which home region, and moving one to another region",
  );
  const add = <Options extends OperatorOptions>(
    name: string,
    description: string,
    act: (tools: Tools, options: Options, argument: string | undefined) => Promise<number>,
  ): Command =>
    addOperatorOptions(command.command(name).description(description), context).action(
      async (...given: unknown[]) => {
        const argument = typeof given[0] === "string" ? given[0] : undefined;
        const self = given.at(-1) as Command;
        context.exit(await run(act, self.opts<Options>(), argument, context));
      },
    );
  const home = "a home region, such as fra";
  add("status", "hosts, epochs and copies of every home", status).argument(
    "[home]",
    "only of this home region",
    region,
  );
  add("failover", "let another region host a home, or take it back", move)
    .argument("<home>", home, region)
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
  add("report", "what the fenced database of a home holds that the new host's does not", report)
    .argument("<home>", home, region)
    .option("--out <file>", "write the whole report, with all ids, as JSON");
  add("residency", "where else a tenant's people may be served; default: nowhere", residency)
    .argument("<tenant>", "id of a tenant, such as acme", tenant)
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
  readonly refuse: (refusal: Refusal) => number;
}

/** Throws UsageError. */
async function run<Options extends OperatorOptions>(
  act: (tools: Tools, options: Options, argument: string | undefined) => Promise<number>,
  options: Options,
  argument: string | undefined,
  context: OperatorContext,
): Promise<number> {
  const { terminal } = context;
  const isJson = options.json;
  const refused = (refusal: Refusal): number => {
    refuse({ terminal, isJson, command: "region" }, refusal);
    return 1;
  };
  const api = adminApiOf(options, context);
  const tools: Tools = {
    api: homeApiOf(api),
    isJson,
    line: (text) => terminal.line(text),
    progress: (text) => terminal.error(text),
    refuse: refused,
  };
  try {
    return await act(tools, options, argument);
  } catch (cause) {
    if (!(cause instanceof ApiFault)) throw cause;
    return refused(cause.refusal);
  } finally {
    api.close();
  }
}

/** RG3. Throws UsageError, for the first that is no region of this cluster; ApiFault. Answers all homes. */
async function knownHomes(
  api: HomeApi,
  named: Readonly<Record<string, readonly string[]>>,
): Promise<readonly AdminHome[]> {
  const all = await api.homes();
  const known = all.map(({ home }) => home); // every region is a home
  for (const [field, names] of Object.entries(named))
    for (const name of names)
      if (!known.includes(name))
        throw new UsageError(field, `names ${name}, which is no region of this cluster`, known);
  return all;
}

async function status(
  { api, isJson, line }: Tools,
  _options: OperatorOptions,
  only: string | undefined,
): Promise<number> {
  const all = await knownHomes(api, { "[home]": only === undefined ? [] : [only] });
  const homes = all.filter(({ home }) => home === (only ?? home));
  if (isJson) line(JSON.stringify({ homes }));
  else for (const text of statusLines(homes)) line(text);
  return 0;
}

async function move(
  { api, isJson, line, progress, refuse: refused }: Tools,
  options: OperatorOptions & { to: string; force: boolean; maxLag: number; wait: number },
  home = "",
): Promise<number> {
  await knownHomes(api, { "<home>": [home], "--to": [options.to] });
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
  if (outcome.kind === "refused") return refused({ code: outcome.code, message: outcome.reason });
  if (isJson) line(JSON.stringify(outcome));
  else for (const text of doneLines(outcome)) line(text);
  return 0;
}

async function report(
  { api, isJson, line, progress, refuse: refused }: Tools,
  options: OperatorOptions & { out?: string },
  home = "",
): Promise<number> {
  const { out } = options;
  if (out !== undefined) await assertWritable(out); // before all the work
  await knownHomes(api, { "<home>": [home] });
  const salt = Buffer.from(systemRandom.bytes(SALT_BYTES)).toString("hex");
  const outcome = await reportLoss(api, home, salt);
  if (outcome.kind === "refused") return refused({ code: outcome.code, message: outcome.reason });
  if (isJson) line(JSON.stringify(outcome.report));
  else for (const text of reportLines(outcome.report)) line(text);
  if (out === undefined) return 0;
  try {
    await writeFile(out, `${JSON.stringify(outcome.report, null, 2)}\n`, { mode: 0o600 });
  } catch (cause) {
    progress(`carillon region: --out ${out} cannot be written (${codeOf(cause)})`); // the report itself was shown
    return 1;
  }
  return 0;
}

const FILE_RULE = ["the path of a file that you may write, in a folder that is there"];

/** Throws UsageError. What is there already is replaced, as a shell's > would. */
async function assertWritable(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory() === true)
    throw new UsageError("--out", `${path} is a folder`, FILE_RULE);
  try {
    await access(there === undefined ? dirname(path) : path, constants.W_OK);
  } catch (cause) {
    throw new UsageError("--out", `${path} cannot be written (${codeOf(cause)})`, FILE_RULE);
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
}

async function residency(
  { api, isJson, line }: Tools,
  options: OperatorOptions & { strict: boolean; failoverTo?: readonly string[]; home?: string },
  tenantId = "",
): Promise<number> {
  const failoverTo = options.strict ? [] : options.failoverTo;
  if (failoverTo === undefined || (options.strict && options.failoverTo !== undefined))
    throw new UsageError(
      "--failover-to",
      options.strict ? "contradicts --strict" : "is missing, and so is --strict",
      ["--strict alone", "--failover-to <list> alone"],
    );
  const { home: only } = options;
  const all = await knownHomes(api, {
    "--failover-to": failoverTo,
    "--home": only === undefined ? [] : [only],
  });
  const homes = all.filter(({ home }) => home === (only ?? home));
  const results: { home: string; isChanged: boolean; error: Refusal | null }[] = [];
  for (const { home, places } of homes) {
    const place = places.find(({ standing }) => standing === "serving")?.place ?? home;
    const request: HomeRequest = { kind: "residency", tenantId, failoverTo: [...failoverTo] };
    const answer = await api.step(home, place, request);
    const error =
      answer.kind === "reply" ? null : bodyOf({ code: answer.code, message: answer.reason });
    results.push({ home, isChanged: error === null, error });
  }
  const words = failoverTo.length === 0 ? "strict" : `failover to ${failoverTo.join(", ")}`;
  if (isJson) line(JSON.stringify({ tenantId, failoverTo, homes: results }));
  else
    for (const { home, error } of results)
      line(`${tenantId} in ${home}: ${error === null ? words : `not changed. ${error.message}`}`);
  return results.length > 0 && results.every(({ isChanged }) => isChanged) ? 0 : 1;
}

function tenant(text: string): string {
  const parsed = tenantIdSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidValue(
    "is no id of a tenant",
    "1 to 63 lower-case letters, digits or -, the first no -",
  );
}
