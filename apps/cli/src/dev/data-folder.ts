// apps/cli/src/dev/data-folder.ts
// What `carillon dev` keeps below its data folder, and how all of it is dropped.
//   DV1  Only names that are listed here are ever removed: the folder may hold other people's files.
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
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

/** Makes what is missing of the folder; idempotent. */
export function createDataFolder(folder: DataFolder): void {
  for (const path of [folder.path, folder.postgres, folder.nats, folder.nodes])
    mkdirSync(path, { recursive: true });
}

/** `--fresh`. DV1. Nothing may run in the folder; throws Fault `folder_in_use` when Postgres does. */
export function dropState(folder: DataFolder): void {
  dropPostgres(folder.postgres);
  for (const path of [folder.postgres, folder.nats, folder.nodes, folder.secrets, folder.stateFile])
    rmSync(path, { recursive: true, force: true });
}

/** Replaces a file as a whole, readable by its owner only: it may hold a key. */
export function writePrivately(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** A log that has grown beyond this is moved to `.1` at the next start: two files at most. */
const LOG_MAX_BYTES = 16 * 2 ** 20;

export function rotateLog(path: string): void {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes > LOG_MAX_BYTES) renameSync(path, `${path}.1`);
}
