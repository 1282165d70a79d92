// apps/cli/src/load/single.ts
// Scenario `single`: one recipient a notification at a steady rate, posted in every region for every
// region; accept → ack in the region and across regions.
//   LD2  Open loop: a slow answer does not slow the posting down. What could not be posted in time is
//        posted later, and its lateness is told.
import type { NotificationAccepted } from "@carillon/contracts";
import { Latencies, type LatencySummary } from "../clients/latencies.ts";
import { type LoadRun, spread, until } from "./load-run.ts";

export interface SingleOptions {
  readonly ratePerSecond: number;
  readonly durationMs: number;
  readonly socketsCount: number;
}

export interface SingleResult {
  readonly scenario: "single";
  readonly ratePerSecond: number;
  readonly postedCount: number;
  readonly refusedCount: number; // no 202
  readonly unackedCount: number; // accepted, no ack within 15 s after the end
  readonly latenessMaxMs: number; // of a post behind its time
  readonly http: LatencySummary | null; // post → 202
  readonly sameRegion: LatencySummary | null; // accept → ack
  readonly crossRegion: LatencySummary | null;
}

const ACK_MAX_MS = 15_000;
const POST_MAX_MS = 30_000;
const CONTENT = { en: { title: "Load", body: "One of many" } };

export async function runSingle(run: LoadRun, options: SingleOptions): Promise<SingleResult> {
  const counts = spread(options.socketsCount, run.targets.length);
  const ids = await Promise.all(
    counts.map((count, target) => run.register("load-single", target, count)),
  );
  return await new SingleLoad(run, options, ids).run();
}

class SingleLoad {
  readonly #run: LoadRun;
  readonly #options: SingleOptions;
  readonly #ids: readonly (readonly string[])[]; // by target
  readonly #http = new Latencies();
  /** By notification; an ack may be known before the 202. */
  readonly #ackMs = new Map<string, number>();
  readonly #isCross = new Map<string, boolean>(); // every accepted one
  #postedCount = 0;
  #answeredCount = 0;
  #refusedCount = 0;
  #latenessMaxMs = 0;

  constructor(run: LoadRun, options: SingleOptions, ids: readonly (readonly string[])[]) {
    this.#run = run;
    this.#options = options;
    this.#ids = ids;
  }

  async run(): Promise<SingleResult> {
    const { clock } = this.#run.deps;
    await this.#run.connect(this.#ids, ({ notificationId, latencyMs }) =>
      this.#ackMs.set(notificationId, latencyMs),
    );
    await this.#postAll();
    await until(() => this.#answeredCount === this.#postedCount, POST_MAX_MS, clock);
    const isAcked = (id: string): boolean => this.#ackMs.has(id);
    await until(() => [...this.#isCross.keys()].every(isAcked), ACK_MAX_MS, clock);
    return this.#result();
  }

  /** LD2. */
  async #postAll(): Promise<void> {
    const { clock, terminal } = this.#run.deps;
    const { ratePerSecond, durationMs } = this.#options;
    const total = Math.round((ratePerSecond * durationMs) / 1_000);
    const everyMs = 1_000 / ratePerSecond;
    const startedAtMs = clock.monotonicMs();
    let toldAtMs = 0;
    while (this.#postedCount < total) {
      const elapsedMs = clock.monotonicMs() - startedAtMs;
      const dueCount = Math.min(total, Math.floor(elapsedMs / everyMs) + 1);
      while (this.#postedCount < dueCount) {
        const latenessMs = elapsedMs - this.#postedCount * everyMs;
        this.#latenessMaxMs = Math.max(this.#latenessMaxMs, latenessMs);
        void this.#postNext(); // never rejects
      }
      if (elapsedMs - toldAtMs >= 1_000) {
        terminal.progress(`posted ${this.#postedCount} of ${total}, acked ${this.#ackMs.size}`);
        toldAtMs = elapsedMs;
      }
      // oxlint-disable-next-line no-await-in-loop -- the pace
      await clock.sleep(1);
    }
  }

  /** Every pair of regions in turn, a recipient by chance. */
  async #postNext(): Promise<void> {
    const { targets, deps } = this.#run;
    const source = this.#postedCount % targets.length;
    const home = Math.floor(this.#postedCount / targets.length) % targets.length;
    this.#postedCount++;
    const some = this.#ids[home] ?? [];
    const recipient = some[Math.floor(deps.random.next() * some.length)];
    const outcome = await this.#run.api(source).send({
      method: "POST",
      path: "/v1/notifications",
      body: JSON.stringify({ audience: { recipients: [recipient] }, content: CONTENT }),
    });
    this.#answeredCount++;
    if (outcome.kind === "failed" || outcome.status !== 202) {
      this.#refusedCount++;
      return;
    }
    this.#http.record(outcome.durationMs);
    this.#isCross.set((JSON.parse(outcome.text) as NotificationAccepted).id, source !== home);
  }

  #result(): SingleResult {
    const same = new Latencies();
    const cross = new Latencies();
    let unackedCount = 0;
    for (const [id, isCross] of this.#isCross) {
      const latencyMs = this.#ackMs.get(id);
      if (latencyMs === undefined) unackedCount++;
      else (isCross ? cross : same).record(latencyMs);
    }
    return {
      scenario: "single",
      ratePerSecond: this.#options.ratePerSecond,
      postedCount: this.#postedCount,
      refusedCount: this.#refusedCount,
      unackedCount,
      latenessMaxMs: Math.round(this.#latenessMaxMs),
      http: this.#http.summary ?? null,
      sameRegion: same.summary ?? null,
      crossRegion: cross.summary ?? null,
    };
  }
}
