// apps/cli/src/demo/demo-report.ts
// How the demonstration's numbers are shown. Pure.
import type { Counts, NotificationStatus, RegionState } from "@carillon/contracts";
import { Latencies } from "../clients/latencies.ts";
import { countText, msText, textTable } from "../clients/text-table.ts";

export interface RegionResult {
  readonly region: string; // home of the recipients
  readonly state: RegionState;
  readonly counts: Counts;
  /** Acks that came over a socket in another region. */
  readonly elsewhereCount: number;
  readonly latencies: Latencies;
}

export function progressText(status: NotificationStatus, elapsedMs: number): string {
  const { targeted, deliveredSocket, noDevice, pending } = status.counts;
  const parts = [
    `${(elapsedMs / 1_000).toFixed(1)} s`,
    `targeted ${countText(targeted)}`,
    `acked ${countText(deliveredSocket)}`,
    `no device ${countText(noDevice)}`,
    `pending ${countText(pending)}`,
  ];
  const waiting = status.regions.filter(({ state }) => state !== "finished");
  if (waiting.length > 0) parts.push(waiting.map((one) => `${one.region} ${one.state}`).join(", "));
  return parts.join(" · ");
}

const HEAD = [
  "home",
  "targeted",
  "acked on socket",
  "of these elsewhere",
  "no device",
  "p50 ms",
  "p99 ms",
];

export function demoTable(
  regions: readonly RegionResult[],
  status: NotificationStatus,
  wallTimeMs: number,
): string {
  const all = new Latencies();
  for (const { latencies } of regions) all.add(latencies);
  const elsewhereCount = regions.reduce((sum, one) => sum + one.elsewhereCount, 0);
  const total = { region: "total", counts: status.counts, elsewhereCount, latencies: all };
  const rows = [...regions, total].map(({ region, counts, latencies, elsewhereCount: away }) => [
    region,
    countText(counts.targeted),
    countText(counts.deliveredSocket),
    countText(away),
    countText(counts.noDevice),
    msText(latencies.summary?.p50Ms),
    msText(latencies.summary?.p99Ms),
  ]);
  const seconds = (wallTimeMs / 1_000).toFixed(2);
  const end =
    status.state === "finished"
      ? `everybody is accounted for ${seconds} s after the post (p50, p99: accepted → ack sent)`
      : `not finished after ${seconds} s: ${countText(status.counts.pending)} are pending`;
  return [textTable(HEAD, rows), otherOutcomes(status), end]
    .filter((part) => part !== "")
    .join("\n");
}

/** Outcomes that a good run does not have. */
function otherOutcomes({ counts }: NotificationStatus): string {
  const others = [
    ["not acked in time", counts.unacked],
    ["expired", counts.expired],
    ["failed", counts.failed],
    ["received late", counts.receivedLate],
  ] as const;
  return others
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name}: ${countText(count)}`)
    .join(", ");
}
