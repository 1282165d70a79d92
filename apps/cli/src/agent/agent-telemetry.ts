// apps/cli/src/agent/agent-telemetry.ts
// What the agent sees and does, as log lines and metrics. Held peers are logged when they begin to
// be held, not with every poll.
import {
  type CandidatesBook,
  type Decision,
  type PollReport,
  reasonText,
  type ReloadReport,
  type Verdict,
} from "@carillon/cluster";
import { assertNever, type Clock } from "@carillon/kernel";
import type { Logger, Metrics } from "@carillon/telemetry";

interface Telemetry {
  readonly log: Logger;
  readonly metrics: Metrics;
}

const PEER_LINES_MAX = 20; // of one kind, of one poll

export function pollObserver({ log, metrics }: Telemetry): (report: PollReport) => void {
  return ({ region, outcome, decisions, nextDelayMs, record }) => {
    const of = outcome.kind === "found" ? "found" : outcome.reason;
    metrics.discoveryPolls.inc({ of_region: region, outcome: of });
    for (const { verdict } of decisions)
      if (verdict.kind !== "kept")
        metrics.discoveryDecisions.inc({ of_region: region, decision: verdict.kind });
    for (const kind of ["added", "moved", "held", "dropped"] as const)
      tellPeers(log, { region, kind, decisions: decisions.filter((one) => isNews(one, kind)) });
    if (outcome.kind === "failed") {
      const failuresCount = record.failing?.failuresCount ?? 0;
      const { reason, detail } = outcome;
      log.warn("discovery.poll_failed", { of: region, reason, detail, failuresCount, nextDelayMs });
      return;
    }
    const { skipped, pagesCount, candidates } = outcome;
    if (record.goodAtMs === null)
      log.warn("discovery.answer_doubted", {
        of: region,
        candidatesCount: candidates.length,
        equalCount: record.equalCount,
        reason: "the first, and empty or without this machine: believed when it came three times",
      });
    log.debug("discovery.polled", {
      of: region,
      candidatesCount: candidates.length,
      skippedCount: skipped.length,
      pagesCount,
      nextDelayMs,
    });
  };
}

/** Held peers are news when it begins. */
function isNews({ verdict }: Decision, kind: Verdict["kind"]): boolean {
  if (verdict.kind !== kind) return false;
  return verdict.kind !== "held" || verdict.missedCount === 1;
}

/** A line each, or one line for a whole region that comes or goes. */
function tellPeers(
  log: Logger,
  news: { region: string; kind: "added" | "moved" | "held" | "dropped"; decisions: Decision[] },
): void {
  const { region, kind, decisions } = news;
  const level = kind === "held" || kind === "dropped" ? "warn" : "info";
  const [first] = decisions;
  if (first !== undefined && decisions.length > PEER_LINES_MAX) {
    const reason = reasonText(first.verdict);
    log[level](`discovery.peers_${kind}`, { of: region, peersCount: decisions.length, reason });
    return;
  }
  for (const { peer, verdict } of decisions) {
    const { id, address } = peer;
    const reason = reasonText(verdict);
    log[level](`discovery.peer_${kind}`, { of: region, peer: id, address, reason });
  }
}

export function reloadObserver({ log, metrics }: Telemetry): (report: ReloadReport) => void {
  return (report) => {
    if (report.kind === "confirmed" || report.kind === "unconfirmed" || report.kind === "refused")
      metrics.natsConfUnconfirmed.set(report.kind === "unconfirmed" ? 1 : 0);
    if (report.kind !== "gateway_frozen") metrics.natsReloads.inc({ outcome: report.kind });
    switch (report.kind) {
      case "written":
        return log.info("nats_conf.written", { isServerRunning: false });
      case "confirmed":
        metrics.natsConfRefused.set(0);
        return log.info("nats_conf.reloaded");
      case "unconfirmed":
        return log.warn("nats_conf.reload_unconfirmed", {
          advice: "its monitoring does not answer: a monitorPort counts from its next start on",
        });
      case "refused":
        metrics.natsConfRefused.set(1);
        return log.error("nats_conf.reload_refused", {
          isPutBack: report.isPutBack,
          advice: "see the log of nats-server",
        });
      case "not_told":
        return log.error("nats_conf.not_told", { reason: report.reason });
      case "gateway_frozen":
        metrics.natsGatewayFrozen.set(report.isFrozen ? 1 : 0);
        return report.isFrozen
          ? log.warn("nats_conf.gateway_frozen", {
              advice: "carillon agent --render, then restart nats-server",
            })
          : log.info("nats_conf.gateway_applied");
      case "failed":
        return log.error("nats_conf.failed", { reason: report.detail });
      default:
        return assertNever(report);
    }
  };
}

const GAUGES_EVERY_MS = 1_000;

/** Candidates and ages once a second; returns what ends it. */
export function publishBook(deps: {
  readonly book: CandidatesBook;
  readonly metrics: Metrics;
  readonly clock: Clock;
}): () => void {
  const { book, metrics, clock } = deps;
  const publish = (): void => {
    timer = clock.setTimer(GAUGES_EVERY_MS, publish);
    for (const [region, { peers }] of book.records) {
      const heldCount = peers.filter(({ missedCount }) => missedCount > 0).length;
      metrics.discoveryCandidates.set({ of_region: region, state: "held" }, heldCount);
      metrics.discoveryCandidates.set(
        { of_region: region, state: "answered" },
        peers.length - heldCount,
      );
      const ageMs = book.ageMs(region);
      if (ageMs !== undefined) metrics.discoveryAge.set({ of_region: region }, ageMs / 1_000);
    }
  };
  let timer = clock.setTimer(0, publish);
  return () => timer.cancel();
}
