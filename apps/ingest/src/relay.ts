// apps/ingest/src/relay.ts
// All links to other regions under their supervisor (DESIGN §5.2).
//   IN33 A link that crashes is made anew alone; meanwhile its rows are left in Postgres.
import { type Bus, ownBus } from "@carillon/bus";
import { backoffDelayMs, type Clock, createUuidV7, type Random } from "@carillon/kernel";
import {
  type AnySupervisor,
  type ChildSpec,
  type Exit,
  ownChild,
  ownClock,
  type OwnRun,
  Supervisor,
  type SupervisorOptions,
} from "@carillon/process";
import { type RelayLimits, RelayLink } from "./relay-link.ts";
import { relayOutboxOf, type RelayWay, type StoredOutbox } from "./relay-outbox.ts";
import type { RelayEntry, RelayOutcome } from "./relay-sender.ts";

export interface Relay {
  offer(target: string, entries: readonly RelayEntry[], way: RelayWay): void;
  /** Rows that are due at once were committed, or the connection is back. */
  sweepSoon(): void;
  stateOf(target: string): RelayWay | undefined;
  readonly queuedCount: number;
  /** Of its links, one child for each target; a new one for each start. */
  createSupervisor(onExit: (exit: Exit) => void): AnySupervisor;
}

export interface RelayOptions {
  readonly region: string;
  readonly regions: readonly string[];
  readonly limits: RelayLimits;
  readonly onOutcome: (outcome: RelayOutcome, itemCount: number) => void;
  readonly onFault: (operation: string, cause: unknown) => void;
  readonly onState: (target: string, state: RelayWay) => void;
  readonly supervision?: Pick<SupervisorOptions, "onReport" | "restartDelayMs">;
}

export interface RelayDeps {
  readonly store: { readonly outbox: StoredOutbox };
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
}

const REST_JITTER_SHARE = 0.5;
/** Links rest between two runs: with at most one restart in 1.5 s each they never reach it. */
const RESTARTS_PER_LINK = { intensity: 8, periodMs: 10_000 };
const STOP_MARGIN_MS = 1_000;

export function createRelay(options: RelayOptions, deps: RelayDeps): Relay {
  return new SupervisedRelay(options, deps);
}

class SupervisedRelay implements Relay {
  readonly #options: RelayOptions;
  readonly #deps: RelayDeps;
  readonly #targets: readonly string[];
  /** Those that run. */
  readonly #links = new Map<string, { readonly link: RelayLink; readonly run: OwnRun }>();
  readonly #begun = new Set<string>(); // targets
  /** This node, as the outbox knows it; its links may be many, one after the other. */
  readonly #holder: string;

  constructor(options: RelayOptions, deps: RelayDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#holder = createUuidV7(deps.clock, deps.random);
    this.#targets = options.regions.filter((region) => region !== options.region);
  }

  /** Without a link the rows are left to the next one, which begins with what is in Postgres. */
  offer(target: string, entries: readonly RelayEntry[], way: RelayWay): void {
    const running = this.#links.get(target);
    if (running !== undefined) running.run.guarded(() => running.link.offer(entries, way))();
    else if (this.#targets.includes(target)) this.#options.onOutcome("left_behind", entries.length);
  }

  sweepSoon(): void {
    for (const { link, run } of this.#links.values()) run.guarded(() => link.sweepSoon())();
  }

  stateOf(target: string): RelayWay | undefined {
    if (!this.#targets.includes(target)) return undefined;
    return this.#links.get(target)?.link.state ?? "backlog";
  }

  get queuedCount(): number {
    return [...this.#links.values()].reduce((sum, { link }) => sum + link.queuedCount, 0);
  }

  createSupervisor(onExit: (exit: Exit) => void): AnySupervisor {
    const { intensity, periodMs } = RESTARTS_PER_LINK;
    const supervisor = new Supervisor({
      id: "relay",
      clock: this.#deps.clock,
      intensity: intensity * this.#targets.length,
      periodMs,
      onExit,
      ...this.#options.supervision,
      children: this.#targets.map((target) => this.#link(target)),
    });
    return {
      id: supervisor.id,
      start: () => supervisor.start(),
      kill: (exit) => supervisor.kill(exit),
      tree: (childrenMax) => supervisor.tree(childrenMax),
      stop: (exit) => {
        // All at once: each may have to wait for the answer of a region that is silent.
        for (const { link } of this.#links.values()) void link.stop();
        return supervisor.stop(exit);
      },
    };
  }

  #link(target: string): ChildSpec {
    const { clock } = this.#deps;
    const { limits, onState } = this.#options;
    const endMaxMs = limits.requestTimeoutMs + STOP_MARGIN_MS; // a batch may be under way (IN9)
    return ownChild({
      id: target,
      clock,
      shutdown: endMaxMs,
      abandonMaxMs: endMaxMs,
      start: (run) => {
        const isFirst = !this.#begun.has(target);
        this.#begun.add(target);
        const link = this.#createLink(target, isFirst ? 0 : this.#restMs(), run);
        this.#links.set(target, { link, run });
        run.onOver(() => void this.#links.delete(target));
        ownBus(run, this.#deps.bus).onConnection((isConnected) => {
          if (isConnected) link.sweepSoon();
        });
        if (!isFirst) onState(target, "backlog");
        link.start();
        return { stop: () => link.stop() };
      },
    });
  }

  #createLink(target: string, restMs: number, run: OwnRun): RelayLink {
    const { region: from, limits, onOutcome, onFault, onState } = this.#options;
    const { bus, clock, random, store } = this.#deps;
    return new RelayLink(
      {
        from,
        target,
        limits,
        restMs,
        outbox: relayOutboxOf(store.outbox, target, this.#holder),
        onOutcome,
        onFault,
        onState,
        onCrash: run.crashed,
      },
      { bus, clock: ownClock(run, clock), random },
    );
  }

  /** As long as between two tries of a region that does not answer. */
  #restMs(): number {
    const { retryMaxMs: maxMs } = this.#options.limits;
    const delay = { baseMs: maxMs, factor: 1, maxMs, jitterShare: REST_JITTER_SHARE };
    return backoffDelayMs(delay, 1, this.#deps.random);
  }
}
