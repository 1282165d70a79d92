// apps/cli/src/dev/data-folder.ts
// What `carillon dev` keeps below its data folder, and how all of it is dropped.
//   DV1  Only names that are listed here are ever removed: the folder may hold other people's files.
//   DV13 A folder that cannot be made or written is refused at once, by the name of its option.
import {
  accessSync,
  constants,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Fault } from "@carillon/kernel";
import { dropPostgres } from "@carillon/local";

export interface DataFolder {
  readonly path: string;
  readonly postgres: string;
  readonly nats: string;
  readonly nodes: string; // logs and records of region nodes
  readonly secrets: string;
  readonly lockFile: string;
  readonly stateFile: string;
}

export function dataFolderAt(path: string): DataFolder {
  const root = resolve(path);
  return {
    path: root,
    postgres: join(root, "postgres"),
    nats: join(root, "nats"),
    nodes: join(root, "nodes"),
    secrets: join(root, "secrets"),
    lockFile: join(root, "dev.lock"),
    stateFile: join(root, "dev-state.json"),
  };
}

/** Makes what is missing of the folder; idempotent. Throws Fault `data_folder_unusable`. DV13. */
export function createDataFolder(folder: DataFolder): void {
  try {
    for (const path of [folder.path, folder.postgres, folder.nats, folder.nodes]) makeFolder(path);
    accessSync(folder.path, constants.W_OK);
  } catch (cause) {
    throw new Fault(
      `--data ${folder.path} cannot be used: ${cause instanceof Error ? cause.message : ""}. ` +
        "Name a folder on a disk that you may write to; it is made when it does not exist.",
      { code: "data_folder_unusable", isRetryable: false, cause },
    );
  }
}

/** Node's own recursive mkdir never ends where a parent refuses with ENOENT, as /proc does. */
function makeFolder(path: string): void {
  if (isFolder(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (cause) {
    if (!isFolder(path)) throw cause; // else another start was faster
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** `--fresh`. DV1. Nothing may run in the folder; throws Fault `folder_in_use` when Postgres does. */
export function dropState(folder: DataFolder): void {
  dropPostgres(folder.postgres);
  for (const path of [folder.postgres, folder.nats, folder.nodes, folder.secrets, folder.stateFile])
    rmSync(path, { recursive: true, force: true });
}

/**
 * Replaces a file as a whole, after a power cut too, readable by its owner only: it may hold a key.
 */
export function writePrivately(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

/** A log that has grown beyond this is moved to `.1` at the next start: two files at most. */
const LOG_MAX_BYTES = 16 * 2 ** 20;

export function rotateLog(path: string): void {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes > LOG_MAX_BYTES) renameSync(path, `${path}.1`);
}
