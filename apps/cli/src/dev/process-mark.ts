// apps/cli/src/dev/process-mark.ts
// Which process is meant by a pid: numbers are used again, so a record holds the start as well.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

export interface ProcessMark {
  readonly pid: number;
  readonly startedAt: string; // comparable only with itself
}

export function markOf(pid: number): ProcessMark | undefined {
  const startedAt = startOf(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** False for a zombie: it holds nothing any more. */
export function isRunning(mark: ProcessMark): boolean {
  return startOf(mark.pid) === mark.startedAt;
}

export function parseMark(text: string): ProcessMark | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof ProcessMark, unknown>> | null;
    if (value === null || typeof value !== "object") return undefined;
    const { pid, startedAt } = value;
    if (!Number.isInteger(pid) || (pid as number) < 1) return undefined;
    return typeof startedAt === "string" ? { pid: pid as number, startedAt } : undefined;
  } catch {
    return undefined; // cut short by a crash
  }
}

const STATE_FIELD = 0; // 3rd field of proc(5)'s stat, counted behind the name
const START_FIELD = 19; // 22nd: in clock ticks since boot

function startOf(pid: number): string | undefined {
  if (process.platform === "linux") {
    const stat = readProc(`/proc/${pid}/stat`);
    const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
    const isDead = fields[STATE_FIELD] === "Z" || fields[STATE_FIELD] === "X";
    return isDead ? undefined : fields[START_FIELD];
  }
  const asked = spawnSync("ps", ["-o", "lstart=,state=", "-p", String(pid)], { encoding: "utf8" });
  const text = asked.status === 0 ? asked.stdout.trim() : "";
  // The state may change; the start, which stands before it, does not.
  return text === "" || / Z\S*$/.test(text) ? undefined : text.replace(/\s+\S+$/, "");
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // no such process
  }
}
