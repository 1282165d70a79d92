// apps/cli/src/clients/open-files.ts
// How many sockets a process may hold. Node raises its soft limit to the hard one when it starts, so
// what a child sees is what there is.
import { spawnSync } from "node:child_process";

/** Files that a process needs besides the sockets in question: modules, logs, HTTP, NATS. */
const OTHER_FILES = 512;

/** Infinity where there is no limit, or none that can be asked for. */
export function openFilesMax(): number {
  const asked = spawnSync("/bin/sh", ["-c", "ulimit -n"], { encoding: "utf8", timeout: 5_000 });
  const limit = Number.parseInt(asked.stdout, 10);
  return Number.isInteger(limit) ? limit : Infinity;
}

/** At most `wanted`, as the limit allows; a note for people when that is fewer. */
export function affordableSockets(
  wanted: number,
  limit = openFilesMax(),
): { readonly count: number; readonly note?: string } {
  const affordable = Math.max(0, limit - OTHER_FILES);
  if (affordable >= wanted) return { count: wanted };
  return {
    count: affordable,
    note:
      `this shell allows ${limit} open files: ${affordable} sockets instead of ${wanted}. ` +
      `For all of them: ulimit -n ${wanted + OTHER_FILES}`,
  };
}
