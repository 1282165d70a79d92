// apps/cli/src/dev/dev-state.ts
// What a running `carillon dev` tells others on this machine (`carillon load --dev`).
// The file holds keys: 0600, removed when the cluster stops.
import { readFileSync, rmSync } from "node:fs";
import { type DataFolder, writePrivately } from "./data-folder.ts";
import { lockHolder } from "./dev-lock.ts";

export interface DevState {
  readonly tenantId: string;
  readonly apiKey: string;
  readonly operatorKey: string;
  readonly regions: readonly DevStateRegion[];
}
export interface DevStateRegion {
  readonly region: string;
  readonly ingestUrl: string;
  readonly socketUrl: string;
}

export function writeDevState(folder: DataFolder, state: DevState): void {
  writePrivately(folder.stateFile, JSON.stringify(state, null, 2));
}

export function removeDevState(folder: DataFolder): void {
  rmSync(folder.stateFile, { force: true });
}

/** Undefined: no `carillon dev` is up in this folder. */
export function readDevState(folder: DataFolder): DevState | undefined {
  if (lockHolder(folder.lockFile) === undefined) return undefined; // left behind by a crash
  try {
    return JSON.parse(readFileSync(folder.stateFile, "utf8")) as DevState;
  } catch {
    return undefined; // starting, or stopping
  }
}
