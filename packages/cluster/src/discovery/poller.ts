// packages/cluster/src/discovery/poller.ts
// Asks one region's source again and again, for ever, and keeps its record in the book.
//   DP1  A failed poll changes the record's `failing` and nothing else of it (C2).
//   DP2  One poll at a time; the next is armed when it has ended: 30 s ± 50 %, twice as long after
//        each failure in a row, never above 5 min (C4). Throttling counts as a failure.
//   DP3  A region that has peers from an earlier run is asked some time within the first interval,
//        so that machines that start together do not ask together; one that has none, at once.
//   DP5  A region's first answer that is empty, or that lacks this machine's own address, is believed
//        (`goodAtMs`) when it came three times in a row: nothing is undone for it before (NK5).
//   DP4  After `stop` nothing is asked and nothing is put.
import { backoffDelayMs, type Clock, type Random, type Timer } from "@carillon/kernel";
import type { CandidatesBook } from "./candidates-book.ts";
import type { RegionRecord } from "./candidates-file.ts";
import { ANSWERS_TO_DROP, type Decision, observe } from "./hold.ts";
import {
  type Candidate,
  type DiscoverySource,
  FIND_MAX_MS,
  findWithin,
  type FindOutcome,
} from "./source.ts";

export interface PollerDeps {
  readonly source: DiscoverySource;
  readonly book: CandidatesBook;
  readonly clock: Clock;
  readonly random: Random;
  readonly pollEveryMs?: number; // default 30,000
  readonly findMaxMs?: number; // default FIND_MAX_MS
  /** This machine's, where it must be among the answers (DP5); undefined: not known, or elsewhere. */
  readonly ownAddress?: () => string | undefined;
  /** After the book has it. */
  readonly onPoll?: (report: PollReport) => void;
  /** A bug: something that was told of a poll threw. The next poll is armed by then. */
  readonly onCrash: (cause: unknown) => void;
}

export interface PollReport {
  readonly region: string;
  readonly outcome: FindOutcome;
  readonly decisions: readonly Decision[]; // none after a failure
  readonly nextDelayMs: number;
  readonly record: RegionRecord;
}

export interface Poller {
  start(): void;
  /** Ends a poll under way, too. Safe to call twice. */
  stop(): void;
}

export const POLL_EVERY_MS = 30_000;
const POLL_DELAY_MAX_MS = 300_000;
const JITTER_SHARE = 0.5;
/** What the jitter is around stops below the limit: clipped after it, half of all would be equal. */
const PLAIN_DELAY_MAX_MS = POLL_DELAY_MAX_MS / (1 + JITTER_SHARE);

/** C4. */
export function pollDelayMs(
  { pollEveryMs, failuresCount }: { pollEveryMs: number; failuresCount: number },
  random: Random,
): number {
  const options = {
    baseMs: pollEveryMs,
    factor: 2,
    maxMs: PLAIN_DELAY_MAX_MS,
    jitterShare: JITTER_SHARE,
  };
  return backoffDelayMs(options, failuresCount + 1, random);
}

export function createPoller(deps: PollerDeps): Poller {
  const { source, book, clock, random, pollEveryMs = POLL_EVERY_MS } = deps;
  const { findMaxMs: maxMs = FIND_MAX_MS } = deps;
  const { region } = source;
  const aborter = new AbortController();
  let phase: "idle" | "running" | "stopped" = "idle";
  let timer: Timer | undefined;

  const poll = async (): Promise<void> => {
    const outcome = await findWithin(source, { clock, maxMs, signal: aborter.signal });
    if (phase !== "running") return; // DP4
    const { record, decisions } = recordAfter(book.get(region), outcome, {
      nowMs: clock.wallClockMs(),
      ownAddress: deps.ownAddress?.(),
    });
    const failuresCount = record.failing?.failuresCount ?? 0;
    const nextDelayMs = pollDelayMs({ pollEveryMs, failuresCount }, random);
    timer = clock.setTimer(nextDelayMs, begin); // armed first: an observer that throws stops no poll
    book.put(region, record);
    deps.onPoll?.({ region, outcome, decisions, nextDelayMs, record });
  };
  const begin = (): void => void poll().catch(deps.onCrash);

  return {
    start() {
      if (phase !== "idle") return;
      phase = "running";
      const isKnown = book.get(region).peers.length > 0;
      timer = clock.setTimer(isKnown ? random.next() * pollEveryMs : 0, begin); // DP3
    },
    stop() {
      phase = "stopped";
      timer?.cancel();
      aborter.abort();
    },
  };
}

/** What a poll makes of a region's record (DP1, DP5). Pure. */
export function recordAfter(
  record: RegionRecord,
  outcome: FindOutcome,
  { nowMs, ownAddress }: { nowMs: number; ownAddress?: string | undefined },
): { readonly record: RegionRecord; readonly decisions: readonly Decision[] } {
  if (outcome.kind === "found") {
    const { next, decisions } = observe(record, outcome.candidates);
    const isDoubtful = record.goodAtMs === null && isStrange(outcome.candidates, ownAddress);
    const isBelieved = !isDoubtful || next.equalCount >= ANSWERS_TO_DROP; // DP5
    const goodAtMs = isBelieved ? nowMs : null;
    return { record: { ...next, goodAtMs, failing: null }, decisions };
  }
  const { reason, detail } = outcome;
  const failing = {
    reason,
    detail,
    failuresCount: (record.failing?.failuresCount ?? 0) + 1,
    sinceMs: record.failing?.sinceMs ?? nowMs,
  };
  return { record: { ...record, failing }, decisions: [] };
}

function isStrange(candidates: readonly Candidate[], ownAddress: string | undefined): boolean {
  if (candidates.length === 0) return true;
  return ownAddress !== undefined && !candidates.some(({ address }) => address === ownAddress);
}
