// apps/cli/src/load/broadcast.ts
// Scenario `broadcast`: one notification for everybody, N of them on a socket; until the last ack.
import { Latencies, type LatencySummary } from "../clients/latencies.ts";
import { type LoadRun, spread, until } from "./load-run.ts";

export interface BroadcastOptions {
  readonly socketsCount: number;
  readonly maxMs: number;
}

export interface BroadcastResult {
  readonly scenario: "broadcast";
  readonly socketsCount: number;
  readonly ackedCount: number;
  readonly httpMs: number; // post → 202
  readonly lastAckMs: number; // accept → last ack
  readonly deliveriesPerSecond: number;
  readonly acks: LatencySummary | null; // accept → ack
  readonly finishedMs: number | null; // post → status `finished`; null: not within the limit
  readonly targetedCount: number; // everybody in the directory
}

const CONTENT = { en: { title: "Load", body: "For everybody" } };
const STATUS_EVERY_MS = 50;

export async function runBroadcast(
  run: LoadRun,
  options: BroadcastOptions,
): Promise<BroadcastResult> {
  const { clock, terminal } = run.deps;
  const counts = spread(options.socketsCount, run.targets.length);
  const ids = await Promise.all(
    counts.map((count, target) => run.register("load-broadcast", target, count)),
  );
  const latenciesOf = new Map<string, number[]>(); // by notification: acks may precede the 202
  const socketsCount = await run.connect(ids, ({ notificationId, latencyMs }) => {
    const some = latenciesOf.get(notificationId);
    if (some === undefined) latenciesOf.set(notificationId, [latencyMs]);
    else some.push(latencyMs);
  });
  terminal.progress("posting one broadcast …");
  const startedAtMs = clock.monotonicMs();
  const { id } = await run.api(0).post({ audience: { broadcast: true }, content: CONTENT });
  const httpMs = clock.monotonicMs() - startedAtMs;
  const acked = (): readonly number[] => latenciesOf.get(id) ?? [];
  await until(() => acked().length >= socketsCount, options.maxMs, clock);
  let status = await run.api(0).statusOf(id);
  while (status.state !== "finished" && clock.monotonicMs() - startedAtMs < options.maxMs) {
    // oxlint-disable-next-line no-await-in-loop -- polls
    await clock.sleep(STATUS_EVERY_MS);
    // oxlint-disable-next-line no-await-in-loop
    status = await run.api(0).statusOf(id);
  }
  const finishedMs = clock.monotonicMs() - startedAtMs;
  const latencies = new Latencies();
  let lastAckMs = 0;
  for (const latencyMs of acked()) {
    latencies.record(latencyMs);
    lastAckMs = Math.max(lastAckMs, latencyMs);
  }
  return {
    scenario: "broadcast",
    socketsCount,
    ackedCount: acked().length,
    httpMs: Math.round(httpMs),
    lastAckMs,
    deliveriesPerSecond: Math.round((acked().length * 1_000) / Math.max(1, lastAckMs)),
    acks: latencies.summary ?? null,
    finishedMs: status.state === "finished" ? Math.round(finishedMs) : null,
    targetedCount: status.counts.targeted,
  };
}
