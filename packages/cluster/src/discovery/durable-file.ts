// packages/cluster/src/discovery/durable-file.ts
// A small file that is always whole: the old text or the new one, after a power cut too.
//   DF1  Written beside, synced, renamed, and the folder synced; mode 0600, since it may hold logins.
import { link, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** Only the owner: nats.conf holds passwords, and candidates are a map of the network. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/**
 * Rejects when the disk does not take it; the old file stands then. One writer per path.
 * With `previousPath` the old file is kept there, as it was, its time included.
 */
export async function writeDurably(
  path: string,
  text: string,
  { previousPath }: { previousPath?: string } = {},
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
  const beside = `${path}.new`;
  await rm(beside, { force: true }); // one that a crash left may have another mode
  const file = await open(beside, "wx", FILE_MODE);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  if (previousPath !== undefined) await keepAs(path, previousPath);
  await rename(beside, path);
  await syncFolder(dirname(path));
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

async function keepAs(path: string, previousPath: string): Promise<void> {
  await rm(previousPath, { force: true });
  try {
    await link(path, previousPath);
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

export function isAbsent(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}
