// packages/local/src/nats-server.ts
// One real nats-server on this machine, from the text of its configuration.
//   LO13 `startNatsServer` resolves when the server takes client connections, and only then.
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join, resolve } from "node:path";
import { Fault, systemClock } from "@carillon/kernel";
import { ServerProcess, type Exit, type StopOutcome } from "./server-process.ts";

export interface NatsServerOptions {
  readonly configText: string;
  readonly folder: string; // `<folder>/<name>/` holds configuration and log
  readonly name: string;
  /** Default: `nats-server` on PATH, then the usual places. */
  readonly binary?: string;
  readonly logFile?: string; // default `<folder>/<name>/nats-server.log`
  /** Told once, however it ends. */
  readonly onExit?: (exit: Exit) => void;
}

export interface NatsServer {
  readonly clientUrl: string;
  readonly pid: number;
  readonly logFile: string;
  readonly exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
  /** Writes the new text and sends SIGHUP. Routes, users and limits change; gateways do not. */
  reload(configText: string): void;
  /** SIGTERM; killed after 10 s. Safe to call twice. */
  stop(): Promise<StopOutcome>;
}

const START_MAX_MS = 30_000; // 30 ms as a rule
const STOP_MAX_MS = 10_000;
const POLL_MS = 10;
const CONNECT_MAX_MS = 2_000;
const LOOK_UP_MAX_MS = 10_000;

const USUAL_PLACES = [
  "nats-server", // PATH
  "/usr/sbin/nats-server", // Debian; not on every user's PATH
  "/usr/local/bin/nats-server",
  "/opt/homebrew/bin/nats-server",
];

/** Throws Fault `nats_server_missing` (says how to install), `start_failed` or `start_timeout`. */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { command } = await findNatsServer(options.binary);
  const folder = resolve(options.folder);
  const own = join(folder, options.name);
  const configPath = join(own, "nats.conf");
  mkdirSync(own, { recursive: true });
  removePortFiles(own);
  writeWhole(configPath, options.configText);
  const logFile = options.logFile ?? join(own, "nats-server.log");
  const child = await ServerProcess.spawn({
    command,
    args: ["-c", configPath, "--ports_file_dir", own],
    user: undefined,
    folder,
    place: configPath,
    logFile,
    stopSignal: "SIGTERM",
    deathSignal: "SIGKILL", // it holds no data
  });
  const clientUrl = await waitUntilReady(child, own, logFile);
  void child.exited.then((exit) => options.onExit?.(exit));
  return {
    clientUrl,
    pid: child.pid,
    logFile,
    exited: child.exited,
    kill: (signal) => child.kill(signal),
    reload(configText) {
      writeWhole(configPath, configText);
      child.kill("SIGHUP");
    },
    stop: () => child.stop(STOP_MAX_MS),
  };
}

/**
 * Finds the program, as a path where it was found by name, and its version ("2.9.10"). Throws Fault
 * `nats_server_missing`.
 */
export async function findNatsServer(
  binary?: string,
): Promise<{ command: string; version: string }> {
  for (const command of binary === undefined ? USUAL_PLACES : [binary]) {
    const version = await versionOf(command);
    if (version !== undefined) return { command: await pathOf(command), version };
  }
  const where = binary === undefined ? "on PATH" : `at ${binary}`;
  throw new Fault(
    `nats-server (2.9 or newer) was not found ${where}. Install it:\n` +
      "  Debian, Ubuntu: apt-get install nats-server\n" +
      "  macOS:          brew install nats-server\n" +
      "  other:          https://github.com/nats-io/nats-server/releases",
    { code: "nats_server_missing", isRetryable: false },
  );
}

/** The server's own PATH is the system's (server-process.ts), and may lack the folder of ours. */
function pathOf(command: string): Promise<string> {
  return new Promise((found) => {
    const options = { timeout: LOOK_UP_MAX_MS };
    execFile("/bin/sh", ["-c", 'command -v "$0"', command], options, (error, stdout) => {
      found(error === null ? stdout.trim() : command);
    });
  });
}

function versionOf(command: string): Promise<string | undefined> {
  return new Promise((found) => {
    execFile(command, ["--version"], { timeout: LOOK_UP_MAX_MS }, (error, stdout) => {
      found(error === null ? /v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1] : undefined);
    });
  });
}

async function waitUntilReady(child: ServerProcess, own: string, log: string): Promise<string> {
  const endMs = systemClock.monotonicMs() + START_MAX_MS;
  while (!child.hasExited) {
    const url = readClientUrl(own, child.pid);
    if (url !== undefined && (await greets(url))) return url;
    if (systemClock.monotonicMs() > endMs) {
      await child.stop(STOP_MAX_MS);
      throw startFault("start_timeout", log);
    }
    await systemClock.sleep(POLL_MS);
  }
  throw startFault("start_failed", log);
}

/** The server writes `nats-server_<pid>.ports` once all its listeners are open. */
function readClientUrl(own: string, pid: number): string | undefined {
  const name = portFileNames(own).find((candidate) => candidate.endsWith(`_${pid}.ports`));
  if (name === undefined) return undefined;
  try {
    const ports = JSON.parse(readFileSync(join(own, name), "utf8")) as { nats?: string[] };
    return ports.nats?.[0];
  } catch {
    return undefined; // half written: asked again
  }
}

/** A NATS server speaks first: its INFO line says that it serves. */
function greets(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((answer) => {
    const socket = createConnection({ host: hostname, port: Number(port) });
    const finish = (isServing: boolean): void => {
      socket.destroy();
      answer(isServing);
    };
    socket.setTimeout(CONNECT_MAX_MS, () => finish(false));
    socket.once("error", () => finish(false));
    socket.once("data", (data) => finish(data.subarray(0, 4).toString() === "INFO"));
  });
}

/** A reload must never read half a file; it may hold passwords. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function removePortFiles(own: string): void {
  for (const name of portFileNames(own)) rmSync(join(own, name), { force: true });
}

function portFileNames(own: string): string[] {
  return readdirSync(own).filter((name) => name.endsWith(".ports"));
}

function startFault(code: "start_failed" | "start_timeout", logFile: string): Fault {
  const tail = readFileSync(logFile, "utf8").trim().split("\n").slice(-5).join("\n");
  return new Fault(`nats-server did not start; ${logFile} ends with:\n${tail}`, {
    code,
    isRetryable: true,
  });
}
