// packages/local/src/postgres-folder.ts
// A Postgres data folder, its user and its password.
//   LO8  initdb runs once per folder: into a folder beside it, then renamed, so that a start that
//        was interrupted leaves nothing half made.
//   LO9  The password is random, ours alone to read (0600), and never an argument or a log line.
import { execFile, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, linkSync, mkdirSync, readFileSync } from "node:fs";
import { readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Fault } from "@carillon/kernel";
import { commandLineOf } from "./os-process.ts";
import { sharedCacheFolder, type PostgresBinaries } from "./postgres-binaries.ts";
import type { ServerUser } from "./server-process.ts";

export const DATABASE_USER = "carillon";

export interface DataFolder {
  readonly path: string;
  readonly password: string;
}

/** Postgres refuses to run as root: its Debian user if there is one, else nobody. */
export function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  return lookUpUser("postgres") ?? lookUpUser("nobody") ?? { uid: 65_534, gid: 65_534 };
}

/** Makes what is missing of `folder`; idempotent. Throws Fault `initdb_failed`. */
export async function prepareDataFolder(options: {
  folder: string;
  user: ServerUser | undefined;
  binaries: PostgresBinaries;
  isDurable: boolean;
}): Promise<DataFolder> {
  const { folder, user } = options;
  mkdirSync(folder, { recursive: true });
  const path = locateData(folder, user);
  const passwordPath = join(folder, "password");
  // A folder that was dropped and made anew must not meet the data of the old one elsewhere.
  if (!existsSync(passwordPath) && path !== dataInside(folder) && !isServed(path)) remove(path);
  if (path !== dataInside(folder)) {
    sweepOrphans(dirname(path));
    writeFileSync(originPath(path), realpathSync(folder), { mode: 0o600 });
  }
  const password = readOrCreatePassword(passwordPath);
  if (!existsSync(join(path, "PG_VERSION"))) await initdb({ ...options, path, password });
  return { path, password };
}

/** Removes the folder and, where the data had to be kept elsewhere, that too. */
export function dropPostgres(folder: string): void {
  if (!existsSync(folder)) return;
  const path = relocatedData(folder);
  const served = [path, dataInside(folder)].find(isServed);
  if (served !== undefined) throw inUse(served);
  if (path !== undefined) removeRelocated(path);
  remove(folder);
}

/**
 * LO14: data kept elsewhere for a temporary folder goes when the folder has gone (a test run that
 * was killed). Only temporary ones: another folder may lie on a disk that is not mounted just now.
 */
function sweepOrphans(cacheFolder: string): void {
  for (const name of readdirSync(cacheFolder)) {
    if (!name.endsWith(ORIGIN_SUFFIX)) continue;
    const path = join(cacheFolder, name.slice(0, -ORIGIN_SUFFIX.length));
    const origin = readOrigin(originPath(path));
    const isTemporary = origin?.startsWith(join(realpathSync(tmpdir()), "/")) ?? false;
    if (origin === undefined || !isTemporary || existsSync(origin) || isServed(path)) continue;
    removeRelocated(path);
  }
}

const ORIGIN_SUFFIX = ".origin";

function originPath(path: string): string {
  return `${path}${ORIGIN_SUFFIX}`;
}

function readOrigin(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // another start swept it in the meantime
  }
}

function removeRelocated(path: string): void {
  remove(path);
  rmSync(originPath(path), { force: true });
}

export function inUse(path: string): Fault {
  const message = `another Postgres (pid ${servingPid(path) ?? "unknown"}) runs in ${path}`;
  return new Fault(message, { code: "folder_in_use", isRetryable: true });
}

/** Whether a live Postgres runs in the data folder; a stale postmaster.pid is not one. */
export function isServed(path: string | undefined): boolean {
  const pid = path === undefined ? undefined : servingPid(path);
  return pid !== undefined && (commandLineOf(pid)?.includes(path ?? "") ?? false);
}

