// packages/cluster/src/discovery/nats-server-handle.ts
// The nats-server of this machine, as the agent sees it: by its pid file and its monitoring port.
//   NH1  A signal goes only to a process that is a nats-server now: a pid file outlives its server,
//        its number is given again, and SIGHUP ends what does not expect it.
//   NH2  Every question has a limit; no answer is `undefined`.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { Clock } from "@carillon/kernel";
import { fieldOf } from "./file-source.ts";

/** One run of the server: another start has another one, even with the same pid. */
export interface ServerRun {
  readonly pid: number;
  readonly mark: string;
}

export interface NatsServerHandle {
  /** Undefined: it does not run. */
  find(): Promise<ServerRun | undefined>;
  /** SIGHUP. Gone: that run has ended. Denied: it belongs to another user. */
  hangUp(run: ServerRun): Promise<"told" | "gone" | "denied">;
  /** When it last took its configuration, by the wall clock; undefined: it does not answer. */
  loadedAtMs(): Promise<number | undefined>;
}

export interface NatsServerHandleOptions {
  readonly pidFile: string;
  /**
   * http://host:port of its monitoring. Nothing else tells whether a reload was taken: neither the
   * greeting on its client port nor anything of its process shows it, and its log is not ours.
   */
  readonly monitorUrl: string;
  readonly clock: Clock;
}

const MONITOR_MAX_MS = 2_000;
const PROGRAM = /^nats-server/;

export function createNatsServerHandle(options: NatsServerHandleOptions): NatsServerHandle {
  const { pidFile } = options;
  const find = async (): Promise<ServerRun | undefined> => {
    const text = await textOf(pidFile);
    const pid = /^\s*(\d{1,10})\s*$/.exec(text ?? "")?.[1];
    return pid === undefined ? undefined : runOf(Number(pid));
  };
  return {
    find,
    async hangUp({ pid, mark }) {
      const run = await runOf(pid);
      if (run?.mark !== mark) return "gone";
      try {
        process.kill(pid, "SIGHUP");
        return "told";
      } catch (cause) {
        return cause instanceof Error && "code" in cause && cause.code === "EPERM"
          ? "denied"
          : "gone"; // it ended in between
      }
    },
    loadedAtMs: () => loadedAtMs(options),
  };
}

/** NH1. Without /proc (macOS) a process with that pid is all that can be known. */
async function runOf(pid: number): Promise<ServerRun | undefined> {
  if (pid <= 1) return undefined;
  const [commandLine, stat] = await Promise.all([
    textOf(`/proc/${pid}/cmdline`),
    textOf(`/proc/${pid}/stat`),
  ]);
  if (commandLine === undefined || stat === undefined)
    return process.platform === "linux" || !exists(pid) ? undefined : { pid, mark: "" };
  const program = basename(commandLine.split("\0")[0] ?? "");
  if (!PROGRAM.test(program)) return undefined;
  // After the name in parentheses, which may hold anything: field 22 is the time of its start.
  const startedAt = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return { pid, mark: `${pid}@${startedAt}` };
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function loadedAtMs(options: NatsServerHandleOptions): Promise<number | undefined> {
  const { monitorUrl, clock } = options;
  const aborter = new AbortController();
  const timer = clock.setTimer(MONITOR_MAX_MS, () => aborter.abort());
  try {
    const answer = await fetch(`${monitorUrl}/varz`, { signal: aborter.signal });
    const loaded = fieldOf(await answer.json(), "config_load_time");
    const atMs = typeof loaded === "string" ? Date.parse(loaded) : Number.NaN;
    return Number.isNaN(atMs) ? undefined : atMs;
  } catch {
    return undefined; // NH2: it starts, it stops, or there is none; the caller says so
  } finally {
    timer.cancel();
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return undefined; // no such process, no such file: it does not run
  }
}
