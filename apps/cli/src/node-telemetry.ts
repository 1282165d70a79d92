// apps/cli/src/node-telemetry.ts
// Joins what the parts of a node tell of themselves to its log and metrics.
// What may happen per message is counted; only changes and faults are logged.
import type { BusEvent } from "@carillon/bus";
import type { MemberChange, Membership } from "@carillon/cluster";
import { CLOSE_CODES } from "@carillon/contracts";
import type { Gateway, GatewayStats } from "@carillon/gateway";
import { assertNever, type Clock, Fault } from "@carillon/kernel";
import {
  exitText,
  type ProcessRuntime,
  type Stall,
  type SupervisorReport,
} from "@carillon/process";
import type { Logger, Metrics } from "@carillon/telemetry";
import type { ListenFailure } from "./metrics-server.ts";

interface Telemetry {
  readonly log: Logger;
  readonly metrics: Metrics;
}

export function busEventObserver({ log, metrics }: Telemetry): (event: BusEvent) => void {
  const denied = new Set<string>(); // told once each: a sender may try for every message
  const astray = new Set<string>(); // no more than there are subscriptions
  const tooLarge = new Set<string>();
  return (event) => {
    metrics.busEvents.inc({
      event: event.kind === "silent" ? `${event.whose}_silent` : event.kind,
    });
    switch (event.kind) {
      case "connected":
        return log.info("bus.connected", { server: event.server });
      case "disconnected":
        return log.warn("bus.disconnected", { server: event.server, reason: event.reason });
      case "connect_failed":
        return log.warn("bus.connect_failed", { server: event.server, code: event.code });
      case "refused":
        // A beat that has grown too large is silence to all others: a person must act, told once.
        if (event.reason === "too_large" && !tooLarge.has(event.operation)) {
          tooLarge.add(event.operation);
          return log.error("bus.too_large", { operation: event.operation });
        }
        return log.debug("bus.refused", { operation: event.operation, reason: event.reason });
      case "silent":
        return log.debug("bus.silent", { whose: event.whose });
      case "reply_astray":
        if (astray.has(event.subject)) return;
        astray.add(event.subject);
        return log.error("bus.reply_astray", { subject: event.subject });
      case "publish_denied":
        if (denied.has(event.subject) || denied.size === DENIED_TOLD_MAX) return;
        denied.add(event.subject);
        return log.error("bus.publish_denied", { subject: event.subject });
      case "subscription_denied":
        return log.error("bus.subscription_denied", { subject: event.subject });
      default:
        return assertNever(event);
    }
  };
}

const DENIED_TOLD_MAX = 100;

export function memberObserver({ log, metrics }: Telemetry) {
  return (change: MemberChange, about: { memberId: string; region: string }): void => {
    metrics.memberChanges.inc({ change });
    const { memberId, region: memberRegion } = about;
    log[change === "suspect" ? "warn" : "info"](`member.${change}`, { memberId, memberRegion });
  };
}

const STATS_EVERY_MS = 1_000;
const STATES = ["alive", "draining", "suspect"] as const;

/** Once a second; returns what ends it. */
export function publishMembers(deps: {
  readonly membership: Pick<Membership, "members" | "departedCount" | "isIsolated">;
  readonly metrics: Metrics;
  readonly clock: Clock;
}): () => void {
  const { membership, metrics, clock } = deps;
  const publish = (): void => {
    timer = clock.setTimer(STATS_EVERY_MS, publish);
    const members = membership.members();
    for (const state of STATES)
      metrics.members.set({ state }, members.filter((member) => member.state === state).length);
    metrics.members.set({ state: "left" }, membership.departedCount);
    metrics.isolated.set(membership.isIsolated() ? 1 : 0);
  };
  let timer = clock.setTimer(STATS_EVERY_MS, publish);
  return () => timer.cancel();
}

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
  "connectionCrashesTotal",
  "receiptsDroppedTotal",
  "closedDroppedTotal",
] as const satisfies readonly (keyof GatewayStats)[];

/** Ours only: what a client closes with is its own affair, and no closed set. */
const CLOSES = Object.values(CLOSE_CODES);

/** What became of the supervised parts. A part is named by its supervisor and its id (bounded). */
export function supervisorObserver({ log, metrics }: Telemetry) {
  return (report: SupervisorReport): void => {
    const { supervisor, kind } = report;
    const event = `supervisor.${kind}`;
    const about = { supervisor, ...("id" in report && { child: report.id }) };
    switch (report.kind) {
      case "child_started":
        if (report.restartsCount === 0) return log.debug(event, about);
        metrics.supervisorRestarts.inc({ supervisor, child: report.id });
        return log.info("supervisor.child_restarted", {
          ...about,
          restartsCount: report.restartsCount,
        });
      case "child_exited": {
        const { exit, next } = report;
        const reason = exit.kind === "error" ? reasonOf(exit.error) : exitText(exit);
        return log.warn(event, { ...about, reason, next });
      }
      case "start_failed":
        return log.warn(event, {
          ...about,
          reason: reasonOf(report.error),
          during: report.during,
        });
      case "stop_failed":
        return log.warn(event, { ...about, reason: reasonOf(report.error) });
      case "child_killed":
        return log.warn(event, { ...about, shutdownMs: report.shutdownMs });
      case "late_start":
        return log.warn(event, about);
      case "escalated": {
        const { intensity, periodMs } = report;
        return log.error(event, { ...about, intensity, periodMs });
      }
      case "child_stopped":
      case "supervisor_exited":
        return log.debug(event, { ...about, reason: exitText(report.exit) });
      case "child_ignored":
        return log.debug(event, about);
      default:
        return assertNever(report);
    }
  };
}

