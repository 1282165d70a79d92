// apps/cli/src/dev/dev-lock.ts
// One `carillon dev` per data folder.
//   DV2  A folder is held by at most one live process; the lock of a dead one is taken over, also
//        when two try that at the same time.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { assert } from "@carillon/kernel";
import { isRunning, markOf, parseMark, type ProcessMark } from "@carillon/local";

export type LockOutcome =
  | { readonly kind: "held"; release(): void }
  | { readonly kind: "in_use"; readonly pid: number };

const ATTEMPTS_MAX = 16; // each one that fails saw another process take or leave the lock
let takenCount = 0; // names the temporary files of this process

/** DV2. The lock ends with `release`, or with this process. */
export function takeLock(lockFile: string): LockOutcome {
  const self = markOf(process.pid);
  assert(self, "DV2 this process runs");
  const own = `${lockFile}.${process.pid}-${++takenCount}`;
  writeFileSync(own, JSON.stringify(self), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (link(own, lockFile)) return { kind: "held", release: () => release(lockFile, self) };
      const holder = read(lockFile);
      if (holder !== undefined && isRunning(holder)) return { kind: "in_use", pid: holder.pid };
      setAside(lockFile, `${own}.stale`);
    }
    return { kind: "in_use", pid: read(lockFile)?.pid ?? 0 };
  } finally {
    rmSync(own, { force: true });
  }
}

/** The live holder's pid; undefined: nobody holds it. */
export function lockHolder(lockFile: string): number | undefined {
  const holder = read(lockFile);
  return holder !== undefined && isRunning(holder) ? holder.pid : undefined;
}

/** Renaming takes the file from one process only; what turns out to be alive is put back. */
function setAside(lockFile: string, aside: string): void {
  try {
    renameSync(lockFile, aside);
  } catch {
    return; // another was faster
  }
  const taken = read(aside);
  if (taken !== undefined && isRunning(taken)) link(aside, lockFile);
  rmSync(aside, { force: true });
}

function release(lockFile: string, self: ProcessMark): void {
  const holder = read(lockFile);
  if (holder?.pid === self.pid && holder.startedAt === self.startedAt)
    rmSync(lockFile, { force: true });
}

/** Unlike a rename it never replaces: false when the name is taken. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw cause;
  }
}

function read(path: string): ProcessMark | undefined {
  try {
    return parseMark(readFileSync(path, "utf8"));
  } catch {
    return undefined; // gone in the meantime
  }
}
