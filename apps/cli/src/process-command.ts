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
  processAddressSchema,
} from "@carillon/contracts";
import { Command } from "commander";
import {
  addOperatorOptions,
  adminApiOf,
  type AskFailed,
  type Asked,
  exitCodeOf,
  type OperatorContext,
  type OperatorOptions,
  UNREACHABLE_EXIT_CODE,
} from "./admin-api.ts";
import { showAgentTree } from "./agent/agent-tree.ts";
import { count, httpUrl } from "./arguments.ts";
import type { ApiRequest } from "./clients/api-client.ts";
import { processLines, processTable, treeLines } from "./process-view.ts";
import { bodyOf, refuse, UsageError } from "./refusal.ts";
import type { Terminal } from "./terminal.ts";

interface CommonOptions extends OperatorOptions {
  readonly node?: string;
  readonly agent?: string;
  readonly table?: string;
  readonly limit?: number;
  readonly all?: boolean;
}

const LIST_MAX = 1_000;

export function processCommand(context: OperatorContext): Command {
  const command = new Command("process").description(
    "look at the processes of running nodes, and let those that were stopped run again",
  );
  const add = (
    name: string,
    description: string,
    act: (api: ProcessApi, options: CommonOptions, argument: string) => Promise<number>,
  ): Command =>
    addOperatorOptions(command.command(name).description(description), context).action(
      async (...given: unknown[]) => {
        const argument = typeof given[0] === "string" ? given[0] : "";
        const self = given.at(-1) as Command;
        context.exit(await run(act, self.opts<CommonOptions>(), argument, context));
      },
    );
  const agent = "instead: of a discovery agent, where its metrics are; needs no key";
  add("tree", "supervisors, tables and their sums, of every node", tree)
    .option("--node <name>", "only this node")
    .option("--agent <url>", agent, httpUrl("http://host:8082"));
  add("list", "processes that are not idle", (api, options) => list(api, options, false))
    .option("--node <name>", "only of this node")
    .option("--table <name>", "only of this table, such as fra/17 or gateway.sessions")
    .option("--all", "idle ones, too, if they have a state", false)
    .option("--limit <count>", "so many at most", count(1, LIST_MAX), 100);
  add("quarantine", "processes in quarantine, with their reason", (api, options) =>
    list(api, options, true),
  ).option("--limit <count>", "so many at most", count(1, LIST_MAX), 100);
  for (const [name, what, act] of [
    ["inspect", "one process: tenant/recipient, or a key with --table", inspect],
    ["reset", "end its back-off or quarantine, and forgive its crashes", reset],
    ["unquarantine", "the same: let a process in quarantine run again", reset],
  ] as const)
    add(name, what, act)
      .argument("<process>", "tenant/recipient, or a key with --table")
      .option("--table <name>", "the table in which <process> is the key")
      .option("--node <name>", "needed for a table of no partition");
  add("resume", "end the pause of a table, such as fra/17", resume)
    .argument("<table>", "a table, such as fra/17")
    .option("--node <name>", "needed for a table of no partition");
  return command;
}

/** Throws UsageError. */
async function run(
  act: (api: ProcessApi, options: CommonOptions, argument: string) => Promise<number>,
  options: CommonOptions,
  argument: string,
  context: OperatorContext,
): Promise<number> {
  const { agent } = options;
  if (agent === undefined) return act(apiOf(options, context), options, argument);
  const other = options.url === undefined ? "--node" : "--url";
  if ((options.url ?? options.node) !== undefined)
    throw new UsageError(other, "contradicts --agent: an agent is none of a region's nodes", [
      "--agent alone",
      `${other} alone`,
    ]);
  return showAgentTree(agent, { terminal: context.terminal, isJson: options.json });
}

interface ProcessApi {
  readonly terminal: Terminal;
  readonly isJson: boolean;
  ask(request: ApiRequest): Promise<Asked>;
}

export function apiOf(options: OperatorOptions, context: OperatorContext): ProcessApi {
  const api = adminApiOf(options, context);
  return { terminal: context.terminal, isJson: options.json, ask: (request) => api.ask(request) };
}

async function tree(api: ProcessApi, options: CommonOptions): Promise<number> {
  const nodes = await api.ask({ method: "GET", path: "/v1/admin/nodes" });
  if (nodes.kind === "failed") return failed(api, nodes);
  const all = (nodes.body as { nodes: AdminNode[] }).nodes;
  const wanted = all.filter(({ memberId }) => (options.node ?? memberId) === memberId);
  if (wanted.length === 0) return failed(api, unknownNode(options.node ?? "", all));
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
          answer.kind === "body"
            ? answer.body
            : { node: node.memberId, error: bodyOf(answer.refusal) },
        ),
        null,
        2,
      ),
    );
  for (const { node, answer } of options.json ? [] : answers) {
    api.terminal.line(`${node.memberId} (${node.region}: ${node.roles.join(", ")})`);
    if (answer.kind === "failed") api.terminal.line(`  ${answer.refusal.message}`);
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

/** Throws UsageError. */
function addressOf(
  key: string,
  { table, node }: CommonOptions,
): ProcessAddress & { node?: string } {
  if (table === undefined && node !== undefined)
    throw new UsageError("--node", "contradicts <process>: a recipient is where its owner is", [
      "--node with --table",
    ]);
  if (table !== undefined) return node === undefined ? { table, key } : { table, key, node };
  if (!processAddressSchema.safeParse({ recipient: key }).success)
    throw new UsageError("<process>", "is no recipient", [
      "tenant/recipient",
      "any key of a table that --table names",
    ]);
  return { recipient: key };
}

function unknownNode(node: string, all: readonly AdminNode[]): AskFailed {
  const valid = all.map(({ memberId }) => memberId);
  const message = `there is no node ${node}; there are ${valid.join(", ")}`;
  const refusal = { code: "not_found", message, field: "--node", valid };
  return { kind: "failed", refusal, status: 404 };
}

function failed({ terminal, isJson }: ProcessApi, asked: AskFailed): number {
  refuse({ terminal, isJson, command: "process" }, asked.refusal);
  return exitCodeOf(asked);
}
