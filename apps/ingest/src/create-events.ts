// apps/ingest/src/create-events.ts
// IngestEvents on the node's log and metrics.
import { type Clock, Fault } from "@carillon/kernel";
import type { Logger, Metrics } from "@carillon/telemetry";
import type { IngestEvents } from "./events.ts";

/** One line a second for each kind of failure at most: a database outage fails every request. */
const FAILURE_LOG_EVERY_MS = 1_000;

export function createEvents(log: Logger, metrics: Metrics, clock: Clock): IngestEvents {
  const backlogs = new Set<string>();
  const loggedAtMs = new Map<string, number>(); // by event: a closed set of our own names
  return {
    answered(route, status, durationMs) {
      metrics.httpRequests.inc({ route, status: String(status) });
      metrics.httpDuration.observe({ route }, durationMs / 1_000);
    },
    committed(itemCount, durationMs) {
      metrics.commits.inc();
      metrics.commitItems.inc(itemCount);
      metrics.commitDuration.observe(durationMs / 1_000);
    },
    accepted: (outcome) => metrics.notifications.inc({ outcome }),
    poked: (outcome, count) => metrics.pokes.inc({ outcome }, count),
    called: (outcome) => metrics.routeCalls.inc({ outcome }),
    callsOpen: (openCount) => metrics.routeCallsOpen.set({ side: "caller" }, openCount),
    relayed: (outcome, itemCount) => metrics.relayItems.inc({ outcome }, itemCount),
    linkChanged(target, state) {
      if (state === "backlog") backlogs.add(target);
      else backlogs.delete(target);
      metrics.relayBacklogs.set(backlogs.size);
      if (state === "backlog") log.warn("relay.backlog", { target });
      else log.info("relay.direct", { target });
    },
    refused(subject, reason) {
      metrics.refusedRequests.inc({ reason });
      log.warn("region_request.refused", { subject, reason });
    },
    odd(event, count) {
      metrics.oddities.inc({ event });
      log.error(event, { count });
    },
    swept({ added, dropped, held, deleted, parts, restCount, aheadSeconds }) {
      metrics.retentionParts.inc({ change: "added" }, added.length);
      metrics.retentionParts.inc({ change: "dropped" }, dropped.length);
      for (const { table, count } of parts) {
        metrics.retentionPartsKept.set({ table }, count);
        const heldCount = held.filter((part) => part.table === table).length;
        metrics.retentionPartsHeld.set({ table }, heldCount);
      }
      for (const [table, count] of Object.entries(deleted))
        metrics.retentionRows.inc({ table }, count);
      metrics.retentionRest.set(restCount);
      metrics.retentionAhead.set(aheadSeconds);
      if (added.length + dropped.length > 0)
        log.info("retention.changed", { added: added.join(" "), dropped: dropped.join(" ") });
      for (const { name, by } of held) log.warn("retention.held", { part: name, by });
    },
    failed(event, cause) {
      metrics.failures.inc({ component: "ingest" });
      const nowMs = clock.monotonicMs();
      if (nowMs - (loggedAtMs.get(event) ?? -Infinity) < FAILURE_LOG_EVERY_MS) return;
      loggedAtMs.set(event, nowMs);
      if (cause instanceof Fault) log.warn(event, { code: cause.code, reason: cause.message });
      else log.error(event, { stack: stackOf(cause) });
    },
  };
}

/** Where, not what: the message of a foreign error may hold input (D8). */
function stackOf(cause: unknown): string {
  if (!(cause instanceof Error)) return typeof cause;
  const frames = (cause.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return [cause.name, ...frames.slice(0, 8)].join("\n");
}
