// apps/cli/src/dev/dev-cluster.ts
// Whole regions on this machine: one Postgres, and per region a nats-server, a database and a
// process with all roles. `carillon dev` and the end-to-end tests run on it.
//   DV9  `start` resolves when every region serves; when it rejects, nothing is left running.
//   DV10 What ends unasked is started again on the same port; what was stopped stays stopped.
//   DV11 `stop` is bounded, runs in the order nodes → nats-servers → Postgres, and leaves nothing.
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import type { NatsCredentials } from "@carillon/bus";
import type { Role } from "@carillon/contracts";
import { reapLeftovers } from "@carillon/local";
import {
  assert,
  type Clock,
  Fault,
  type Random,
  systemClock,
  systemRandom,
} from "@carillon/kernel";
import { createDataFolder, type DataFolder, dataFolderAt, dropState } from "./data-folder.ts";
import { takeLock } from "./dev-lock.ts";
import { readOrCreateSecrets } from "./dev-secrets.ts";
import { DEV_TENANT_ID } from "./dev-database.ts";
import type { DevEvents } from "./dev-events.ts";
import { DevServers, type ExtraWorker } from "./dev-servers.ts";
import { removeDevState, writeDevState } from "./dev-state.ts";
import { reapNodes } from "./node-records.ts";
import type { RegionProcess } from "./region-process.ts";

export interface DevClusterOptions {
  readonly dataFolder: string;
  readonly regions: readonly string[];
  /** False: Postgres does not sync, for tests that end no machine. */
  readonly isDurable: boolean;
  /** Drops what an earlier run left, before anything starts. */
  readonly isFresh: boolean;
  /** Settings of every region node (`CARILLON_NODE_…`), over those of a local cluster. */
  readonly nodeOptions: Readonly<Record<string, string>>;
  /** One line for a person. */
  readonly log: (line: string) => void;
  /** Gives a start up; it then rejects with Fault `aborted`. */
  readonly signal?: AbortSignal;
}

export interface DevRegion {
  readonly region: string;
  readonly ingestUrl: string; // http://127.0.0.1:port
  readonly socketUrl: string; // ws://127.0.0.1:port/socket
}

const UP_MAX_MS = 60_000;

export class DevCluster {
  readonly tenantId = DEV_TENANT_ID;
  readonly apiKey: string;
  readonly regions: ReadonlyMap<string, DevRegion>;
  readonly #folder: DataFolder;
  readonly #servers: DevServers;
  readonly #events: EventEmitter<DevEvents>;
  readonly #releaseLock: () => void;
  #stopping: Promise<void> | undefined;

  private constructor(parts: {
    folder: DataFolder;
    apiKey: string;
    servers: DevServers;
    events: EventEmitter<DevEvents>;
    releaseLock: () => void;
  }) {
    this.apiKey = parts.apiKey;
    this.#folder = parts.folder;
    this.#servers = parts.servers;
    this.#events = parts.events;
    this.#releaseLock = parts.releaseLock;
    this.regions = new Map(
      parts.servers.plans.map(({ region, ingestPort, gatewayPort }) => [
        region,
        {
          region,
          ingestUrl: `http://127.0.0.1:${ingestPort}`,
          socketUrl: `ws://127.0.0.1:${gatewayPort}/socket`,
        },
      ]),
    );
  }

  /**
   * Throws Fault `data_folder_unusable`, `folder_in_use` (another `carillon dev` runs there),
   * `aborted`, or what kept a part from starting. DV9.
   */
  static async start(
    options: DevClusterOptions,
    deps: { readonly clock: Clock; readonly random: Random } = {
      clock: systemClock,
      random: systemRandom,
    },
  ): Promise<DevCluster> {
    const folder = dataFolderAt(options.dataFolder);
    createDataFolder(folder);
    const lock = takeLock(folder.lockFile);
    if (lock.kind === "in_use")
      throw new Fault(
        `another carillon dev (process ${lock.pid}) runs in ${folder.path}. ` +
          "Stop it, or give this one a folder of its own with --data.",
        { code: "folder_in_use", isRetryable: true },
      );
    let servers: DevServers | undefined;
    try {
      await clearLeftovers(folder, options, deps.clock);
      if (options.isFresh) dropState(folder);
      createDataFolder(folder);
      const secrets = readOrCreateSecrets(folder.secrets, deps.random);
      const events = new EventEmitter<DevEvents>();
      servers = await DevServers.plan({ ...options, folder, secrets, events }, deps);
      await servers.start(options.signal);
      const { apiKey, operatorKey } = secrets;
      const cluster = new DevCluster({
        folder,
        apiKey,
        servers,
        events,
        releaseLock: () => lock.release(),
      });
      const regions = [...cluster.regions.values()];
      writeDevState(folder, { tenantId: cluster.tenantId, apiKey, operatorKey, regions });
      return cluster;
    } catch (cause) {
      await servers?.stop();
      lock.release();
      if (options.signal?.aborted !== true) throw cause;
      throw new Fault("the start was given up", { code: "aborted", isRetryable: true, cause });
    }
  }

