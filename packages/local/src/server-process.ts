// packages/local/src/server-process.ts
// A child process that is a server: logs to a file, is recorded for reaping, dies with us.
//   LO3  When this process ends unexpectedly, its servers are told to end (Linux with setpriv;
//        elsewhere reapLeftovers ends them at the next start).
//   LO4  A terminal's Ctrl-C does not reach the servers: they run in a session of their own and are
//        stopped in the order that the owner chooses.
//   LO5  `stop` is bounded: asks, then insists, then kills.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { closeSync, openSync, renameSync, statSync } from "node:fs";
import { Fault, systemClock } from "@carillon/kernel";
import { forgetPid, recordPid } from "./leftovers.ts";

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** False: nobody called `stop` or `kill`. */
  readonly isExpected: boolean;
}

export type StopOutcome = "stopped" | "killed" | "already_exited";

export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

export interface ServerProcessOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly user: ServerUser | undefined; // undefined: run as ourselves
  readonly folder: string; // where the pid is recorded
  readonly place: string; // a path that the arguments name, unique to this server
  readonly logFile: string;
  readonly stopSignal: "SIGINT" | "SIGTERM";
  readonly deathSignal: "SIGINT" | "SIGKILL"; // what it gets when we end unexpectedly (LO3)
}

/** A log that has grown beyond this is moved to `.1` at the next start: two files at most. */
const LOG_MAX_BYTES = 16 * 2 ** 20;

export class ServerProcess {
  readonly pid: number;
  /** Resolves when the process has ended; rejects never. */
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #stopSignal: NodeJS.Signals;
  #isExpectedToExit = false;
  #hasExited = false;

  private constructor(child: ChildProcess, pid: number, options: ServerProcessOptions) {
    this.#child = child;
    this.pid = pid;
    this.#stopSignal = options.stopSignal;
    recordPid(options.folder, { pid, place: options.place, stopSignal: options.stopSignal });
    this.exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.#hasExited = true;
        forgetPid(options.folder, pid);
        resolve({ code, signal, isExpected: this.#isExpectedToExit });
      });
    });
  }

  /** Throws Fault `spawn_failed` when the program cannot be run at all. */
  static async spawn(options: ServerProcessOptions): Promise<ServerProcess> {
    rotate(options.logFile);
    const logFd = openSync(options.logFile, "a", 0o600);
    const { command, args, spawnUser } = withDeathSignal(options);
    const child = spawn(command, args, {
      ...spawnUser,
      cwd: "/", // our own working directory may be unreachable for the server's user
      env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", LC_ALL: "C", TZ: "UTC" },
      stdio: ["ignore", logFd, logFd],
      detached: true, // LO4
    });
    closeSync(logFd);
    const { pid } = child;
    if (pid !== undefined) return new ServerProcess(child, pid, options);
    const cause = await new Promise<unknown>((resolve) => child.once("error", resolve));
    const message = `cannot run ${options.command}`;
    throw new Fault(message, { code: "spawn_failed", isRetryable: false, cause });
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  kill(signal: NodeJS.Signals): void {
    if (signal !== "SIGSTOP" && signal !== "SIGCONT" && signal !== "SIGHUP")
      this.#isExpectedToExit = true;
    this.#child.kill(signal);
  }

  /** LO5. Safe to call twice. Waits `askMaxMs` for the server's own shutdown, then kills it. */
  async stop(askMaxMs: number): Promise<StopOutcome> {
    if (this.#hasExited) return "already_exited";
    this.kill(this.#stopSignal);
    this.kill("SIGCONT"); // a stopped process does not hear until it continues
    if (await this.exitsWithin(askMaxMs)) return "stopped";
    this.kill("SIGKILL");
    await this.exited;
    return "killed";
  }

  async exitsWithin(maxMs: number): Promise<boolean> {
    let cancel = (): void => undefined;
    const timedOut = new Promise<void>((resolve) => {
      const timer = systemClock.setTimer(maxMs, resolve);
      cancel = () => timer.cancel();
    });
    await Promise.race([this.exited, timedOut]);
    cancel();
    return this.#hasExited;
  }
}

function withDeathSignal(options: ServerProcessOptions): {
  command: string;
  args: string[];
  spawnUser: Partial<ServerUser>;
} {
  const { user, command, args } = options;
  if (!canSetDeathSignal()) return { command, args: [...args], spawnUser: { ...user } };
  // The kernel clears the death signal when the user changes: setpriv must do both, in its order.
  const become = user ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"] : [];
  const signal = options.deathSignal.slice("SIG".length);
  return {
    command: "setpriv",
    args: [...become, `--pdeathsig=${signal}`, "--", command, ...args],
    spawnUser: {},
  };
}

function canSetDeathSignal(): boolean {
  if (process.platform !== "linux") return false;
  return spawnSync("setpriv", ["--pdeathsig=INT", "--", "true"]).status === 0;
}

function rotate(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_MAX_BYTES) renameSync(path, `${path}.1`);
}
