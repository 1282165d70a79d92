// packages/local/src/os-process.ts
// Questions about processes of the operating system that are not our children.
// Linux answers from /proc; elsewhere `ps` does.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** The command line with spaces between arguments; undefined: no such process, or a zombie. */
export function commandLineOf(pid: number): string | undefined {
  const text =
    process.platform === "linux"
      ? readProc(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ")
      : ps(pid, "command=");
  return text?.trim() === "" ? undefined : text?.trim();
}

/** Differs between two processes that had the same pid one after the other. */
export function startMarkOf(pid: number): string | undefined {
  if (process.platform !== "linux") return ps(pid, "lstart=");
  const stat = readProc(`/proc/${pid}/stat`);
  // Field 22 (proc(5)); fields are counted behind the name, which may hold spaces and brackets.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

/** False also when the process exists but is not ours to signal. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false; // ended in the meantime, or not permitted
  }
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // no such process
  }
}

function ps(pid: number, column: string): string | undefined {
  const result = spawnSync("ps", ["-o", column, "-p", String(pid)], { encoding: "utf8" });
  const text = result.status === 0 ? result.stdout.trim() : "";
  return text === "" ? undefined : text;
}
