// apps/cli/src/node-metrics.ts
// The pages of a node for whoever watches it, whatever roles it has: a worker has no other HTTP.
//   RN14 Every node has /metrics, /healthz and /readyz on a port of its own, until its roles have
//        stopped; a port that is taken ends nothing (AG6).
import { type ChildSpec, ownChild, ownClock } from "@carillon/process";
import { jsonPage, keepMetricsServed, metricsPage } from "./metrics-server.ts";
import { metricsObserver } from "./node-telemetry.ts";
import { rolesOf } from "./region-node-config.ts";
import { type Foundation, type RegionNodeDeps, stopLimits } from "./region-node-parts.ts";

export type NodePhase = "starting" | "ready" | "stopping";

export interface NodeMetricsParts {
  readonly foundation: Foundation;
  readonly phase: () => NodePhase;
  /** It is listened on there again after a restart; undefined: it has not been listened on yet. */
  readonly portBefore: () => number | undefined;
  readonly onPort: (port: number) => void;
}

export function nodeMetricsChild(deps: RegionNodeDeps, parts: NodeMetricsParts): ChildSpec {
  const { config, random, metrics } = deps;
  const log = deps.log.child("metrics");
  const advice = "free the port, or set CARILLON_NODE_METRICS_PORT; the node goes on";
  return ownChild({
    id: "metrics",
    ...stopLimits(deps),
    async start(run) {
      const observer = metricsObserver({ log, metrics, advice });
      const served = await keepMetricsServed({
        host: config.CARILLON_NODE_METRICS_HOST,
        port: parts.portBefore() ?? config.CARILLON_NODE_METRICS_PORT,
        clock: ownClock(run, deps.clock),
        random,
        onError: (cause) => log.warn("metrics.accept_failed", { reason: cause.message }),
        pages: {
          "/metrics": () => metricsPage(metrics),
          "/readyz": () => readyPage(deps, parts),
        },
        onServed(port) {
          parts.onPort(port);
          observer.onServed(port);
        },
        onFailed: (failure) => observer.onFailed(failure),
        onCrash: run.crashed,
      });
      return { stop: () => served.stop() };
    },
  });
}

/** Without NATS a node stays ready: it serves its own region's people (D5). The body says it. */
function readyPage({ config }: RegionNodeDeps, { foundation, phase }: NodeMetricsParts) {
  const status = phase();
  return jsonPage(status === "ready" ? 200 : 503, {
    status,
    roles: rolesOf(config),
    isBusConnected: foundation.bus.isConnected,
    standing: foundation.home?.standing ?? null,
  });
}
