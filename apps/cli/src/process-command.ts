// apps/cli/src/process-command.ts
// `carillon process`: what runs in the nodes, and what operators do about it (spec O8).
//   PC1  Exit 0: done or shown. 1: not found, or nothing to end. 2: not reachable, or a node that does
//        not answer (503). 64: not to be run so.
//   PC2  With --json every answer is JSON, refusals too.
import {
  type AdminNode,
  type AdminProcesses,
  adminReplySchema,
  type ProcessAddress,
} from "@carillon/contracts";
import { Command } from "commander";
import {
  adminApiOf,
  type Asked,
  exitCodeOf,
  KEY_VARIABLE,
  type OperatorContext,
  USAGE_EXIT_CODE,
  UNREACHABLE_EXIT_CODE,
  UsageError,
} from "./admin-api.ts";
import { showAgentTree } from "./agent/agent-tree.ts";
import { count } from "./arguments.ts";
import type { ApiRequest } from "./clients/api-client.ts";
import { processLines, processTable, treeLines } from "./process-view.ts";
import type { Terminal } from "./terminal.ts";

interface CommonOptions {
  readonly url?: string;
  readonly data: string;
  readonly json: boolean;
  readonly node?: string;
  readonly agent?: string;
  readonly table?: string;
  readonly limit?: number;
  readonly all?: boolean;
}

const LIST_MAX = 1_000;

export function processCommand(context: OperatorContext): Command {
  const command = new Command("process")
    .description(
      "look at the processes of running nodes, and let those that were stopped run again",
    )
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_EXIT_CODE));
  const add = (
    usage: string,
    description: string,
    act: (api: ProcessApi, options: CommonOptions, argument: string) => Promise<number>,
  ): Command =>
    command
      .command(usage)
      .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_EXIT_CODE))
      .description(description)
      .option("--url <url>", `HTTP API of any region, with the operator key in ${KEY_VARIABLE}`)
      .option("--data <folder>", "without --url: of carillon dev", context.defaultDataFolder)
      .option("--json", "print JSON", false)
      .action(async (...given: unknown[]) => {
        const argument = typeof given[0] === "string" ? given[0] : "";
        const self = given.at(-1) as Command;
        process.exit(await run(act, self.opts<CommonOptions>(), argument, context));
      });
  add("tree", "supervisors, tables and their sums, of every node", tree)
    .option("--node <name>", "only this node")
    .option("--agent <url>", "instead: of a discovery agent, where its metrics are; needs no key");
  add("list", "processes that are not idle", (api, options) => list(api, options, false))
    .option("--node <name>", "only of this node")
    .option("--table <name>", "only of this table, such as fra/17 or gateway.sessions")
    .option("--all", "idle ones, too, if they have a state", false)
    .option("--limit <count>", "so many at most", count(1, LIST_MAX), 100);
  add("quarantine", "processes in quarantine, with their reason", (api, options) =>
    list(api, options, true),
  ).option("--limit <count>", "so many at most", count(1, LIST_MAX), 100);
  add("inspect <process>", "one process: tenant/recipient, or a key with --table", inspect)
    .option("--table <name>", "the table in which <process> is the key")
    .option("--node <name>", "needed for a table of no partition");
  for (const [name, what] of [
    ["reset <process>", "end its back-off or quarantine, and forgive its crashes"],
    ["unquarantine <process>", "the same: let a process in quarantine run again"],
  ] as const)
    add(name, what, reset)
      .option("--table <name>", "the table in which <process> is the key")
      .option("--node <name>", "needed for a table of no partition");
  add("resume <table>", "end the pause of a table, such as fra/17", resume).option(
    "--node <name>",
    "needed for a table of no partition",
  );
  return command;
}

async function run(
  act: (api: ProcessApi, options: CommonOptions, argument: string) => Promise<number>,
  options: CommonOptions,
  argument: string,
  context: OperatorContext,
): Promise<number> {
  try {
    const { agent } = options;
    if (agent !== undefined) {
      if ((options.url ?? options.node) !== undefined)
        throw new UsageError("--agent stands alone: an agent is none of a region's nodes");
      return await showAgentTree(agent, { terminal: context.terminal, isJson: options.json });
    }
    return await act(apiOf(options, context), options, argument);
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    context.terminal.line(
      options.json
        ? JSON.stringify({ error: cause.message })
        : `carillon process: ${cause.message}`,
    );
    return USAGE_EXIT_CODE;
  }
}

interface ProcessApi {
  readonly terminal: Terminal;
  readonly isJson: boolean;
  ask(request: ApiRequest): Promise<Asked>;
}

export function apiOf(
  options: Pick<CommonOptions, "url" | "data" | "json">,
  context: OperatorContext,
): ProcessApi {
  const api = adminApiOf(options, context);
  return { terminal: context.terminal, isJson: options.json, ask: (request) => api.ask(request) };
}