/**
 * Copies gauges, and what is counted from now on, once a second; returns what ends it. A gateway that
 * begins later counts from its first on.
 */
export function publishGatewayStats(deps: {
  readonly gateway: () => Pick<Gateway, "stats"> | undefined;
  readonly metrics: Metrics;
  readonly clock: Clock;
}): () => void {
  const { metrics, clock } = deps;
  let counted = deps.gateway();
  let before = counted === undefined ? new Map<string, number>() : totalsOf(counted.stats());
  const publish = (): void => {
    timer = clock.setTimer(STATS_EVERY_MS, publish);
    const gateway = deps.gateway();
    if (gateway === undefined) return;
    if (gateway !== counted) before = new Map();
    counted = gateway;
    const stats = gateway.stats();
    metrics.sockets.set(stats.socketsCount);
    metrics.gatewaySessions.set(stats.sessionsCount);
    metrics.gatewayBufferedBytes.set(stats.waitingBytes);
    metrics.gatewayRefusedSockets.set(stats.refusedSocketsCount);
    metrics.gatewayRelieved.set(stats.isRelieved ? 1 : 0);
    metrics.gatewayReportsWaiting.set(stats.reportsWaitingCount + stats.receiptsAskedCount);
    const totals = totalsOf(stats);
    for (const [event, total] of totals)
      metrics.gatewayEvents.inc({ event }, total - (before.get(event) ?? 0));
    before = totals;
  };
  let timer = clock.setTimer(STATS_EVERY_MS, publish);
  return () => timer.cancel();
}

/** By event. */
function totalsOf(stats: GatewayStats): Map<string, number> {
  return new Map([
    ...COUNTED.map((name) => [eventOf(name), stats[name]] as const),
    ...CLOSES.map((code) => [`closed_${code}`, stats.closedTotal[code] ?? 0] as const),
  ]);
}

function eventOf(name: (typeof COUNTED)[number]): string {
  return name.slice(0, -"Total".length);
}

const OUTBOX_EVERY_MS = 5_000;

/**
 * Age of the oldest outbox row every 5 s; a store that is away leaves the last one. An empty database has
 * no outbox (HD1): nothing waits in it, and nothing has failed.
 */
export function publishOutboxAge(deps: {
  readonly outbox: { oldestAgeMs(): Promise<number | null> };
  readonly isEmpty: () => boolean;
  readonly metrics: Metrics;
  readonly clock: Clock;
}): () => void {
  const { outbox, isEmpty, metrics, clock } = deps;
  const publish = (): void => {
    const asked = isEmpty() ? Promise.resolve(null) : outbox.oldestAgeMs();
    asked.then(
      (ageMs) => metrics.outboxAge.set((ageMs ?? 0) / 1_000),
      () => metrics.failures.inc({ component: "outbox_age" }),
    );
    timer = clock.setTimer(OUTBOX_EVERY_MS, publish);
  };
  let timer = clock.setTimer(OUTBOX_EVERY_MS, publish);
  return () => timer.cancel();
}

/**
 * RN11: with the key of the process, as it is known a moment after the stall; null when it has ended
 * meanwhile. Ids may be logged (D8), and without one nobody finds the recipient.
 */
export function stallObserver({
  log,
  metrics,
  runtimes,
}: Telemetry & { readonly runtimes: () => readonly ProcessRuntime[] }) {
  return ({ culprit, blockedMs }: Stall): void => {
    metrics.eventLoopStalls.inc();
    const { kind, ...place } = culprit;
    // Not `key`: a field of that name is a secret to the log (TE1).
    const who = culprit.kind === "process" && { process: keyOf(runtimes(), culprit) };
    log.warn("node.stalled", { culprit: kind, ...place, ...who, blockedMs });
  };
}

function keyOf(
  runtimes: readonly ProcessRuntime[],
  { table, slot }: { readonly table: string; readonly slot: number },
): string | null {
  const found = runtimes.flatMap((runtime) => runtime.tables()).find(({ name }) => name === table);
  if (found === undefined) return null;
  const { key, phase } = found.inspect(slot);
  return phase === "absent" ? null : key;
}

/** AG6: a failure that stays is an error once, until it is over; its count goes on. */
export function metricsObserver({
  log,
  metrics,
  advice,
}: Telemetry & { readonly advice: string }): {
  onServed(port: number): void;
  onFailed(failure: ListenFailure): void;
} {
  let isFailing = false;
  return {
    onServed(port) {
      if (isFailing) log.info("metrics.served", { port });
      isFailing = false;
    },
    onFailed({ cause, failuresCount, nextDelayMs }) {
      metrics.failures.inc({ component: "metrics_server" });
      const about = { reason: reasonOf(cause), failuresCount, nextDelayMs };
      if (isFailing) return log.debug("metrics.not_served", about);
      isFailing = true;
      log.error("metrics.not_served", { ...about, advice });
    },
  };
}

/** A fault's code; for a bug its text and place, since that is all there is to find it by. */
export function reasonOf(cause: unknown): string {
  if (cause instanceof Fault)
    return cause.code === "listen_failed" ? `${cause.code}: ${cause.message}` : cause.code;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
