// apps/cli/src/agent/discover-view.ts
// What `carillon discover` has found, as text for people and as JSON.
import type { RegionView } from "./discover.ts";

const COLUMN_GAP = "  ";

/** A line per region, and one per peer below it. */
export function discoverText(views: readonly RegionView[]): string {
  return views.map((view) => [headline(view), ...peerLines(view)].join("\n")).join("\n\n");
}

function headline(view: RegionView): string {
  const { region, awsRegion, outcome, peers, isStateUsable, ageMs, agentFailing } = view;
  const name = awsRegion === undefined ? region : `${region} (${awsRegion})`;
  const count = peers.filter(({ decision }) => decision !== "skipped" && decision !== "dropped");
  const parts = [
    `${name}: ${count.length} candidates`,
    outcome.kind === "found"
      ? `answered in ${secondsText(outcome.tookMs)}, ${outcome.pagesCount} page${outcome.pagesCount === 1 ? "" : "s"}`
      : outcome.kind === "failed"
        ? `NO ANSWER: ${outcome.reason} (${outcome.detail})`
        : "not asked",
    !isStateUsable
      ? "what is on disk cannot be used: what the agent would do is unknown"
      : ageMs === null
        ? "nothing on disk"
        : `last complete answer on disk is ${secondsText(ageMs)} old`,
  ];
  if (agentFailing !== null)
    parts.push(
      `the agent's last ${agentFailing.failuresCount} polls failed: ${agentFailing.reason}` +
        ` (${agentFailing.detail})`,
    );
  return parts.join("; ");
}

function peerLines({ peers }: RegionView): string[] {
  const cells = peers.map(({ id, address, decision, reason }) => [
    id,
    address ?? "–",
    decision,
    reason,
  ]);
  const widths = [0, 1, 2].map((column) =>
    Math.max(0, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  return cells.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(COLUMN_GAP)}`.trimEnd(),
  );
}

/** 0.2 s, 42 s, 12 min, 3 h, 2 d. */
export function secondsText(ms: number): string {
  const seconds = ms / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
