// apps/cli/src/region-node.ts
// One process of one region with the roles it is given: the unit of production and of `carillon dev`.
// Its parts are children of a supervisor, drawn in docs/architecture.md ("Supervision").
//   RN2  Start: store (where a role needs it) → bus → home → membership → roles: gateway, worker, ingest.
//        Stop in reverse, each step bounded (S43): no new writes, then turns finish, are flushed and the
//        partitions handed over, then sockets are told to go elsewhere, then NATS and the database.
//        Until its last socket has gone the gateway follows its sessions to their new owners.
//   RN3  `stop` is safe at any moment and twice; what was not started is not stopped.
//   RN9  A part that crashes is started again, and with it what stands on it, and nothing else. What
//        a second try within the time does not mend ends the node: whoever runs it starts another.
//   RN13 The tree is the one that docs/architecture.md draws.
import { BugError, Fault } from "@carillon/kernel";
import { exitText, type ProcessRuntime, type StartAnswer, Supervisor } from "@carillon/process";
import type { TreeNode } from "@carillon/process";
import type { NodeReady } from "./node-messages.ts";
import type { NodePhase } from "./node-metrics.ts";
import { supervisorObserver } from "./node-telemetry.ts";
import { Foundation, foundationChildren, type RegionNodeDeps } from "./region-node-parts.ts";
import { Roles, type Supervision } from "./region-node-roles.ts";

export { newMemberId, type RegionNodeDeps } from "./region-node-parts.ts";

export interface RegionNode {
  /** Throws Fault or Error for what does not start; what had started has been stopped by then. */
  start(): Promise<NodeReady>;
  /** RN2, RN3. Never rejects. */
  stop(): Promise<void>;
  /** What runs in it, restarts and last exits included. */
  tree(): TreeNode;
  /** Of the processes that run now, for inspection. */
  runtimes(): readonly ProcessRuntime[];
  /**
   * Resolves with the reason when too many parts have crashed (RN9), never after `stop`. Its parts
   * are being stopped then: `stop` waits for them.
   */
  readonly gaveUp: Promise<string>;
}

/** Of the node's own children. The roles have their own tries before. */
const RESTARTS = { intensity: 1, periodMs: 120_000 };
const RESTART_DELAY_MS = 100;
const RESTART_DELAY_MAX_MS = 5_000;

export function createRegionNode(deps: RegionNodeDeps): RegionNode {
  return new SupervisedNode(deps);
}

class SupervisedNode implements RegionNode {
  readonly #deps: RegionNodeDeps;
  readonly #foundation = new Foundation();
  readonly #roles: Roles;
  readonly #supervisor: Supervisor;
  readonly #gaveUp = Promise.withResolvers<string>();
  #hasStarted = false;
  #starting: Promise<NodeReady> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(deps: RegionNodeDeps) {
    this.#deps = deps;
    const { clock, log, metrics } = deps;
    const observe = supervisorObserver({ log: log.child("supervisor"), metrics });
    const supervision: Supervision = {
      onReport: observe,
      restartDelayMs: (failedAttempts) =>
        Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MS * 2 ** failedAttempts),
    };
    const foundation = this.#foundation;
    this.#roles = new Roles(deps, {
      foundation,
      supervision,
      tree: () => this.tree(),
      phase: () => this.#phase(),
    });
    this.#supervisor = new Supervisor({
      id: "node",
      clock,
      strategy: "rest_for_one",
      ...RESTARTS,
      ...supervision,
      onReport: (report) => {
        observe(report);
        if (report.kind === "escalated") this.#giveUp(`too many restarts of ${report.id}`);
      },
      onExit: (exit) => this.#giveUp(exitText(exit)),
      children: [...foundationChildren(deps, this.#foundation), this.#roles.child()],
    });
  }

  get gaveUp(): Promise<string> {
    return this.#gaveUp.promise;
  }

  start(): Promise<NodeReady> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  tree(): TreeNode {
    return this.#supervisor.tree();
  }

  runtimes(): readonly ProcessRuntime[] {
    return this.#roles.runtimes();
  }

  async #start(): Promise<NodeReady> {
    const answer = await this.#supervisor.start();
    if (answer.kind !== "started") throw startErrorOf(answer);
    this.#hasStarted = true;
    const { memberId } = this.#foundation.incarnation;
    return { kind: "ready", memberId, ...this.#roles.ports };
  }

  /** A start under way is waited for, and after that interrupted (RN3). */
  async #stop(): Promise<void> {
    const { clock, config, log } = this.#deps;
    const maxMs = config.CARILLON_NODE_STOP_MAX_MS;
    const late = Promise.withResolvers<void>();
    const timer = clock.setTimer(maxMs, () => {
      log.warn("node.stop_late", { step: "start", maxMs });
      late.resolve();
    });
    await Promise.race([this.#starting?.then(ignore, ignore), late.promise]);
    timer.cancel();
    await this.#supervisor.stop();
  }

  #phase(): NodePhase {
    if (this.#stopping !== undefined) return "stopping";
    return this.#hasStarted ? "ready" : "starting";
  }

  #giveUp(reason: string): void {
    if (this.#stopping === undefined) this.#gaveUp.resolve(reason);
  }
}

/** What the part threw, from below all supervisors in between. */
function startErrorOf(answer: Exclude<StartAnswer, { kind: "started" }>): unknown {
  if (answer.kind === "stopped")
    return new Fault("the node was stopped", { code: "stopped", isRetryable: false });
  if (answer.kind === "rejected") {
    const problems = answer.problems.map(({ childId, field, problem }) => ({
      where: `${childId ?? "node"}.${field}`,
      problem,
    }));
    return new BugError(`RN2 wrong specs: ${JSON.stringify(problems)}`);
  }
  let { error } = answer;
  while (error instanceof Fault && error.code === "supervisor_start_failed") error = error.cause;
  return error;
}

/** A start that fails is told to whoever asked for it. */
function ignore(): void {}