async function tree(api: ProcessApi, options: CommonOptions): Promise<number> {
  const nodes = await api.ask({ method: "GET", path: "/v1/admin/nodes" });
  if (nodes.kind === "failed") return failed(api, nodes);
  const all = (nodes.body as { nodes: AdminNode[] }).nodes;
  const wanted = all.filter(({ memberId }) => (options.node ?? memberId) === memberId);
  if (wanted.length === 0) {
    const reason = `there is no node ${options.node ?? ""}`;
    return failed(api, { reason, status: 404 });
  }
  const answers = await Promise.all(
    wanted.map(async (node) => {
      const path = `/v1/admin/nodes/${encodeURIComponent(node.memberId)}/tree`;
      return { node, answer: await api.ask({ method: "GET", path }) };
    }),
  );
  if (options.json)
    api.terminal.line(
      JSON.stringify(
        answers.map(({ node, answer }) =>
          answer.kind === "body" ? answer.body : { node: node.memberId, error: answer.reason },
        ),
        null,
        2,
      ),
    );
  for (const { node, answer } of options.json ? [] : answers) {
    api.terminal.line(`${node.memberId} (${node.region}: ${node.roles.join(", ")})`);
    if (answer.kind === "failed") api.terminal.line(`  ${answer.reason}`);
    else {
      const reply = adminReplySchema.parse({ kind: "tree", ...(answer.body as object) });
      if (reply.kind === "tree") for (const line of treeLines(reply)) api.terminal.line(line);
    }
  }
  const exitCodes = answers.map(({ answer }) => (answer.kind === "body" ? 0 : exitCodeOf(answer)));
  return Math.max(...exitCodes);
}

async function list(
  api: ProcessApi,
  options: CommonOptions,
  isQuarantinedOnly: boolean,
): Promise<number> {
  const query = new URLSearchParams({ limit: String(options.limit ?? 100) });
  if (options.node !== undefined) query.set("node", options.node);
  if (options.table !== undefined) query.set("table", options.table);
  if (isQuarantinedOnly) query.set("quarantined", "true");
  if (options.all === true) query.set("all", "true");
  const answer = await api.ask({ method: "GET", path: `/v1/admin/processes?${String(query)}` });
  if (answer.kind === "failed") return failed(api, answer);
  const found = answer.body as AdminProcesses;
  if (options.json) api.terminal.line(JSON.stringify(found, null, 2));
  else for (const line of processTable(found)) api.terminal.line(line);
  return found.unreachable.length === 0 ? 0 : UNREACHABLE_EXIT_CODE;
}

async function inspect(api: ProcessApi, options: CommonOptions, key: string): Promise<number> {
  const query = new URLSearchParams(addressOf(key, options));
  const answer = await api.ask({ method: "GET", path: `/v1/admin/process?${String(query)}` });
  if (answer.kind === "failed") return failed(api, answer);
  if (options.json) api.terminal.line(JSON.stringify(answer.body, null, 2));
  else
    for (const line of processLines(answer.body as AdminProcesses["processes"][number]))
      api.terminal.line(line);
  return 0;
}

async function reset(api: ProcessApi, options: CommonOptions, key: string): Promise<number> {
  const body = JSON.stringify(addressOf(key, options));
  const answer = await api.ask({ method: "POST", path: "/v1/admin/process/reset", body });
  return tell(api, answer, {
    done: `${key} may run again`,
    nothing: `${key} was neither in quarantine nor in back-off`,
  });
}

async function resume(api: ProcessApi, options: CommonOptions, table: string): Promise<number> {
  const body = JSON.stringify({ table, node: options.node });
  const answer = await api.ask({ method: "POST", path: "/v1/admin/tables/resume", body });
  return tell(api, answer, { done: `${table} goes on`, nothing: `${table} was not paused` });
}

function tell(
  api: ProcessApi,
  answer: Asked,
  words: { readonly done: string; readonly nothing: string },
): number {
  if (answer.kind === "failed") return failed(api, answer);
  const { node, isChanged } = answer.body as { node: string; isChanged: boolean };
  if (api.isJson) api.terminal.line(JSON.stringify({ node, isChanged }));
  else api.terminal.line(`${isChanged ? words.done : words.nothing} (${node})`);
  return isChanged ? 0 : 1;
}

function addressOf(
  key: string,
  { table, node }: CommonOptions,
): ProcessAddress & { node?: string } {
  if (table === undefined && node !== undefined)
    throw new UsageError("--node needs --table: a recipient is where its owner is");
  if (table === undefined) return { recipient: key };
  return node === undefined ? { table, key } : { table, key, node };
}

function failed(
  api: ProcessApi,
  { reason, status }: { readonly reason: string; readonly status: number | undefined },
): number {
  api.terminal.line(api.isJson ? JSON.stringify({ error: reason }) : `carillon process: ${reason}`);
  return exitCodeOf({ status });
}
