// apps/cli/src/dev/dev-command.ts
// `carillon dev`: the local cluster for people. Says what it does, shows how to use it, runs the
// demonstration, and stops everything in order.
//   DV12 SIGINT, SIGTERM and SIGHUP at any moment: everything is stopped in order, exit 0.
import { type Clock, Fault, systemClock } from "@carillon/kernel";
import { runDemo } from "../demo/demo.ts";
import { refuse } from "../refusal.ts";
import type { Terminal } from "../terminal.ts";
import { curlLines } from "./curl-lines.ts";
import { DevCluster } from "./dev-cluster.ts";
import { onStopSignal } from "./stop-signal.ts";

export interface DevCommandOptions {
  readonly dataFolder: string;
  readonly regions: readonly string[];
  readonly employeesCount: number;
  readonly isDurable: boolean;
  readonly isFresh: boolean;
  readonly hasDemo: boolean;
}

const LOOK_EVERY_MS = 60_000;
/** A client of a demonstration that went down with its cluster does not come back (default 20 s). */
const SESSION_GRACE_MS = 5_000;

/** Resolves with the exit code. */
export async function runDevCommand(
  options: DevCommandOptions,
  terminal: Terminal,
  clock: Clock = systemClock,
): Promise<number> {
  const stop = new AbortController();
  const stopped = new Promise<void>((resolve) => {
    stop.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  onStopSignal((signal) => {
    terminal.line("");
    terminal.line(`${signal}: stopping region processes, nats-servers, Postgres …`);
    stop.abort(new Fault("stopped", { code: "aborted", isRetryable: true }));
  }, clock);
  const startedAtMs = clock.monotonicMs();
  const cluster = await start(options, terminal, stop.signal);
  if (typeof cluster === "number") return cluster;
  try {
    const seconds = ((clock.monotonicMs() - startedAtMs) / 1_000).toFixed(1);
    terminal.line(`${options.regions.length} regions are up after ${seconds} s`);
    showHowTo(cluster, terminal);
    if (options.hasDemo) await demonstrate(cluster, options, { terminal, clock, stop });
    if (!stop.signal.aborted) {
      terminal.line("");
      terminal.line(`Logs and data: ${options.dataFolder}. Ctrl-C stops everything.`);
    }
    // oxlint-disable-next-line no-await-in-loop -- keeps this process alive while its parts restart
    while (!stop.signal.aborted) await Promise.race([stopped, clock.sleep(LOOK_EVERY_MS)]);
  } finally {
    await cluster.stop();
  }
  terminal.line("stopped.");
  return 0;
}

async function start(
  options: DevCommandOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<DevCluster | number> {
  const { dataFolder, regions, isDurable, isFresh } = options;
  terminal.line(`Starting ${regions.length} regions: ${regions.join(", ")}`);
  try {
    return await DevCluster.start({
      dataFolder,
      regions,
      isDurable,
      isFresh,
      nodeOptions: { CARILLON_NODE_SESSION_GRACE_MS: String(SESSION_GRACE_MS) },
      log: (line) => terminal.line(`  ${line}`),
      signal,
    });
  } catch (cause) {
    if (cause instanceof Fault && cause.code === "aborted") {
      terminal.line("stopped.");
      return 0;
    }
    const message = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof Fault ? cause.code : "failed";
    refuse({ terminal, isJson: false, command: "dev" }, { code, message });
    return 1;
  }
}

function showHowTo(cluster: DevCluster, terminal: Terminal): void {
  const regions = [...cluster.regions.values()];
  terminal.line("");
  for (const { region, ingestUrl, socketUrl } of regions)
    terminal.line(`  ${region}   HTTP ${ingestUrl}   sockets ${socketUrl}`);
  terminal.line(`  API key (tenant ${cluster.tenantId}): ${cluster.apiKey}`);
  terminal.line("");
  terminal.line("Try it: register a recipient, post a notification to it, read what became of it");
  terminal.line("");
  for (const line of curlLines(regions, cluster.apiKey)) terminal.line(line);
  terminal.line("");
}

async function demonstrate(
  cluster: DevCluster,
  { employeesCount }: DevCommandOptions,
  { terminal, clock, stop }: { terminal: Terminal; clock: Clock; stop: AbortController },
): Promise<void> {
  const { apiKey } = cluster;
  const regions = [...cluster.regions.values()];
  terminal.line("Demonstration");
  try {
    await runDemo({ regions, apiKey, employeesCount, signal: stop.signal }, { terminal, clock });
  } catch (cause) {
    if (stop.signal.aborted) return;
    const message = cause instanceof Error ? cause.message : String(cause);
    terminal.line(`The demonstration did not work: ${message}`);
    terminal.line("The regions go on running.");
  }
}
