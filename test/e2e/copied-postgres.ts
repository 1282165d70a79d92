// Postgres servers of Debian's postgresql-15 for tests with real streaming replication: it brings
// pg_basebackup, which npm's does not. They run as the user postgres, since Postgres refuses root.
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, openSync, rmSync } from "node:fs";
import { createServer, connect, type Socket } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "./api.ts";

const BIN = "/usr/lib/postgresql/15/bin";
const run = promisify(execFile);

/** Undefined where they can run; otherwise why the tests are skipped. */
export function whyNoCopies(): string | undefined {
  if (!existsSync(join(BIN, "pg_basebackup"))) return `no ${BIN}/pg_basebackup (postgresql-15)`;
  if (process.getuid?.() !== 0) return undefined;
  return spawnSync("id", ["-u", "postgres"]).status === 0 ? undefined : "no user postgres";
}

function identity(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const ask = (flag: string) =>
    Number(spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout);
  return { uid: ask("-u"), gid: ask("-g") };
}

const QUIET = { cwd: "/", env: { LC_ALL: "C", TZ: "UTC", PATH: "/usr/bin:/bin" } };

export class CopiedPostgres {
  readonly port: number;
  readonly #folder: string; // the test's, which the server's user may enter
  readonly #name: string;
  #generation = 0;
  #child: ChildProcess | undefined;

  constructor(folder: string, name: string, port: number) {
    this.#folder = folder;
    this.#name = name;
    this.port = port;
  }

  get #data(): string {
    return join(this.#folder, `${this.#name}-${this.#generation}`);
  }

  urlOf(database: string): string {
    return `postgres://carillon:carillon@127.0.0.1:${this.port}/${database}`;
  }

  /** A new, empty server with these databases. */
  async create(databases: readonly string[]): Promise<void> {
    this.#makeFolder();
    const how = ["-D", this.#data, "-U", "carillon", "--auth=trust", "--locale=C", "--no-sync"];
    await run(join(BIN, "initdb"), [...how, "--encoding=UTF8"], { ...QUIET, ...identity() });
    await this.start();
    for (const database of databases)
      await run(
        join(BIN, "createdb"),
        ["-h", "127.0.0.1", "-p", `${this.port}`, "-U", "carillon", database],
        { ...QUIET, ...identity() },
      );
  }

  /** A streaming copy of the server behind `port`, in a folder of its own; the last one is dropped. */
  async copyFrom(port: number): Promise<void> {
    rmSync(this.#data, { recursive: true, force: true });
    this.#generation++;
    this.#makeFolder();
    const from = ["-h", "127.0.0.1", "-p", `${port}`, "-U", "carillon"];
    const how = ["-D", this.#data, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
    await run(join(BIN, "pg_basebackup"), [...from, ...how], { ...QUIET, ...identity() });
    await this.start();
  }

  async start(): Promise<void> {
    const settings = [
      `port=${this.port}`,
      "listen_addresses=127.0.0.1",
      "unix_socket_directories=",
      "fsync=off",
      "max_connections=200",
      "wal_keep_size=256MB",
      "wal_retrieve_retry_interval=200ms",
      "wal_receiver_status_interval=200ms",
    ];
    const log = openSync(join(this.#folder, `${this.#name}.log`), "a");
    const user = identity();
    const become =
      user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"];
    const args = ["-D", this.#data, ...settings.flatMap((setting) => ["-c", setting])];
    this.#child = spawn("setpriv", [...become, "--pdeathsig=INT", join(BIN, "postgres"), ...args], {
      ...QUIET,
      stdio: ["ignore", log, log],
    });
    const ready = ["-h", "127.0.0.1", "-p", `${this.port}`, "-U", "carillon", "-d", "postgres"];
    await until(`postgres ${this.#name} takes connections`, 60_000, () =>
      run(join(BIN, "pg_isready"), ready, QUIET).then(() => true as const),
    );
  }

  /** kill -9: the postmaster, and with it all its processes. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#end("SIGINT");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
    // Backends of a killed postmaster end when they notice; until then they hold the data folder.
    await until(`nobody listens on ${this.port}`, 30_000, async () => {
      const socket = connect(this.port, "127.0.0.1");
      const isOpen = await new Promise<boolean>((resolve) => {
        socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      });
      socket.destroy();
      return isOpen ? undefined : true;
    });
  }

  #makeFolder(): void {
    mkdirSync(this.#data, { mode: 0o700 });
    const user = identity();
    if (user !== undefined) chownSync(this.#data, user.uid, user.gid);
  }
}

/** One connection with raw statements; it ends with the server at the latest. */
export class Psql {
  readonly #child: ChildProcess;
  #out = "";
  #count = 0;

  constructor(url: string) {
    const args = ["-qAtX", "-v", "ON_ERROR_STOP=1", url];
    this.#child = spawn(join(BIN, "psql"), args, { ...QUIET, stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout?.on("data", (chunk: Buffer) => void (this.#out += chunk.toString()));
  }

  /** What it printed; throws when the statement fails. */
  async run(statement: string): Promise<string> {
    const mark = `done ${++this.#count}\n`;
    this.#out = "";
    this.#child.stdin?.write(`${statement};\n\\echo ${mark}`);
    await until(`psql has done ${statement}`, 60_000, async () => {
      if (this.#child.exitCode !== null) throw new Error(`psql ended at ${statement}`);
      return this.#out.endsWith(mark) || undefined;
    });
    return this.#out.slice(0, -mark.length).trim();
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}

/** A link that can be cut: what streams over it stops, and nobody can connect until it is mended. */
export interface CutLink {
  readonly port: number;
  cut(): void;
  /** Nothing arrives any more, and nobody is told: connections stay open until it is mended. */
  stall(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function startCutLink(targetPort: number): Promise<CutLink> {
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((inbound) => {
    if (isCut) return void inbound.resetAndDestroy();
    const outbound = connect(targetPort, "127.0.0.1");
    for (const [from, to] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      open.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        open.delete(from);
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    cut() {
      isCut = true;
      for (const socket of open) socket.resetAndDestroy();
    },
    stall() {
      for (const socket of open) socket.pause();
    },
    mend() {
      isCut = false;
      for (const socket of open) socket.resume();
    },
    async close() {
      isCut = true;
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
