// apps/cli/src/members-command.ts
// `carillon members`: who is there, as one node sees it (C12). Exit codes as in process-command.ts.
import type { AdminNode } from "@carillon/contracts";
import { Command } from "commander";
import { countText, textTable } from "./clients/text-table.ts";
import {
  addOperatorOptions,
  exitCodeOf,
  type OperatorContext,
  type OperatorOptions,
} from "./admin-api.ts";
import { apiOf } from "./process-command.ts";
import { refuse } from "./refusal.ts";

export function membersCommand(context: OperatorContext): Command {
  const command = new Command("members").description(
    "show who is there, as one node sees it: state, phi, load, partitions",
  );
  return addOperatorOptions(command, context).action(async (options: OperatorOptions) =>
    context.exit(await run(options, context)),
  );
}

/** Throws UsageError. */
async function run(options: OperatorOptions, context: OperatorContext): Promise<number> {
  const { terminal } = context;
  const answer = await apiOf(options, context).ask({ method: "GET", path: "/v1/admin/nodes" });
  if (answer.kind === "failed") {
    refuse({ terminal, isJson: options.json, command: "members" }, answer.refusal);
    return exitCodeOf(answer);
  }
  const { nodes } = answer.body as { nodes: AdminNode[] };
  terminal.line(options.json ? JSON.stringify(nodes, null, 2) : membersTable(nodes));
  return 0;
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
