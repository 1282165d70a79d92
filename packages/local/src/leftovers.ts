// packages/local/src/leftovers.ts
// Which servers were started for a folder, so that the next start finds what a crash left behind.
//   LO2  A process is ended only if it was recorded here, its command line still names the recorded
//        place, and the process that started it is gone. Anything else is left alone.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@carillon/kernel";
import { commandLineOf, isRunning, markOf, signalProcess } from "./os-process.ts";

interface PidRecord {
  readonly pid: number;
  readonly place: string; // stands in the command line
  readonly stopSignal: NodeJS.Signals;
  readonly ownerPid: number;
  readonly ownerMark: string;
}

export interface ReapReport {
  readonly endedPids: readonly number[];
  /** Still running for an owner that lives, or could not be ended. */
  readonly keptPids: readonly number[];
}

const REAP_ASK_MAX_MS = 10_000; // a fast shutdown of Postgres writes a checkpoint first
const REAP_KILL_MAX_MS = 5_000;
const POLL_MS = 20;

export function recordPid(
  folder: string,
  record: { pid: number; place: string; stopSignal: NodeJS.Signals },
): void {
  mkdirSync(pidsFolder(folder), { recursive: true });
  const full: PidRecord = {
    ...record,
    ownerPid: process.pid,
    ownerMark: markOf(process.pid)?.startedAt ?? "",
  };
  writeFileSync(pidPath(folder, record.pid), JSON.stringify(full));
}

export function forgetPid(folder: string, pid: number): void {
  rmSync(pidPath(folder, pid), { force: true });
}

/**
 * Ends servers that an earlier process started for `folder` and left behind. LO2. Asks first, kills
 * after 10 s. Safe to call when there is nothing, and twice.
 */
export async function reapLeftovers(folder: string): Promise<ReapReport> {
  const reports = await Promise.all(readRecords(folder).map((record) => reap(folder, record)));
  const pidsThat = (outcome: "ended" | "kept"): number[] =>
    reports.filter((report) => report.outcome === outcome).map((report) => report.pid);
  return { endedPids: pidsThat("ended"), keptPids: pidsThat("kept") };
}

async function reap(
  folder: string,
  record: PidRecord,
): Promise<{ pid: number; outcome: "ended" | "kept" | "gone" }> {
  const { pid } = record;
  const isThere = (): boolean => commandLineOf(pid)?.includes(record.place) ?? false;
  if (!isThere()) {
    forgetPid(folder, pid);
    return { pid, outcome: "gone" };
  }
  if (isRunning({ pid: record.ownerPid, startedAt: record.ownerMark }))
    return { pid, outcome: "kept" };
  signalProcess(pid, record.stopSignal);
  signalProcess(pid, "SIGCONT"); // a stopped process does not hear until it continues
  if (!(await becomes(() => !isThere(), REAP_ASK_MAX_MS))) {
    signalProcess(pid, "SIGKILL");
    if (!(await becomes(() => !isThere(), REAP_KILL_MAX_MS))) return { pid, outcome: "kept" };
  }
  forgetPid(folder, pid);
  return { pid, outcome: "ended" };
}

async function becomes(question: () => boolean, maxMs: number): Promise<boolean> {
  const endMs = systemClock.monotonicMs() + maxMs;
  while (!question()) {
    if (systemClock.monotonicMs() > endMs) return false;
    await systemClock.sleep(POLL_MS);
  }
  return true;
}

function readRecords(folder: string): PidRecord[] {
  let names: string[];
  try {
    names = readdirSync(pidsFolder(folder));
  } catch {
    return []; // nothing was ever started here
  }
  return names.flatMap((name) => readRecord(join(pidsFolder(folder), name)) ?? []);
}

/** A record cut short by a crash says nothing that could be trusted: it is dropped. */
function readRecord(path: string): PidRecord | undefined {
  try {
    const record: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (isPidRecord(record)) return record;
  } catch {
    // falls through: not JSON
  }
  rmSync(path, { force: true });
  return undefined;
}

function isPidRecord(value: unknown): value is PidRecord {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Partial<Record<keyof PidRecord, unknown>>;
  return (
    Number.isInteger(fields.pid) &&
    Number.isInteger(fields.ownerPid) &&
    typeof fields.ownerMark === "string" &&
    (fields.stopSignal === "SIGINT" || fields.stopSignal === "SIGTERM") &&
    typeof fields.place === "string" &&
    fields.place.length > 1
  );
}

function pidsFolder(folder: string): string {
  return join(folder, "pids");
}

function pidPath(folder: string, pid: number): string {
  return join(pidsFolder(folder), `${pid}.json`);
}
