// apps/cli/src/load/ingest.ts
// Scenario `ingest`: how many direct notifications per second are accepted by a fixed number of
// callers, each posting its next one after the answer; afterwards every one of them is looked at.
//   LD3  Only 202 counts, and only what ended: each accepted notification must become `finished`.
import type { NotificationAccepted, NotificationStatus } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { ApiClient } from "../clients/api-client.ts";
import { Latencies, type LatencySummary } from "../clients/latencies.ts";
import { type LoadRun, spread } from "./load-run.ts";

export interface IngestOptions {
  readonly connectionsCount: number;
  readonly durationMs: number;
  readonly recipientsCount: number;
}

export interface IngestResult {
  readonly scenario: "ingest";
  readonly connectionsCount: number;
  readonly acceptedCount: number;
  readonly refusedCount: number;
  readonly acceptedPerSecond: number;
  readonly http: LatencySummary | null;
  /** Accepted and `finished`, every recipient with one outcome; the rest is `notFinishedCount`. */
  readonly finishedCount: number;
  readonly notFinishedCount: number;
  readonly finishedAfterMs: number; // from the end of posting until the last was seen finished
}

const VERIFY_MAX_MS = 180_000;
const CONTENT = { en: { title: "Load", body: "Straight to one" } };

interface Accepted {
  readonly id: string;
  readonly target: number;
}

export async function runIngest(run: LoadRun, options: IngestOptions): Promise<IngestResult> {
  const { clock, random, terminal } = run.deps;
  const counts = spread(options.recipientsCount, run.targets.length);
  const ids = await Promise.all(
    counts.map((count, target) => run.register("load-ingest", target, count)),
  );
  const http = new Latencies();
  const accepted: Accepted[] = [];
  let refusedCount = 0;
  const startedAtMs = clock.monotonicMs();
  const endMs = startedAtMs + options.durationMs;

  const caller = async (target: number): Promise<void> => {
    const some = ids[target] ?? [];
    while (clock.monotonicMs() < endMs) {
      const recipient = some[Math.floor(random.next() * some.length)];
      const body = JSON.stringify({ audience: { recipients: [recipient] }, content: CONTENT });
      // oxlint-disable-next-line no-await-in-loop -- closed loop
      const outcome = await run
        .api(target)
        .send({ method: "POST", path: "/v1/notifications", body });
      if (outcome.kind === "answer" && outcome.status === 202) {
        http.record(outcome.durationMs);
        accepted.push({ id: (JSON.parse(outcome.text) as NotificationAccepted).id, target });
      } else refusedCount++;
    }
  };
  terminal.progress(`posting for ${options.durationMs / 1_000} s …`);
  await Promise.all(everyConnection(run, options.connectionsCount, caller));
  const postedMs = clock.monotonicMs() - startedAtMs;
  const acceptedCount = accepted.length;

  terminal.progress(`looking at ${acceptedCount} notifications …`);
  const verifyStartedAtMs = clock.monotonicMs();
  const finishedCount = await countFinished(run, accepted, options.connectionsCount);
  return {
    scenario: "ingest",
    connectionsCount: options.connectionsCount,
    acceptedCount,
    refusedCount,
    acceptedPerSecond: Math.round((acceptedCount * 1_000) / postedMs),
    http: http.summary ?? null,
    finishedCount,
    notFinishedCount: acceptedCount - finishedCount,
    finishedAfterMs: Math.round(clock.monotonicMs() - verifyStartedAtMs),
  };
}

/** LD3. Bounded: those that are not seen finished within the limit are not counted. */
async function countFinished(
  run: LoadRun,
  accepted: Accepted[],
  connectionsCount: number,
): Promise<number> {
  const { clock } = run.deps;
  const endMs = clock.monotonicMs() + VERIFY_MAX_MS;
  const left = Map.groupBy(accepted, ({ target }) => target);
  let finishedCount = 0;
  const looker = async (target: number): Promise<void> => {
    const queue = left.get(target) ?? [];
    for (let one = queue.pop(); one !== undefined; one = queue.pop())
      // oxlint-disable-next-line no-await-in-loop -- closed loop
      if (await becomesFinished(run.api(target), one.id, endMs, clock)) finishedCount++;
  };
  await Promise.all(everyConnection(run, connectionsCount, looker));
  return finishedCount;
}

async function becomesFinished(
  api: ApiClient,
  id: string,
  endMs: number,
  clock: Clock,
): Promise<boolean> {
  while (clock.monotonicMs() < endMs) {
    // oxlint-disable-next-line no-await-in-loop -- polls
    const outcome = await api.send({ method: "GET", path: `/v1/notifications/${id}` });
    if (outcome.kind === "answer" && outcome.status === 200) {
      const { state, counts } = JSON.parse(outcome.text) as NotificationStatus;
      if (state === "finished") return counts.targeted === 1 && counts.pending === 0;
    }
    // oxlint-disable-next-line no-await-in-loop
    await clock.sleep(100);
  }
  return false;
}

function everyConnection(
  run: LoadRun,
  connectionsCount: number,
  work: (target: number) => Promise<void>,
): Promise<void>[] {
  return Array.from({ length: connectionsCount }, (_, n) => work(n % run.targets.length));
}
