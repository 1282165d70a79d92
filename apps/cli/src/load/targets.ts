// apps/cli/src/load/targets.ts
// Where load may go: pairs of an HTTP API and a socket endpoint of one region.
//   LD1  Only loopback addresses: a load generator pointed at somebody else's servers is a weapon.
import { readDevState } from "../dev/dev-state.ts";
import { dataFolderAt } from "../dev/data-folder.ts";
import { UsageError } from "../refusal.ts";

export interface LoadTarget {
  readonly ingestUrl: string;
  readonly socketUrl: string;
  /** For people; the region's own name when it is known. */
  readonly name: string;
}

export interface LoadTargets {
  readonly apiKey: string;
  readonly targets: readonly LoadTarget[];
}

export interface TargetOptions {
  readonly dev: boolean;
  readonly data: string;
  readonly ingest?: readonly string[];
  readonly socket?: readonly string[];
  readonly key?: string;
}

const SCHEMES = { "--ingest": "http", "--socket": "ws" } as const;

/** LD1. Throws UsageError. */
export function targetsOf(options: TargetOptions): LoadTargets {
  const found = options.dev ? ofDevCluster(options) : ofAddresses(options);
  for (const { ingestUrl, socketUrl } of found.targets)
    for (const [field, url] of [
      ["--ingest", ingestUrl],
      ["--socket", socketUrl],
    ] as const)
      if (!isLoopback(url, SCHEMES[field]))
        throw new UsageError(field, "is no address of this machine, where alone load goes", [
          `an address such as ${SCHEMES[field]}://127.0.0.1:8080`,
        ]);
  return found;
}

function ofDevCluster({ data, ...others }: TargetOptions): LoadTargets {
  for (const name of ["ingest", "socket", "key"] as const)
    if (others[name] !== undefined)
      throw new UsageError(`--${name}`, "contradicts --dev, which knows it", ["--dev alone"]);
  const state = readDevState(dataFolderAt(data));
  if (state === undefined)
    throw new UsageError("--data", `names ${data}, where no carillon dev is up`, [
      "the folder of a carillon dev that is up",
    ]);
  const targets = state.regions.map((one) => ({ ...one, name: one.region }));
  return { apiKey: state.apiKey, targets };
}

function ofAddresses({ ingest = [], socket = [], key }: TargetOptions): LoadTargets {
  if (ingest.length === 0 || key === undefined)
    throw new UsageError(ingest.length === 0 ? "--ingest" : "--key", "is missing", [
      "--dev",
      "instead --ingest, --socket and --key",
    ]);
  if (ingest.length !== socket.length)
    throw new UsageError("--socket", "names not as many regions as --ingest", [
      "the same regions, in the same order",
    ]);
  const targets = ingest.map((ingestUrl, index) => ({
    ingestUrl: ingestUrl.replace(/\/$/, ""),
    socketUrl: (socket[index] ?? "").replace(/\/$/, ""),
    name: `region ${index + 1}`,
  }));
  return { apiKey: key, targets };
}

function isLoopback(url: string, scheme: "http" | "ws"): boolean {
  if (!URL.canParse(url)) return false;
  const { hostname, protocol } = new URL(url);
  if (protocol !== `${scheme}:`) return false;
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
