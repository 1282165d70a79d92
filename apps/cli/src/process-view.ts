// apps/cli/src/process-view.ts
// Processes and supervisors as lines for people. Pure.
import { secondsText } from "./agent/discover-view.ts";
import type { AdminProcesses, AdminReply, SupervisorNode } from "@carillon/contracts";

type Tree = Extract<AdminReply, { kind: "tree" }>;
type ListedProcess = AdminProcesses["processes"][number];

const TABLES_SHOWN_MAX = 10;
const SECOND_MS = 1_000;

export function treeLines({ tree, tables, stats }: Tree): string[] {
  const lines = supervisorLines(tree, "  ");
  const busy = tables.filter((table) => weightOf(table) > 0); // the others are empty: hundreds
  const busiest = busy
    .toSorted((a, b) => weightOf(b) - weightOf(a) || (a.name < b.name ? -1 : 1))
    .slice(0, TABLES_SHOWN_MAX);
  const all = `${tables.length} tables, ${stats["residentCount"] ?? 0} processes with a state`;
  lines.push(`  processes: ${all}, ${stats["waitingCount"] ?? 0} messages wait`);
  for (const table of busiest) {
    const { name, residentCount, waitingCount, busyCount, quarantinedCount, isPaused } = table;
    const parts = [`${residentCount} resident`, `${waitingCount} waiting`, `${busyCount} busy`];
    if (quarantinedCount > 0) parts.push(`${quarantinedCount} in quarantine`);
    if (isPaused) parts.push("PAUSED");
    lines.push(`    ${name}  ${parts.join(", ")}`);
  }
  const moreCount = busy.length - busiest.length;
  if (moreCount > 0) lines.push(`    … and ${moreCount} more`);
  return lines;
}

export function supervisorLines(node: SupervisorNode, indent: string): string[] {
  const restarts = node.restartsCount === 0 ? "" : `, ${node.restartsCount} restarts`;
  const last = node.lastExit === undefined ? "" : `, last exit ${node.lastExit}`;
  const hiddenCount = node.childrenCount - node.children.length;
  return [
    `${indent}${node.id}  ${node.status}${restarts}${last}`,
    ...node.children.flatMap((child) => supervisorLines(child, `${indent}  `)),
    ...(hiddenCount > 0 ? [`${indent}  … and ${hiddenCount} more`] : []),
  ];
}

export function processTable({ processes, unreachable, isCut }: AdminProcesses): string[] {
  const header = [
    ...["NODE", "TABLE", "PROCESS", "PHASE", "WAITING", "BYTES", "RESTARTS", "CRASHES", "AGE"],
    ...["NOW/LAST", "RETRY", "LAST ERROR"],
  ];
  const rows = processes.map((one) => [
    one.node,
    one.table,
    one.key,
    one.phase,
    String(one.waitingCount),
    String(one.waitingBytes),
    String(one.restartCount),
    String(one.recentCrashCount),
    one.ageMs === null ? "" : secondsText(one.ageMs),
    one.current ?? "",
    one.retryInMs === null ? "" : `${Math.ceil(one.retryInMs / SECOND_MS)} s`,
    one.lastError ?? "",
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lineOf = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  const shown = rows.length === 0 ? ["none"] : [lineOf(header), ...rows.map(lineOf)];
  const more = isCut
    ? ["… and more, or not all were looked at: see --limit, --node and --table"]
    : [];
  return [...shown, ...more, ...unreachable.map((node) => `${node} did not answer`)];
}

export function processLines(one: ListedProcess): string[] {
  const seconds = (ms: number | null): string =>
    ms === null ? "–" : `${(ms / SECOND_MS).toFixed(1)} s`;
  return [
    `${one.key}  (table ${one.table}, slot ${one.slot}, node ${one.node})`,
    `  phase        ${one.phase}`,
    `  state        ${one.hasState ? `since ${seconds(one.ageMs)}` : "none"}`,
    `  mailbox      ${one.waitingCount} messages, ${one.waitingBytes} bytes`,
    `  timer        ${one.isTimerArmed ? "armed" : "none"}`,
    `  restarts     ${one.restartCount}, ${one.recentCrashCount} crashes lately`,
    `  last error   ${one.lastError ?? "–"}`,
    `  now / last   ${one.current ?? "–"}`,
    `  runs again   ${one.retryInMs === null ? "–" : `in ${seconds(one.retryInMs)}`}`,
  ];
}

function weightOf(table: Tree["tables"][number]): number {
  return (
    (table.isPaused ? 1e12 : 0) +
    table.quarantinedCount * 1e9 +
    table.waitingCount * 1e3 +
    table.residentCount
  );
}
