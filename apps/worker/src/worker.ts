// apps/worker/src/worker.ts
// A worker node: holds leases of partitions and delivers for them (DESIGN §5 steps 3–6, §6). It is a
// supervisor; its parts restart from the one that ended on, since each trusts those before it:
//   processes  the recipients' processes, what is heard for them, the sweep of the ledger
//   flusher    writes their outcomes to the ledger
//   leases     which partitions are this node's
//   stats      gauges
//   WK1  A message for a partition is handled only while its lease is held by this node's own
//        clock; a node that slept gives everything up before it looks at a message (D4).
//   WK2  A partition is heard on its subject exactly while it is served here.
//   WK3  Drain hands partitions over: flushed, released, and said so in a beat (C20).
//   WK4  After a crash nothing in memory is trusted: the leases are given back without a flush, and
//        the next run begins at what is committed, with a higher epoch (D4).
import { createOwnership, type Ownership } from "@carillon/cluster";
import { LIMITS } from "@carillon/contracts";
import { Fault } from "@carillon/kernel";
import {
  type AnySupervisor,
  type ChildSpec,
  ownChild,
  ownClock,
  type OwnRun,
  type ProcessRuntime,
  Supervisor,
} from "@carillon/process";
import { publishStats, reasonOf } from "./worker-metrics.ts";
import { startProcesses, type WorkerProcesses } from "./worker-processes.ts";
import type { WorkerDeps, WorkerOptions } from "./worker-options.ts";

export interface Worker extends AnySupervisor {
  /** Hands all partitions over; bounded by the release limit of delivery. Safe to call twice. */
  drain(): Promise<void>;
  /** Last message to each gateway: whoever runs next under this member id goes on from there. */
  readonly lastSeqs: Readonly<Record<string, number>>;
  /** Partitions served here now. */
  readonly servedCount: number;
  /** Isolated, and others have taken its partitions: its people are served better elsewhere (C14). */
  readonly isRelieved: boolean;
  /** Of the processes that run now. */
  readonly runtime: ProcessRuntime | undefined;
}

const LEASE = { leaseMs: 10_000, refreshEveryMs: 3_000, selfStopMs: 8_000, checkEveryMs: 1_000 };
const STOP_MAX_MS = 15_000;
/** Stops without waiting; so long it may at most hold the thread. */
const PROMPT_MAX_MS = 1_000;
/** After it the leases are left to run out (10 s). */
const ABANDON_MAX_MS = 5_000;
/** A part that crashes more often is not mended by another try of its own. */
const RESTARTS = { intensity: 3, periodMs: 10_000 };

export function createWorker(options: WorkerOptions, deps: WorkerDeps): Worker {
  return new SupervisedWorker(options, deps);
}

class SupervisedWorker implements Worker {
  readonly id = "worker";
  readonly #options: WorkerOptions;
  readonly #deps: WorkerDeps;
  readonly #supervisor: Supervisor;
  #processes: { readonly run: OwnRun; readonly parts: WorkerProcesses } | undefined;
  #flusherRun: OwnRun | undefined;
  #ownership: Ownership | undefined;
  /** Last message to each gateway, over all runs: they know this node by one id (ADR 0006). */
  #lastSeqs: Readonly<Record<string, number>>;

