// packages/local/src/os-process.ts
// Questions about processes of the operating system that are not our children.
// Linux answers from /proc; elsewhere `ps` does.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Which process is meant by a pid: numbers are used again, so a record holds the start as well. */
export interface ProcessMark {
  readonly pid: number;
  readonly startedAt: string; // comparable only with itself
}

/** Undefined: no such process, or a zombie, which holds nothing any more. */
export function markOf(pid: number): ProcessMark | undefined {
  const startedAt = startOf(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

export function isRunning(mark: ProcessMark): boolean {
  return startOf(mark.pid) === mark.startedAt;
}

/** Undefined: no mark; a file that holds one may have been cut short by a crash. */
export function parseMark(text: string): ProcessMark | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof ProcessMark, unknown>> | null;
    if (value === null || typeof value !== "object") return undefined;
    const { pid, startedAt } = value;
    if (!Number.isInteger(pid) || (pid as number) < 1) return undefined;
    return typeof startedAt === "string" ? { pid: pid as number, startedAt } : undefined;
  } catch {
    return undefined;
  }
}

/** The command line with spaces between arguments; undefined: no such process, or a zombie. */
export function commandLineOf(pid: number): string | undefined {
  const text =
    process.platform === "linux"
      ? readProc(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ")
      : ps(pid, "command=");
  return text?.trim() === "" ? undefined : text?.trim();
}

/** False also when the process exists but is not ours to signal. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false; // ended in the meantime, or not permitted
  }
}

const STATE_FIELD = 0; // 3rd field of proc(5)'s stat
const START_FIELD = 19; // 22nd: in clock ticks since boot

function startOf(pid: number): string | undefined {
  if (process.platform === "linux") {
    const stat = readProc(`/proc/${pid}/stat`);
    // Fields are counted behind the name, which may hold spaces and brackets.
    const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
    const isDead = fields[STATE_FIELD] === "Z" || fields[STATE_FIELD] === "X";
    return isDead ? undefined : fields[START_FIELD];
  }
  const text = ps(pid, "lstart=,state=");
  // The state may change; the start, which stands before it, does not.
  return text === undefined || / Z\S*$/.test(text) ? undefined : text.replace(/\s+\S+$/, "");
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // no such process
  }
}

function ps(pid: number, columns: string): string | undefined {
  const result = spawnSync("ps", ["-o", columns, "-p", String(pid)], { encoding: "utf8" });
  const text = result.status === 0 ? result.stdout.trim() : "";
  return text === "" ? undefined : text;
}
