// apps/cli/src/dev/node-records.ts
// Which region nodes run for a data folder. They end by themselves when the process that started
// them is gone; the records find those that could not, a stopped one for instance.
//   DV6  Only a recorded process with the recorded start is killed.
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@carillon/kernel";
import { isRunning, markOf, parseMark } from "@carillon/local";
import { writePrivately } from "./data-folder.ts";

const REAP_MAX_MS = 5_000;
const POLL_MS = 20;

export function recordNode(folder: string, pid: number): void {
  const mark = markOf(pid);
  if (mark === undefined) return; // it has ended already
  mkdirSync(recordsIn(folder), { recursive: true });
  writePrivately(recordPath(folder, pid), JSON.stringify(mark));
}

export function forgetNode(folder: string, pid: number): void {
  rmSync(recordPath(folder, pid), { force: true });
}

/** Kills what an earlier `carillon dev` left behind in this folder; returns the pids. DV6. */
export async function reapNodes(folder: string, clock: Clock): Promise<number[]> {
  const paths = recordPaths(folder);
  const left = paths
    .map((path) => parseMark(readFileSync(path, "utf8")))
    .filter((mark) => mark !== undefined && isRunning(mark))
    .filter((mark) => mark !== undefined);
  for (const { pid } of left) process.kill(pid, "SIGKILL");
  const endMs = clock.monotonicMs() + REAP_MAX_MS;
  // oxlint-disable-next-line no-await-in-loop -- waits for an end that nobody tells
  while (left.some(isRunning) && clock.monotonicMs() < endMs) await clock.sleep(POLL_MS);
  for (const path of paths) rmSync(path, { force: true });
  return left.map(({ pid }) => pid);
}

function recordsIn(folder: string): string {
  return join(folder, "pids");
}

function recordPath(folder: string, pid: number): string {
  return join(recordsIn(folder), `${pid}.json`);
}

function recordPaths(folder: string): string[] {
  try {
    const names = readdirSync(recordsIn(folder)).filter((name) => name.endsWith(".json"));
    return names.map((name) => join(recordsIn(folder), name));
  } catch {
    return []; // nothing was ever started here
  }
}
