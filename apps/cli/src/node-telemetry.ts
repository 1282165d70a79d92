// apps/cli/src/node-telemetry.ts
// Joins what the parts of a node tell of themselves to its log and metrics.
// What may happen per message is counted; only changes and faults are logged.
import type { BusEvent } from "@carillon/bus";
import type { Gateway, GatewayStats } from "@carillon/gateway";
import { assertNever, type Clock, Fault } from "@carillon/kernel";
import type { Logger, Metrics } from "@carillon/telemetry";

interface Telemetry {
  readonly log: Logger;
  readonly metrics: Metrics;
}

export function busEventObserver({ log, metrics }: Telemetry): (event: BusEvent) => void {
  return (event) => {
    metrics.busEvents.inc({ event: event.kind });
    switch (event.kind) {
      case "connected":
        return log.info("bus.connected", { server: event.server });
      case "disconnected":
        return log.warn("bus.disconnected", { server: event.server, reason: event.reason });
      case "connect_failed":
        return log.warn("bus.connect_failed", { server: event.server, code: event.code });
      case "refused":
        return log.debug("bus.refused", { operation: event.operation, reason: event.reason });
      case "subscription_denied":
        return log.error("bus.subscription_denied", { subject: event.subject });
      default:
        return assertNever(event);
    }
  };
}

const STATS_EVERY_MS = 1_000;
const COUNTED = [
  "acceptedTotal",
  "refusedTotal",
  "writtenTotal",
  "openRequestsTotal",
  "resyncsTotal",
  "strayDeliveriesTotal",
  "heldTotal",
  "malformedTotal",
  "crashesTotal",
  "receiptsDroppedTotal",
] as const satisfies readonly (keyof GatewayStats)[];

/** Copies gauges and counts once a second; returns what ends it. */
export function publishGatewayStats(deps: {
  readonly gateway: Gateway;
  readonly metrics: Metrics;
  readonly clock: Clock;
}): () => void {
  const { gateway, metrics, clock } = deps;
  const before = new Map<string, number>();
  const publish = (): void => {
    timer = clock.setTimer(STATS_EVERY_MS, publish);
    const stats = gateway.stats();
    metrics.sockets.set(stats.socketsCount);
    metrics.gatewaySessions.set(stats.sessionsCount);
    for (const name of COUNTED) {
      const event = name.slice(0, -"Total".length);
      metrics.gatewayEvents.inc({ event }, stats[name] - (before.get(name) ?? 0));
      before.set(name, stats[name]);
    }
  };
  let timer = clock.setTimer(STATS_EVERY_MS, publish);
  return () => timer.cancel();
}

/** A fault's code; for a bug its text and place, since that is all there is to find it by. */
export function reasonOf(cause: unknown): string {
  if (cause instanceof Fault) return cause.code;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