  /** `exit`: a part ended. `restarted`: it runs again. */
  on<K extends keyof DevEvents>(event: K, listener: (...args: DevEvents[K]) => void): this {
    this.#events.on(event, listener as never);
    return this;
  }

  off<K extends keyof DevEvents>(event: K, listener: (...args: DevEvents[K]) => void): this {
    this.#events.off(event, listener as never);
    return this;
  }

  region(region: string): DevRegion {
    const found = this.regions.get(region);
    assert(found, `no region ${region}`);
    return found;
  }

  /** Holds the password: not for logs. */
  storeUrl(region: string): string {
    return this.#servers.storeUrl(region);
  }

  natsUrl(region: string): string {
    return this.#servers.natsUrl(region);
  }

  /** Of a user without limits, for a look into NATS from outside of the nodes. */
  get natsCredentials(): NatsCredentials {
    const seedFile = this.#servers.secrets.nats.seedFiles.visitor;
    return { kind: "nkey", seed: readFileSync(seedFile, "utf8").trim() };
  }

  /** The region's process as it runs now, or as soon as it runs again. Fault `not_running`. */
  nodeOf(region: string, maxMs = UP_MAX_MS): Promise<RegionProcess> {
    return this.#servers.node(region).whenRunning(maxMs);
  }

  /** Resolves when the region's nats-server runs. Fault `not_running`. */
  async natsUp(region: string, maxMs = UP_MAX_MS): Promise<void> {
    await this.#servers.nats(region).whenRunning(maxMs);
  }

  async postgresUp(maxMs = UP_MAX_MS): Promise<void> {
    await this.#servers.postgres.whenRunning(maxMs);
  }

  /** Signals the region's process; once it has ended it is started again. */
  killNode(region: string, signal: NodeJS.Signals): void {
    this.#servers.node(region).running?.kill(signal);
  }

  /** In order (drained), and kept down until `startNode`. */
  stopNode(region: string): Promise<void> {
    return this.#servers.node(region).stop();
  }

  startNode(region: string): Promise<void> {
    return this.#servers.node(region).start();
  }

  killNats(region: string, signal: NodeJS.Signals): void {
    this.#servers.nats(region).running?.kill(signal);
  }

  /** Cuts the region off from all others, and its own parts from one another over NATS. */
  stopNats(region: string): Promise<void> {
    return this.#servers.nats(region).stop();
  }

  startNats(region: string): Promise<void> {
    return this.#servers.nats(region).start();
  }

  killPostgres(signal: NodeJS.Signals): void {
    this.#servers.postgres.running?.kill(signal);
  }

  /** For all regions: they share one server. Kept down until `startPostgres`. */
  stopPostgres(): Promise<void> {
    return this.#servers.postgres.stop();
  }

  startPostgres(): Promise<void> {
    return this.#servers.postgres.start();
  }

  /** One more process in the region, with the role worker only unless told. It is not restarted. */
  addWorker(
    region: string,
    more: Readonly<Record<string, string>> = {},
    roles: readonly Role[] = ["worker"],
  ): Promise<ExtraWorker> {
    return this.#servers.addWorker(region, more, roles);
  }

  /** Pids of everything that runs now. */
  get pids(): readonly number[] {
    return this.#servers.pids;
  }

  /** DV11. Safe to call twice. */
  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      removeDevState(this.#folder);
      try {
        await this.#servers.stop();
      } finally {
        this.#releaseLock();
      }
    })();
    return this.#stopping;
  }
}

/** What a `carillon dev` that was killed left behind. */
async function clearLeftovers(
  folder: DataFolder,
  options: Pick<DevClusterOptions, "log">,
  clock: Clock,
): Promise<void> {
  const nodes = await reapNodes(folder.nodes, clock);
  const nats = await reapLeftovers(folder.nats);
  const postgres = await reapLeftovers(folder.postgres);
  const count = nodes.length + nats.endedPids.length + postgres.endedPids.length;
  if (count > 0) options.log(`ended ${count} processes that an earlier run left behind`);
}

/** Removes everything a stopped cluster left in its folder, and what lies outside of it (Postgres). */
export function dropDevData(dataFolder: string): void {
  dropState(dataFolderAt(dataFolder));
}
