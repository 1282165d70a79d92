// apps/cli/src/dev/dev-servers.ts
// The processes of a local cluster, their ports and the order of their start and end.
// Invariants DV10 and DV11: dev-cluster.ts.
import type { EventEmitter } from "node:events";
import { join } from "node:path";
import { freePort, freePorts, type NatsServer, type PostgresServer } from "@carillon/local";
import { startNatsServer, startPostgres } from "@carillon/local";
import { assert, type Clock, type Random } from "@carillon/kernel";
import { type Role, ROLES } from "@carillon/contracts";
import type { DataFolder } from "./data-folder.ts";
import { seedDatabase } from "./dev-database.ts";
import type { DevComponent, DevEvents } from "./dev-events.ts";
import { type NatsPlan, natsConfOf } from "./dev-nats.ts";
import type { DevSecrets } from "./dev-secrets.ts";
import { Kept, type KeptProcess, type ProcessExit } from "./kept.ts";
import { nodeEnv } from "./node-env.ts";
import { type RegionProcess, startRegionProcess } from "./region-process.ts";

export interface RegionPlan extends NatsPlan {
  readonly ingestPort: number;
  readonly gatewayPort: number;
}

export interface DevServersOptions {
  readonly regions: readonly string[];
  readonly isDurable: boolean;
  readonly nodeOptions: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
  readonly folder: DataFolder;
  readonly secrets: DevSecrets;
  readonly events: EventEmitter<DevEvents>;
}

export interface ExtraWorker {
  readonly memberId: string;
  readonly gatewayPort: number | null; // null without that role
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  kill(signal: NodeJS.Signals): void;
  /** Hands its partitions over, then ends. */
  stop(): Promise<unknown>;
}

interface Deps {
  readonly clock: Clock;
  readonly random: Random;
}

const PORTS_PER_REGION = 5;

export class DevServers {
  readonly plans: readonly RegionPlan[];
  readonly postgres: Kept<PostgresServer>;
  readonly #options: DevServersOptions;
  readonly #deps: Deps;
  readonly #nats: ReadonlyMap<string, Kept<NatsServer>>;
  readonly #nodes: ReadonlyMap<string, Kept<RegionProcess>>;
  readonly #extraWorkers = new Set<RegionProcess>();
  #urlOf: ((database: string) => string) | undefined;
  #lastWorker = 0;

