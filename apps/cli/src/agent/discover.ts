// apps/cli/src/agent/discover.ts
// Looks at discovery from outside of the agent: its file, and one poll of its own.
//   DI1  What the agent would do with such an answer now, from the counts on disk; nothing is written.
//   DI4  Where the agent's file, or the region's record in it, cannot be used or read, what the agent
//        would do is unknown, and said so: such a file is not an empty one.
//   DI2  A region that does not answer shows its last good answer, its age, and the error.
import {
  type DiscoverySource,
  findWithin,
  type FindOutcome,
  readCandidatesFile,
  reasonText,
  recordAfter,
  type RegionRecord,
} from "@carillon/cluster";
import type { Clock } from "@carillon/kernel";
import type { AgentConfig, AgentRegion } from "./agent-config.ts";

export interface PeerView {
  readonly id: string;
  readonly address: string | null;
  /** `answered`: nobody knows what the agent would do with it (DI4). */
  readonly decision: "kept" | "added" | "moved" | "held" | "dropped" | "skipped" | "answered";
  readonly reason: string;
}

export interface RegionView {
  readonly region: string;
  readonly awsRegion: string | undefined;
  readonly outcome:
    | { readonly kind: "found"; readonly pagesCount: number; readonly tookMs: number }
    | { readonly kind: "failed"; readonly reason: string; readonly detail: string }
    | { readonly kind: "not_asked" };
  /** False: what the agent has on disk of it is of no use (DI4). */
  readonly isStateUsable: boolean;
  /** Of the last complete answer on disk; null: none. */
  readonly ageMs: number | null;
  /** What the agent's own polls end with since then. */
  readonly agentFailing: RegionRecord["failing"];
  readonly peers: readonly PeerView[];
}

export interface DiscoverDeps {
  readonly config: AgentConfig;
  readonly regions: readonly AgentRegion[];
  /** Undefined: what is on disk only. */
  readonly sourceOf: ((region: AgentRegion) => DiscoverySource) | undefined;
  readonly clock: Clock;
}

export interface Discovered {
  readonly views: readonly RegionView[];
  /** Why the agent's file was of no use; undefined: it was, or there is none. */
  readonly stateProblem: string | undefined;
}

const NOTHING: RegionRecord = {
  peers: [],
  answer: [],
  equalCount: 0,
  goodAtMs: null,
  failing: null,
};

/** Never rejects. All regions at once. */
export async function discover(deps: DiscoverDeps): Promise<Discovered> {
  const { config, regions, sourceOf, clock } = deps;
  const { CARILLON_AGENT_STATE_FILE: path, CARILLON_AGENT_CLUSTER: cluster } = config.settings;
  const state = await readCandidatesFile(path, cluster);
  const broken = state.kind === "read" ? [...state.unusable] : [];
  const stateProblem =
    state.kind === "unusable"
      ? `${path} ${state.problem}`
      : broken.length > 0
        ? `${path} has no whole record of ${broken.join(", ")}`
        : undefined;
  const views = regions.map(async (one): Promise<RegionView> => {
    const record = (state.kind === "read" ? state.records.get(one.region) : undefined) ?? NOTHING;
    const isStateUsable = state.kind !== "unusable" && !broken.includes(one.region);
    const beganAtMs = clock.monotonicMs();
    const outcome = sourceOf === undefined ? undefined : await findWithin(sourceOf(one), { clock });
    const tookMs = clock.monotonicMs() - beganAtMs;
    const ageMs =
      record.goodAtMs === null ? null : Math.max(0, clock.wallClockMs() - record.goodAtMs);
    return {
      ...one,
      outcome: summaryOf(outcome, tookMs),
      isStateUsable,
      ageMs,
      agentFailing: record.failing,
      peers: isStateUsable ? peersOf(record, outcome) : answeredOf(outcome),
    };
  });
  return { views: await Promise.all(views), stateProblem };
}

function summaryOf(outcome: FindOutcome | undefined, tookMs: number): RegionView["outcome"] {
  if (outcome === undefined) return { kind: "not_asked" };
  if (outcome.kind === "failed") return outcome;
  return { kind: "found", pagesCount: outcome.pagesCount, tookMs };
}

function peersOf(record: RegionRecord, outcome: FindOutcome | undefined): PeerView[] {
  if (outcome?.kind !== "found") return record.peers.map(onDisk); // DI2
  const { decisions } = recordAfter(record, outcome, { nowMs: 0 }); // DI1
  const seen = decisions.map(({ peer: { id, address }, verdict }) => ({
    id,
    address,
    decision: verdict.kind,
    reason: reasonText(verdict),
  }));
  return [...seen, ...skippedOf(outcome)].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** DI4. */
function answeredOf(outcome: FindOutcome | undefined): PeerView[] {
  if (outcome?.kind !== "found") return [];
  const seen = outcome.candidates.map(({ id, address }): PeerView => ({
    id,
    address,
    decision: "answered",
    reason: "what the agent would do is unknown",
  }));
  return [...seen, ...skippedOf(outcome)].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function skippedOf({ skipped }: Extract<FindOutcome, { kind: "found" }>): PeerView[] {
  return skipped.map(({ id, reason }) => ({
    id,
    address: null,
    decision: "skipped",
    reason: reason === "other_role" ? "its carillon:role is another" : "has no such address",
  }));
}

function onDisk({ id, address, missedCount }: RegionRecord["peers"][number]): PeerView {
  return missedCount === 0
    ? { id, address, decision: "kept", reason: "of the last complete answer" }
    : { id, address, decision: "held", reason: `not in the last ${missedCount} complete answers` };
}