  constructor(options: WorkerOptions, deps: WorkerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#lastSeqs = options.firstSeqs ?? {};
    this.#supervisor = new Supervisor({
      id: this.id,
      clock: deps.clock,
      strategy: "rest_for_one",
      ...RESTARTS,
      ...deps.supervision,
      children: [this.#processesChild(), this.#flusher(), this.#leases(), this.#stats()],
    });
  }

  get lastSeqs(): Readonly<Record<string, number>> {
    return this.#lastSeqs;
  }

  get servedCount(): number {
    return this.#processes?.parts.servedCount ?? 0;
  }

  get isRelieved(): boolean {
    return this.#ownership?.isRelieved() ?? false;
  }

  get runtime(): ProcessRuntime | undefined {
    return this.#processes?.parts.runtime;
  }

  readonly start: AnySupervisor["start"] = () => this.#supervisor.start();
  readonly stop: AnySupervisor["stop"] = (exit) => this.#supervisor.stop(exit);
  readonly kill: AnySupervisor["kill"] = (exit) => this.#supervisor.kill(exit);
  readonly tree: AnySupervisor["tree"] = (childrenMax) => this.#supervisor.tree(childrenMax);

  async drain(): Promise<void> {
    await this.#ownership?.drain(); // WK3
    this.#deps.membership.beatNow();
  }

  #processesChild(): ChildSpec {
    return ownChild({
      id: "processes",
      clock: this.#deps.clock,
      shutdown: PROMPT_MAX_MS,
      abandonMaxMs: PROMPT_MAX_MS,
      start: (run) => {
        const parts = startProcesses(this.#options, this.#deps, {
          run,
          firstSeqs: this.#lastSeqs,
          mayServe: () => this.#ownership?.mayServe() ?? false,
          onFenced: () => this.#ownership?.check(),
        });
        this.#processes = { run, parts };
        run.onOver(() => {
          this.#lastSeqs = parts.delivery.lastSeqs();
        });
        return {
          stop: () => parts.stop(),
          tree: () => ({ children: [], childrenCount: residentsOf(parts.runtime) }),
        };
      },
    });
  }

  #flusher(): ChildSpec {
    return ownChild({
      id: "flusher",
      clock: this.#deps.clock,
      shutdown: PROMPT_MAX_MS,
      abandonMaxMs: PROMPT_MAX_MS,
      start: (run) => {
        this.#flusherRun = run;
        const clock = ownClock(run, this.#deps.clock);
        this.#processes?.parts.delivery.flusher.runBy({ clock, onCrash: run.crashed });
        return { stop: () => undefined }; // the leases' stop has flushed
      },
    });
  }

  #leases(): ChildSpec {
    return ownChild({
      id: "leases",
      clock: this.#deps.clock,
      shutdown: this.#options.stopMaxMs ?? STOP_MAX_MS,
      abandonMaxMs: ABANDON_MAX_MS,
      start: (run) => {
        const ownership = this.#createOwnership(run);
        this.#ownership = ownership;
        this.#listen(run, ownership);
        ownership.start();
        const abandon = (): Promise<void> => this.#abandon(ownership);
        return {
          stop: async () => {
            if (!this.#isSound) return await abandon(); // WK4
            await this.drain();
            ownership.stop();
          },
          abandon,
        };
      },
    });
  }

  #stats(): ChildSpec {
    const { clock, metrics } = this.#deps;
    return ownChild({
      id: "stats",
      clock,
      shutdown: PROMPT_MAX_MS,
      abandonMaxMs: PROMPT_MAX_MS,
      start: (run) => {
        const parts = this.#processes?.parts;
        if (parts === undefined) return { stop: () => undefined };
        return {
          stop: publishStats({
            ...parts,
            metrics,
            clock: ownClock(run, clock),
            leaseAgeMs: () => this.#ownership?.leaseAgeMs() ?? 0,
          }),
        };
      },
    });
  }

  /** May what is in memory be written and handed over? */
  get #isSound(): boolean {
    return this.#processes?.run.isCurrent === true && this.#flusherRun?.isCurrent === true;
  }

  #createOwnership(run: OwnRun): Ownership {
    const { home, memberId, placement } = this.#options;
    const { store, membership, metrics, clock, log } = this.#deps;
    return createOwnership(
      {
        home,
        memberId,
        partitionCount: LIMITS.partitionCount,
        ...LEASE,
        ...(placement && { placement }),
      },
      {
        leases: store.leases,
        placeable: () => membership.placeable(),
        isIsolated: () => membership.isIsolated(),
        clock: ownClock(run, clock),
        onAcquired: (partitions) => {
          log.info("worker.acquired", { partitionCount: partitions.length });
          metrics.partitionMoves.inc({ direction: "taken" }, partitions.length);
          this.#processes?.parts.delivery.acquire(partitions);
        },
        onLost: (partitions, reason) => {
          log.warn("worker.lost", { partitionCount: partitions.length, reason });
          metrics.partitionsLost.inc({ reason }, partitions.length);
          this.#processes?.parts.delivery.lose(partitions);
        },
        onRelease: async (partitions) => {
          log.info("worker.released", { partitionCount: partitions.length });
          metrics.partitionMoves.inc({ direction: "given" }, partitions.length);
          await this.#processes?.parts.delivery.release(partitions);
        },
        onFault: (cause) => {
          if (cause instanceof Fault) log.warn("worker.fault", { reason: reasonOf(cause) });
          else run.crashed(cause);
        },
        onHandedOver: (_, afterMs) => metrics.handovers.observe(afterMs / 1_000),
      },
    );
  }

  #listen(run: OwnRun, ownership: Ownership): void {
    const { membership } = this.#deps;
    let workers = "";
    const onBeat = (): void => {
      const now = membership.workers().join();
      if (now !== workers) ownership.check();
      workers = now;
    };
    run.onOver(membership.onBeat(run.guarded(onBeat)));
    run.onOver(membership.onMemberLost(run.guarded(() => ownership.check())));
  }

  /** WK4: a store that is away keeps the leases until they run out. */
  async #abandon(ownership: Ownership): Promise<void> {
    try {
      await ownership.abandon();
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      this.#deps.log.warn("worker.leases_kept", { reason: reasonOf(cause) });
    }
  }
}

/** Not `stats()`: those begin anew with each look. */
function residentsOf(runtime: ProcessRuntime): number {
  return runtime.tables().reduce((sum, { residentCount }) => sum + residentCount, 0);
}
