// apps/cli/src/members-command.ts
// `carillon members`: who is there, as one node sees it (C12). Exit codes as in process-command.ts.
import type { AdminNode } from "@carillon/contracts";
import { Command } from "commander";
import { countText, textTable } from "./clients/text-table.ts";
import { exitCodeOf, type OperatorContext, USAGE_EXIT_CODE, UsageError } from "./admin-api.ts";
import { apiOf } from "./process-command.ts";

interface MembersOptions {
  readonly url?: string;
  readonly data: string;
  readonly json: boolean;
}

export function membersCommand(context: OperatorContext): Command {
  return new Command("members")
    .description("show who is there, as one node sees it: state, phi, load, partitions")
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_EXIT_CODE))
    .option("--url <url>", "HTTP API of any region, with the operator key in CARILLON_OPERATOR_KEY")
    .option("--data <folder>", "without --url: of carillon dev", context.defaultDataFolder)
    .option("--json", "print JSON", false)
    .action(async (options: MembersOptions) => process.exit(await run(options, context)));
}

async function run(options: MembersOptions, context: OperatorContext): Promise<number> {
  const { terminal } = context;
  const refuse = (reason: string, exitCode: number): number => {
    terminal.line(options.json ? JSON.stringify({ error: reason }) : `carillon members: ${reason}`);
    return exitCode;
  };
  try {
    const answer = await apiOf(options, context).ask({ method: "GET", path: "/v1/admin/nodes" });
    if (answer.kind === "failed") return refuse(answer.reason, exitCodeOf(answer));
    const { nodes } = answer.body as { nodes: AdminNode[] };
    terminal.line(options.json ? JSON.stringify(nodes, null, 2) : membersTable(nodes));
    return 0;
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    return refuse(cause.message, USAGE_EXIT_CODE);
  }
}

const HEAD = [
  "MEMBER",
  "REGION",
  "ROLES",
  "STATE",
  "PHI",
  "SILENT",
  "LOAD",
  "WEIGHT",
  "OWNS",
  "BUILD",
];
const PHI_SHOWN_MAX = 99;

export function membersTable(nodes: readonly AdminNode[]): string {
  const rows = nodes.map((node) => [
    node.memberId,
    node.region,
    node.roles.join(","),
    node.state ?? (node.isDraining ? "draining" : "alive"),
    node.phi === undefined ? "–" : Math.min(PHI_SHOWN_MAX, node.phi).toFixed(1),
    node.silentMs === undefined ? "–" : `${(node.silentMs / 1_000).toFixed(1)} s`,
    node.load === undefined ? "–" : `${Math.round(node.load * 100)} %`,
    String(node.weight ?? 1),
    countText(node.ownedCount),
    node.build,
  ]);
  return textTable(HEAD, rows);
}
