// apps/cli/src/dev/region-process.ts
// One region node as a child process: `carillon node` with its configuration in the environment.
//   DV7  It is handed over when it has said that it is ready, and only then.
//   DV8  A terminal's Ctrl-C does not reach it (it runs in a session of its own): it is stopped in
//        the order that DevCluster chooses, and ends by itself when its IPC channel closes.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, Fault } from "@carillon/kernel";
import { isNodeReady, type NodeReady } from "../node-messages.ts";
import { rotateLog } from "./data-folder.ts";
import type { KeptProcess, ProcessExit } from "./kept.ts";
import { forgetNode, recordNode } from "./node-records.ts";

export interface RegionProcess extends KeptProcess {
  readonly ready: NodeReady;
  readonly logFile: string;
}

export interface RegionProcessOptions {
  readonly folder: string; // for the log and the record
  readonly name: string; // of the log file
  /** The whole environment: nothing of ours is inherited. */
  readonly env: Readonly<Record<string, string>>;
}

const READY_MAX_MS = 60_000; // 0.5 s as a rule; covers a loaded machine
const STOP_MAX_MS = 20_000; // above the node's own limits of its drain
const LOG_TAIL_LINES = 8;
const MAIN = join(import.meta.dirname, "..", "main.ts");

/** Throws Fault `node_start_failed` (with the end of its log) or `node_start_timeout`. DV7. */
export async function startRegionProcess(
  options: RegionProcessOptions,
  clock: Clock,
): Promise<RegionProcess> {
  const logFile = join(options.folder, `${options.name}.log`);
  rotateLog(logFile);
  const logFd = openSync(logFile, "a", 0o600);
  const child = spawn(process.execPath, [MAIN, "node"], {
    env: { ...options.env },
    stdio: ["ignore", logFd, logFd, "ipc"],
    detached: true, // DV8
  });
  closeSync(logFd);
  const exited = exitOf(child);
  const { pid } = child;
  if (pid === undefined) throw startFault("node_start_failed", options.name, logFile);
  recordNode(options.folder, pid);
  void exited.then(() => forgetNode(options.folder, pid));
  const ready = await readyOf(child, exited, clock);
  if (ready.kind !== "ready") {
    child.kill("SIGKILL");
    await exited;
    throw startFault(ready.kind, options.name, logFile);
  }
  return {
    pid,
    exited,
    ready,
    logFile,
    kill: (signal) => void child.kill(signal),
    stop: () => stop(child, exited, clock),
  };
}

function exitOf(child: ChildProcess): Promise<ProcessExit> {
  return new Promise((resolve) => {
    child.once("error", () => resolve({ code: null, signal: null })); // it could not be started
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
}

type ReadyOutcome =
  | NodeReady
  | { readonly kind: "node_start_failed" }
  | { readonly kind: "node_start_timeout" };

async function readyOf(
  child: ChildProcess,
  exited: Promise<ProcessExit>,
  clock: Clock,
): Promise<ReadyOutcome> {
  const outcome = Promise.withResolvers<ReadyOutcome>();
  const timer = clock.setTimer(READY_MAX_MS, () => outcome.resolve({ kind: "node_start_timeout" }));
  void exited.then(() => outcome.resolve({ kind: "node_start_failed" }));
  child.on("message", (message) => {
    if (isNodeReady(message)) outcome.resolve(message);
  });
  const settled = await outcome.promise;
  timer.cancel();
  return settled;
}

async function stop(child: ChildProcess, exited: Promise<ProcessExit>, clock: Clock) {
  child.kill("SIGTERM");
  child.kill("SIGCONT"); // a stopped process does not hear until it continues
  const timer = clock.setTimer(STOP_MAX_MS, () => void child.kill("SIGKILL"));
  await exited;
  timer.cancel();
}

function startFault(
  code: "node_start_failed" | "node_start_timeout",
  name: string,
  logFile: string,
): Fault {
  const tail = existsSync(logFile)
    ? readFileSync(logFile, "utf8").trim().split("\n").slice(-LOG_TAIL_LINES).join("\n")
    : "";
  const message = `the process of ${name} did not start; ${logFile} ends with:\n${tail}`;
  return new Fault(message, { code, isRetryable: true });
}
