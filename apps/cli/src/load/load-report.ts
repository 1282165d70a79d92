// apps/cli/src/load/load-report.ts
// How a scenario's result is shown. Pure.
import { assertNever } from "@carillon/kernel";
import type { LatencySummary } from "../clients/latencies.ts";
import { countText, msText, textTable } from "../clients/text-table.ts";
import type { BroadcastResult } from "./broadcast.ts";
import type { IngestResult } from "./ingest.ts";
import type { SingleResult } from "./single.ts";

export type LoadResult = SingleResult | BroadcastResult | IngestResult;

export function loadReport(result: LoadResult): string {
  switch (result.scenario) {
    case "single":
      return singleReport(result);
    case "broadcast":
      return broadcastReport(result);
    case "ingest":
      return ingestReport(result);
    default:
      return assertNever(result);
  }
}

function singleReport(result: SingleResult): string {
  const { postedCount, refusedCount, unackedCount, ratePerSecond, latenessMaxMs } = result;
  return [
    `single: ${countText(postedCount)} notifications at ${ratePerSecond}/s, each for one recipient`,
    latencyTable([
      ["accept → ack, same region", result.sameRegion],
      ["accept → ack, across regions", result.crossRegion],
      ["post → 202", result.http],
    ]),
    `not accepted: ${refusedCount}, accepted and not acked: ${unackedCount}, ` +
      `posted at most ${latenessMaxMs} ms late`,
  ].join("\n");
}

function broadcastReport(result: BroadcastResult): string {
  const finished =
    result.finishedMs === null ? "not finished" : `finished ${countText(result.finishedMs)} ms`;
  return [
    `broadcast: ${countText(result.targetedCount)} recipients, ` +
      `${countText(result.socketsCount)} of them on a socket of this run`,
    latencyTable([["accept → ack", result.acks]]),
    `acked ${countText(result.ackedCount)} in ${countText(result.lastAckMs)} ms: ` +
      `${countText(result.deliveriesPerSecond)} deliveries/s; 202 after ${result.httpMs} ms; ` +
      `${finished} after the post`,
  ].join("\n");
}

function ingestReport(result: IngestResult): string {
  return [
    `ingest: ${countText(result.acceptedCount)} direct notifications over ` +
      `${result.connectionsCount} connections: ${countText(result.acceptedPerSecond)}/s`,
    latencyTable([["post → 202", result.http]]),
    `not accepted: ${result.refusedCount}; finished: ${countText(result.finishedCount)}, ` +
      `not finished: ${result.notFinishedCount} ` +
      `(all looked at within ${countText(result.finishedAfterMs)} ms)`,
  ].join("\n");
}

function latencyTable(rows: readonly (readonly [string, LatencySummary | null])[]): string {
  return textTable(
    ["ms", "count", "p50", "p90", "p99", "max"],
    rows.map(([name, summary]) => [
      name,
      countText(summary?.count ?? 0),
      msText(summary?.p50Ms),
      msText(summary?.p90Ms),
      msText(summary?.p99Ms),
      msText(summary?.maxMs),
    ]),
  );
}

/** Whether it did what it should: what `carillon load` exits with. */
export function isGood(result: LoadResult): boolean {
  switch (result.scenario) {
    case "single":
      return result.refusedCount === 0 && result.unackedCount === 0;
    case "broadcast":
      return result.ackedCount === result.socketsCount && result.finishedMs !== null;
    case "ingest":
      return result.notFinishedCount === 0 && result.acceptedCount > 0;
    default:
      return assertNever(result);
  }
}