  private constructor(
    options: DevServersOptions,
    deps: Deps,
    ports: { readonly plans: readonly RegionPlan[]; readonly postgresPort: number },
  ) {
    this.#options = options;
    this.#deps = deps;
    this.plans = ports.plans;
    this.postgres = this.#keep("postgres", null, () => this.#startPostgres(ports.postgresPort));
    this.#nats = new Map(
      this.plans.map((plan) => [
        plan.region,
        this.#keep("nats", plan.region, () => this.#startNats(plan)),
      ]),
    );
    this.#nodes = new Map(
      this.plans.map((plan) => [
        plan.region,
        this.#keep("node", plan.region, () => this.#startNode(plan)),
      ]),
    );
  }

  /** Chooses the ports, which stay the same over restarts of a part; starts nothing. */
  static async plan(options: DevServersOptions, deps: Deps): Promise<DevServers> {
    const postgresPort = await freePort();
    const ports = await freePorts(options.regions.length * PORTS_PER_REGION);
    const plans = options.regions.map((region, index): RegionPlan => {
      const portAt = (n: number): number => ports[index * PORTS_PER_REGION + n] ?? 0;
      return {
        region,
        natsPort: portAt(0),
        natsClusterPort: portAt(1),
        natsGatewayPort: portAt(2),
        ingestPort: portAt(3),
        gatewayPort: portAt(4),
      };
    });
    return new DevServers(options, deps, { plans, postgresPort });
  }

  /** Rejects with what failed, or the signal's reason between two steps; then call `stop`. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    const { log, regions } = this.#options;
    await all([this.postgres.start(), ...this.#each(this.#nats, (nats) => nats.start())]);
    signal?.throwIfAborted();
    log(`Postgres and ${regions.length} nats-servers run`);
    await all(
      regions.map((region) => seedDatabase(region, this.storeUrl(region), this.#options.secrets)),
    );
    signal?.throwIfAborted();
    await all(this.#each(this.#nodes, (node) => node.start()));
    signal?.throwIfAborted();
  }

  /** In order, each step bounded; safe at any moment, also while `start` runs. */
  async stop(): Promise<void> {
    const workers = [...this.#extraWorkers].map((worker) => worker.stop());
    await all([...workers, ...this.#each(this.#nodes, (node) => node.stop())]);
    await all(this.#each(this.#nats, (nats) => nats.stop()));
    await this.postgres.stop();
  }

  node(region: string): Kept<RegionProcess> {
    return found(this.#nodes, region);
  }

  nats(region: string): Kept<NatsServer> {
    return found(this.#nats, region);
  }

  storeUrl(region: string): string {
    assert(this.#urlOf, "DV9 Postgres has run");
    return this.#urlOf(region);
  }

  natsUrl(region: string): string {
    const plan = this.plans.find((one) => one.region === region);
    assert(plan, `no region ${region}`);
    return `nats://127.0.0.1:${plan.natsPort}`;
  }

  async addWorker(
    region: string,
    more: Readonly<Record<string, string>>,
    roles: readonly Role[],
  ): Promise<ExtraWorker> {
    const worker = await this.#startProcess(`worker-${region}-${++this.#lastWorker}`, {
      region,
      roles,
      ingestPort: 0,
      gatewayPort: 0,
      more,
    });
    this.#extraWorkers.add(worker);
    void this.#forgetAtExit(worker, region);
    return {
      memberId: worker.ready.memberId,
      gatewayPort: worker.ready.gatewayPort,
      pid: worker.pid,
      exited: worker.exited,
      kill: (signal) => worker.kill(signal),
      stop: () => worker.stop(),
    };
  }

  async #forgetAtExit(worker: RegionProcess, region: string): Promise<void> {
    const exit = await worker.exited;
    this.#extraWorkers.delete(worker);
    const component = "worker";
    this.#options.events.emit("exit", { component, region, ...exit, isRestarting: false });
  }

  get secrets(): DevSecrets {
    return this.#options.secrets;
  }

  get pids(): readonly number[] {
    const kept = [this.postgres, ...this.#nats.values(), ...this.#nodes.values()];
    const running = [...kept.map((one) => one.running), ...this.#extraWorkers];
    return running.flatMap((process) => process?.pid ?? []);
  }

  async #startPostgres(port: number): Promise<PostgresServer> {
    const { folder, regions, isDurable } = this.#options;
    const server = await startPostgres({
      folder: folder.postgres,
      databases: regions,
      port,
      isDurable,
    });
    this.#urlOf = (database) => server.urlOf(database);
    return server;
  }

  #startNats(plan: RegionPlan): Promise<NatsServer> {
    const folder = this.#options.folder.nats;
    const configText = natsConfOf(plan, this.plans, {
      keys: this.#options.secrets.nats,
      pidFile: join(folder, `${plan.region}.pid`),
    });
    return startNatsServer({ folder, name: plan.region, configText });
  }

  #startNode(plan: RegionPlan): Promise<RegionProcess> {
    return this.#startProcess(`node-${plan.region}`, { ...plan, roles: ROLES });
  }

  #startProcess(
    name: string,
    options: Pick<RegionPlan, "region" | "ingestPort" | "gatewayPort"> & {
      readonly roles: Parameters<typeof nodeEnv>[0]["roles"];
      readonly more?: Readonly<Record<string, string>>;
    },
  ): Promise<RegionProcess> {
    const { folder, regions, secrets, nodeOptions } = this.#options;
    const more = { ...nodeOptions, ...options.more };
    const { region } = options;
    const natsUrl = this.natsUrl(region);
    const storeUrl = this.storeUrl(region);
    const env = nodeEnv({ ...options, regions, secrets, natsUrl, storeUrl, more });
    return startRegionProcess({ folder: folder.nodes, name, env }, this.#deps.clock);
  }

  #keep<P extends KeptProcess>(
    component: DevComponent,
    region: string | null,
    start: () => Promise<P>,
  ): Kept<P> {
    const { log, events } = this.#options;
    const name = component === "postgres" ? "Postgres" : `${component} ${region}`;
    let ended = "";
    return new Kept<P>(
      {
        start,
        onExit(exit, isRestarting) {
          ended = exitText(exit);
          events.emit("exit", {
            component,
            region,
            code: exit.code,
            signal: exit.signal,
            isRestarting,
          });
        },
        onRestarted({ pid }) {
          log(`${name} ended (${ended}) and runs again as process ${pid}`);
          events.emit("restarted", { component, region, pid });
        },
        onFault: (cause) =>
          log(`${name} ended (${ended}) and cannot be started, trying again: ${firstLine(cause)}`),
      },
      this.#deps,
    );
  }

  #each<P extends KeptProcess>(
    kept: ReadonlyMap<string, Kept<P>>,
    run: (one: Kept<P>) => Promise<void>,
  ): Promise<void>[] {
    return [...kept.values()].map(run);
  }
}

/** Waits for all of them, so that nothing is still starting when the first failure is told. */
async function all(steps: readonly Promise<unknown>[]): Promise<void> {
  const outcomes = await Promise.allSettled(steps);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}

function found<T>(map: ReadonlyMap<string, T>, region: string): T {
  const value = map.get(region);
  assert(value, `no region ${region}`);
  return value;
}

function exitText({ code, signal }: ProcessExit): string {
  return signal ?? `exit code ${code}`;
}

function firstLine(cause: unknown): string {
  return String(cause instanceof Error ? cause.message : cause).split("\n", 1)[0] ?? "";
}
