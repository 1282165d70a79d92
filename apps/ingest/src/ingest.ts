// apps/ingest/src/ingest.ts
// Everything of an ingest node under its supervisor, one for one:
//   relay   the links to other regions, a supervisor of its own
//   intake  requests of other regions
//   http    the API, with what waits for a group commit
//   retention  sweeps what is over its time, where a policy is configured
// Store, bus and cluster are the caller's; they outlive it.
// The relay, the intake and the retention run only while the home is served here (IN35).
//   IN34 A part that crashes is made anew alone, on the port it had; the others serve on.
import { ownBus } from "@carillon/bus";
import {
  type AnySupervisor,
  type ChildSpec,
  ownChild,
  ownClock,
  Supervisor,
  supervisorChild,
  type TreeNode,
} from "@carillon/process";
import { type HttpParts, type IngestHttp, startHttp } from "./ingest-http.ts";
import { ALWAYS_SERVING, type HomeGate } from "./home-gate.ts";
import type { IngestDeps } from "./ingest-options.ts";
import { createServices } from "./ingest-services.ts";
import { createIntake, type Intake } from "./intake.ts";
import { INGEST_LIMITS, type IngestLimits } from "./limits.ts";
import { createPoker } from "./poke.ts";
import { serveRegion } from "./region-services.ts";
import { createRelay } from "./relay.ts";
import { startRetention } from "./retention.ts";
import { createTokens } from "./tokens.ts";

/** Numbers for gauges. */
export interface IngestLoad {
  readonly acceptWaitingCount: number;
  readonly relayQueuedCount: number;
  readonly intakeWaitingCount: number;
}

/** An ingest node as the child of a supervisor. */
export interface IngestSupervisor extends AnySupervisor {
  /** Of the HTTP API, once that has started; it stays the same. */
  readonly port: number | undefined;
  /** Refuses new writes, finishes what was accepted. Safe to call twice. */
  drain(): Promise<void>;
  readonly load: IngestLoad;
}

/** An ingest node by itself. */
export interface Ingest {
  /** Rejects when the port is taken. Safe to call twice. */
  start(): Promise<{ port: number }>;
  /** Refuses new writes, finishes what was accepted. Safe to call twice. */
  drain(): Promise<void>;
  /** Drains, then closes every connection, by force after `drainMaxMs`. Safe to call twice. */
  stop(): Promise<void>;
  tree(): TreeNode;
  readonly load: IngestLoad;
}

/** A part that crashes more often is not mended by another try of its own. */
const RESTARTS = { intensity: 3, periodMs: 10_000 };
const ABANDON_MAX_MS = 5_000;
const STOP_MARGIN_MS = 1_000;

/** Rejects when the token key cannot be used. */
export async function createIngest(deps: IngestDeps): Promise<Ingest> {
  await createTokens(deps.config.tokenKeys, deps.clock);
  const supervisor = createIngestSupervisor(deps);
  const start = async (): Promise<{ port: number }> => {
    const answer = await supervisor.start();
    if (answer.kind === "start_failed") throw answer.error;
    if (supervisor.port === undefined) throw new Error(`ingest did not start: ${answer.kind}`);
    return { port: supervisor.port };
  };
  let started: Promise<{ port: number }> | undefined;
  return {
    start: () => (started ??= start()),
    drain: () => supervisor.drain(),
    stop: async () => void (await supervisor.stop()),
    tree: () => supervisor.tree(),
    get load() {
      return supervisor.load;
    },
  };
}

export function createIngestSupervisor(deps: IngestDeps): IngestSupervisor {
  return new SupervisedIngest(deps);
}

class SupervisedIngest implements IngestSupervisor {
  readonly id = "ingest";
  readonly #parts: HttpParts;
  readonly #limits: IngestLimits;
  readonly #home: HomeGate;
  readonly #supervisor: Supervisor;
  #http: IngestHttp | undefined;
  #intake: Intake | undefined;
  #unfollow: (() => void) | undefined;