/** The pid in postmaster.pid, whether it lives or not. */
export function servingPid(path: string): number | undefined {
  const lockPath = join(path, "postmaster.pid");
  if (!existsSync(lockPath)) return undefined;
  const pid = Number.parseInt(readFileSync(lockPath, "utf8"), 10);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

function locateData(folder: string, user: ServerUser | undefined): string {
  if (user === undefined) return dataInside(folder);
  if (mayReach(folder, user)) return dataInside(folder);
  return relocatedPath(folder);
}

/** Asked by trying: modes, owners, access lists and mounts all count. */
function mayReach(folder: string, user: ServerUser): boolean {
  const options = { ...user, cwd: "/", env: {} };
  return spawnSync("/bin/sh", ["-c", 'cd "$1"', "sh", folder], options).status === 0;
}

function dataInside(folder: string): string {
  return join(realpathSync(folder), "data");
}

function relocatedData(folder: string): string | undefined {
  return serverUser() === undefined ? undefined : relocatedPath(folder);
}

function relocatedPath(folder: string): string {
  const hash = createHash("sha256").update(realpathSync(folder)).digest("hex").slice(0, 24);
  return join(sharedCacheFolder(), `data-${hash}`);
}

function readOrCreatePassword(path: string): string {
  if (!existsSync(path)) {
    const partial = `${path}.${process.pid}-${randomBytes(4).toString("hex")}`;
    writeFileSync(partial, randomBytes(24).toString("hex"), { mode: 0o600, flush: true });
    try {
      linkSync(partial, path); // unlike a rename it does not replace what another just made
    } catch (cause) {
      if (!existsSync(path)) throw initdbFailed(`cannot write ${path}`, cause);
    } finally {
      rmSync(partial, { force: true });
    }
  }
  return readFileSync(path, "utf8").trim();
}

async function initdb(options: {
  path: string;
  password: string;
  user: ServerUser | undefined;
  binaries: PostgresBinaries;
  isDurable: boolean;
}): Promise<void> {
  const { path, password, user, binaries, isDurable } = options;
  const partial = `${path}.${process.pid}-${randomBytes(4).toString("hex")}`;
  const passwordPath = `${partial}.pw`;
  mkdirSync(partial, { mode: 0o700 });
  writeFileSync(passwordPath, password, { mode: 0o600, flag: "wx" });
  if (user) for (const owned of [partial, passwordPath]) chownSync(owned, user.uid, user.gid);
  const flags = "--no-instructions --auth=scram-sha-256 --encoding=UTF8 --locale=C";
  const order = "--locale-provider=builtin --builtin-locale=C.UTF-8"; // the same on each machine
  const sync = isDurable ? "" : "--no-sync";
  const plainArgs = `${flags} ${order} ${sync}`.trim().split(" ");
  const args = ["-D", partial, "-U", DATABASE_USER, "--pwfile", passwordPath, ...plainArgs];
  try {
    await run(binaries.initdb, args, user);
    renameSync(partial, path);
  } catch (cause) {
    if (existsSync(join(path, "PG_VERSION"))) return; // another start was first
    throw cause instanceof Fault ? cause : initdbFailed(`cannot make ${path}`, cause);
  } finally {
    rmSync(passwordPath, { force: true });
    remove(partial);
  }
}

const INITDB_MAX_MS = 120_000; // 2 s on an idle machine; a loaded test machine takes many times that

function run(command: string, args: string[], user: ServerUser | undefined): Promise<void> {
  const options = { ...user, cwd: "/", env: { LC_ALL: "C", TZ: "UTC" }, timeout: INITDB_MAX_MS };
  return new Promise((resolve, reject) => {
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve();
      reject(initdbFailed(`${stdout}\n${stderr}`.trim().split("\n").slice(-5).join("\n"), error));
    });
  });
}

function lookUpUser(name: string): ServerUser | undefined {
  const ask = (flag: string): number => {
    const result = spawnSync("id", [flag, name], { encoding: "utf8" });
    return result.status === 0 ? Number(result.stdout) : Number.NaN;
  };
  const user = { uid: ask("-u"), gid: ask("-g") };
  return Number.isInteger(user.uid) && Number.isInteger(user.gid) ? user : undefined;
}

function remove(path: string): void {
  if (existsSync(path)) chmodSync(path, 0o700);
  rmSync(path, { recursive: true, force: true });
}

function initdbFailed(message: string, cause?: unknown): Fault {
  const options = { code: "initdb_failed", isRetryable: false, cause };
  return new Fault(`initdb: ${message}`, options);
}
