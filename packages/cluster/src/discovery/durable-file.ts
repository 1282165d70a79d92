// packages/cluster/src/discovery/durable-file.ts
// A small file that is always whole: the old text or the new one, after a power cut too.
//   DF1  Written beside, synced, renamed, and the folder synced; mode 0600, since it may hold logins.
//   DF2  Writers of one path, in one process or in several, have a file beside of their own: the last
//        rename wins. What a dead writer left there goes with the next write, what failed at once.
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { performance } from "node:perf_hooks";

/** Only the owner: nats.conf holds passwords, and candidates are a map of the network. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const WRITERS_MAX = 100; // of one path, of one process, at one time

/**
 * Rejects when the disk does not take it; the old file stands then.
 * With `previousPath` the old file is kept there, as it was, its time included.
 */
export async function writeDurably(
  path: string,
  text: string,
  { previousPath }: { previousPath?: string } = {},
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
  await sweep(path);
  if (previousPath !== undefined) await keepAs(path, previousPath);
  await replace(path, text);
}

/** The old text in the place of the new one. False: none was kept. */
export async function restore(path: string, previousPath: string): Promise<boolean> {
  try {
    await rename(previousPath, path);
  } catch (cause) {
    if (isAbsent(cause)) return false;
    throw cause;
  }
  await syncFolder(dirname(path));
  return true;
}

interface Times {
  readonly atime: Date;
  readonly mtime: Date;
}

async function replace(path: string, text: string | Buffer, times?: Times): Promise<void> {
  const { file, beside } = await openBeside(path);
  try {
    try {
      await file.writeFile(text);
      if (times !== undefined) await file.utimes(times.atime, times.mtime);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (cause) {
    await rm(beside, { force: true });
    throw cause;
  }
  await syncFolder(dirname(path));
}

/** DF2: `nats.conf.<pid>-<n>.new`, which nobody else has. */
async function openBeside(path: string) {
  for (let n = 0; ; n++) {
    const beside = `${path}.${process.pid}-${n}.new`;
    try {
      return { beside, file: await open(beside, "wx", FILE_MODE) };
    } catch (cause) {
      if (codeOf(cause) !== "EEXIST" || n >= WRITERS_MAX) throw cause;
    }
  }
}

/** What writers left that have ended. */
async function sweep(path: string): Promise<void> {
  const start = `${basename(path)}.`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(start)) continue;
    const pid = /^(\d{1,10})-\d+\.new$/.exec(name.slice(start.length))?.[1];
    if (pid === undefined) continue;
    const one = join(dirname(path), name);
    if (Number(pid) === process.pid ? await isOlderThanThis(one) : !isAlive(Number(pid)))
      await rm(one, { force: true });
  }
}

/** In a container each start may have the same pid. */
async function isOlderThanThis(path: string): Promise<boolean> {
  try {
    return (await stat(path)).mtimeMs < performance.timeOrigin;
  } catch (cause) {
    if (isAbsent(cause)) return false;
    throw cause;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (cause) {
    return codeOf(cause) !== "ESRCH"; // another user's is alive as well
  }
}

/** A copy: a link to another user's file is forbidden (fs.protected_hardlinks). */
async function keepAs(path: string, previousPath: string): Promise<void> {
  await rm(previousPath, { force: true });
  try {
    const [text, times] = await Promise.all([readFile(path), stat(path)]);
    await replace(previousPath, text, times);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause; // the first text has none before it
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function codeOf(cause: unknown): unknown {
  return cause instanceof Error && "code" in cause ? cause.code : undefined;
}

export function isAbsent(cause: unknown): boolean {
  return codeOf(cause) === "ENOENT";
}
