// apps/cli/src/dev/dev-run.ts
// Runs `carillon dev` as a person does, for tests: its own process group, its output, its processes.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@carillon/kernel";
import { isRunning, markOf, type ProcessMark } from "@carillon/local";
import { dropDevData } from "./dev-cluster.ts";

const MAIN = join(import.meta.dirname, "..", "main.ts");
const POLL_MS = 20;

export interface DevRun {
  readonly pid: number;
  readonly output: () => string;
  /** Resolves when `text` was printed; rejects when the process ended before. */
  printed(text: string | RegExp): Promise<void>;
  readonly exited: Promise<number | null>;
  /** To the process group, as a terminal's Ctrl-C is. */
  signalGroup(signal: NodeJS.Signals): void;
  /** Every process below it that was seen so far, the ones that have ended included. */
  readonly seen: () => readonly ProcessMark[];
}

export function newDataFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "carillon-cli-"));
  return {
    path,
    remove() {
      dropDevData(path);
      rmSync(path, { recursive: true, force: true });
    },
  };
}

export function runCli(args: readonly string[]): DevRun {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
    cwd: tmpdir(),
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const pid = child.pid ?? 0;
  const seen = new Map<string, ProcessMark>();
  const hasExited = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const exited = exitOf(child);
  void (async () => {
    for (; !hasExited(); await pause()) note(pid, seen);
  })();
  return {
    pid,
    output: () => output,
    async printed(text) {
      const isThere = (): boolean =>
        typeof text === "string" ? output.includes(text) : text.test(output);
      while (!isThere()) {
        if (hasExited()) throw new Error(`ended before ${String(text)} was printed:\n${output}`);
        await pause();
      }
    },
    exited,
    signalGroup: (signal) => void process.kill(-pid, signal),
    seen: () => [...seen.values()],
  };
}

/** Polls: the ends of processes that are not our children are told by nobody. */
export async function becomes(question: () => boolean): Promise<void> {
  while (!question()) await pause(); // the test's own limit ends it
}

export function running(marks: readonly ProcessMark[]): number[] {
  return marks.filter(isRunning).map(({ pid }) => pid);
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once("close", (code) => resolve(code)));
}

function note(parent: number, seen: Map<string, ProcessMark>): void {
  for (const pid of childrenOf(parent)) {
    const mark = markOf(pid);
    if (mark !== undefined) seen.set(`${pid} ${mark.startedAt}`, mark);
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);
  } catch {
    return [];
  }
}

function pause(): Promise<void> {
  return systemClock.sleep(POLL_MS);
}