  constructor(deps: IngestDeps) {
    const { config, bus, events, clock, supervision } = deps;
    const { region, regions } = config;
    this.#limits = config.limits ?? INGEST_LIMITS;
    this.#home = deps.home ?? ALWAYS_SERVING;
    const { onExit: _ownExit, ...forRelay } = supervision ?? {};
    const relay = createRelay(
      {
        region,
        regions,
        limits: this.#limits.relay,
        onOutcome: events.relayed,
        onState: events.linkChanged,
        onFault: events.failed,
        supervision: forRelay,
      },
      deps,
    );
    const poker = createPoker({ home: region, bus, owners: deps.owners, onPoke: events.poked });
    this.#parts = { ...deps, relay, poker };
    this.#supervisor = new Supervisor({
      id: this.id,
      clock,
      ...RESTARTS,
      ...supervision,
      children: [
        this.#whileServing(
          supervisorChild({ id: "relay", create: (onExit) => relay.createSupervisor(onExit) }),
        ),
        this.#whileServing(this.#intakeChild()),
        this.#httpChild(),
        ...this.#retentionChildren(),
      ],
    });
  }

  get port(): number | undefined {
    return this.#http?.port;
  }

  get load(): IngestLoad {
    return {
      acceptWaitingCount: this.#http?.acceptWaitingCount ?? 0,
      relayQueuedCount: this.#parts.relay.queuedCount,
      intakeWaitingCount: this.#intake?.waitingCount ?? 0,
    };
  }

  readonly start: AnySupervisor["start"] = () => {
    this.#unfollow ??= this.#home.onChange(() => this.#follow());
    return this.#supervisor.start();
  };
  readonly stop: AnySupervisor["stop"] = (exit) => {
    this.#unfollow?.();
    return this.#supervisor.stop(exit);
  };
  readonly kill: AnySupervisor["kill"] = (exit) => {
    this.#unfollow?.();
    this.#supervisor.kill(exit);
  };
  readonly tree: AnySupervisor["tree"] = (childrenMax) => this.#supervisor.tree(childrenMax);

  async drain(): Promise<void> {
    await Promise.all([this.#http?.drain(), this.#intake?.drain()]);
  }

  /** IN35. A child that is not needed now is no failure. */
  #whileServing(spec: ChildSpec): ChildSpec {
    return {
      ...spec,
      start: (context) => (this.#home.standing === "serving" ? spec.start(context) : "ignore"),
    };
  }

  #follow(): void {
    const isServing = this.#home.standing === "serving";
    for (const id of isServing ? this.#servingIds : this.#servingIds.toReversed())
      void (isServing ? this.#supervisor.restartChild(id) : this.#supervisor.terminateChild(id));
  }

  get #servingIds(): string[] {
    const isSweeping = this.#parts.config.retention !== undefined;
    return ["relay", "intake", ...(isSweeping ? ["retention"] : [])];
  }

  #retentionChildren(): ChildSpec[] {
    const { clock, random, config, events, store } = this.#parts;
    const { retention: policy } = config;
    if (policy === undefined) return [];
    const child = ownChild({
      id: "retention",
      clock,
      shutdown: this.#limits.drainMaxMs,
      abandonMaxMs: ABANDON_MAX_MS,
      start: (run) =>
        startRetention({
          store,
          policy,
          clock: ownClock(run, clock),
          random,
          onSwept: events.swept,
          onFault: events.failed,
          onCrash: run.crashed,
        }),
    });
    return [this.#whileServing(child)];
  }

  #intakeChild(): ChildSpec {
    const { clock, config, events, store, poker } = this.#parts;
    return ownChild({
      id: "intake",
      clock,
      shutdown: this.#limits.drainMaxMs,
      abandonMaxMs: ABANDON_MAX_MS,
      start: (run) => {
        const bus = ownBus(run, this.#parts.bus);
        const intake = createIntake(bus, {
          runningMax: this.#limits.intakeRunningMax,
          queueMax: this.#limits.intakeQueueMax,
          onMalformed: (subject) => events.refused(subject, "malformed"),
          onOverloaded: (subject) => events.refused(subject, "overloaded"),
          onFailure: events.failed,
          onCrash: run.crashed,
        });
        const services = createServices({ ...this.#parts, bus, clock: ownClock(run, clock) });
        const { region } = config;
        const withholds = (tenantId: string): boolean => this.#home.withholds(tenantId);
        serveRegion({ region, intake, store, poker, withholds, ...services, onOddity: events.odd });
        this.#intake = intake;
        // What it had taken is answered all the same; its subscriptions are gone with the run.
        return { stop: () => intake.drain(), abandon: () => undefined };
      },
    });
  }

  #httpChild(): ChildSpec {
    const { clock, config } = this.#parts;
    return ownChild({
      id: "http",
      clock,
      shutdown: this.#limits.drainMaxMs + STOP_MARGIN_MS,
      abandonMaxMs: ABANDON_MAX_MS,
      start: async (run) => {
        const { startApi = startHttp } = this.#parts;
        const http = await startApi(this.#parts, { run, port: this.port ?? config.port });
        this.#http = http;
        return http;
      },
    });
  }
}
