// apps/cli/src/load/targets.ts
// Where load may go: pairs of an HTTP API and a socket endpoint of one region.
//   LD1  Only loopback addresses: a load generator pointed at somebody else's servers is a weapon.
import { readDevState } from "../dev/dev-state.ts";
import { dataFolderAt } from "../dev/data-folder.ts";

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

export type TargetsOutcome =
  | ({ readonly kind: "targets" } & LoadTargets)
  | { readonly kind: "refused"; readonly reason: string };

export interface TargetOptions {
  readonly dev: boolean;
  readonly data: string;
  readonly ingest?: readonly string[];
  readonly socket?: readonly string[];
  readonly key?: string;
}

/** LD1. Never throws. */
export function targetsOf(options: TargetOptions): TargetsOutcome {
  const found = options.dev ? ofDevCluster(options.data) : ofAddresses(options);
  if (found.kind === "refused") return found;
  for (const { ingestUrl, socketUrl } of found.targets) {
    const foreign = [ingestUrl, socketUrl].find((url) => !isLoopback(url));
    if (foreign !== undefined)
      return refused(`${foreign} is not a loopback address: load goes to this machine only`);
  }
  return found;
}

function ofDevCluster(dataFolder: string): TargetsOutcome {
  const state = readDevState(dataFolderAt(dataFolder));
  if (state === undefined)
    return refused(`no carillon dev is up in ${dataFolder}; start one, or name it with --data`);
  const targets = state.regions.map((one) => ({ ...one, name: one.region }));
  return { kind: "targets", apiKey: state.apiKey, targets };
}

function ofAddresses({ ingest = [], socket = [], key }: TargetOptions): TargetsOutcome {
  if (ingest.length === 0 || key === undefined)
    return refused("--dev, or --ingest, --socket and --key are needed");
  if (ingest.length !== socket.length)
    return refused("--ingest and --socket must name the same regions, in the same order");
  const targets = ingest.map((ingestUrl, index) => ({
    ingestUrl: ingestUrl.replace(/\/$/, ""),
    socketUrl: (socket[index] ?? "").replace(/\/$/, ""),
    name: `region ${index + 1}`,
  }));
  return { kind: "targets", apiKey: key, targets };
}

function isLoopback(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { hostname, protocol } = new URL(url);
  if (!["http:", "ws:"].includes(protocol)) return false;
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function refused(reason: string): TargetsOutcome {
  return { kind: "refused", reason };
}
