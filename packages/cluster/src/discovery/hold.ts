// packages/cluster/src/discovery/hold.ts
// What a region's complete answers make of its peers: who is kept, held or dropped, and why. Pure.
//   DH1  A peer is dropped only when the last three complete answers did not have it (C3).
//   DH2  An answer that has not more than half of the known peers drops nobody, until it came three
//        times in a row, exactly so (C3). More than half missing, to be exact.
//   DH3  Three equal answers, and the peers are that answer: no peer stays for ever.
//   DH4  What an answer has is a peer at once, with the address that it has there.
//   DH5  Each decision has its reason.
// Failed polls never come here: they say nothing about anybody (DS1).
import type { Candidate } from "./source.ts";
import { sortedById } from "./source.ts";

export const ANSWERS_TO_DROP = 3;
const BIG_DROP_SHARE = 0.5;

export interface Peer extends Candidate {
  /** Successive complete answers without it. */
  readonly missedCount: number;
}

/** What is known of a region. Plain data: it stands in the agent's file. */
export interface RegionPeers {
  readonly peers: readonly Peer[]; // sorted by id
  /** The last complete answer, and how often it came in a row; 0: none yet. */
  readonly answer: readonly string[];
  readonly equalCount: number;
}

export type Verdict =
  | { readonly kind: "kept" }
  | { readonly kind: "added" }
  | { readonly kind: "moved"; readonly from: string } // another address than before
  | { readonly kind: "held"; readonly reason: "missed"; readonly missedCount: number }
  | {
      readonly kind: "held";
      readonly reason: "big_drop"; // DH2
      readonly missedCount: number;
      readonly missingCount: number;
      readonly knownCount: number;
      readonly equalCount: number;
    }
  | { readonly kind: "dropped"; readonly missedCount: number };

export interface Decision {
  readonly peer: Candidate;
  readonly verdict: Verdict;
}

export const NO_PEERS: RegionPeers = { peers: [], answer: [], equalCount: 0 };

/** The answers of an earlier run are too old to count on: only its peers are taken over. */
export function resumed(known: RegionPeers): RegionPeers {
  return { ...NO_PEERS, peers: known.peers.map((peer) => ({ ...peer, missedCount: 0 })) };
}

/** What a complete answer makes of it. `answer` is sorted by id, each once (DS2). */
export function observe(
  known: RegionPeers,
  answer: readonly Candidate[],
): { readonly next: RegionPeers; readonly decisions: readonly Decision[] } {
  const marks = answer.map(({ id, address }) => `${id} ${address}`);
  const isEqual = known.equalCount > 0 && marks.join("\n") === known.answer.join("\n");
  const equalCount = isEqual ? known.equalCount + 1 : 1;
  const answered = new Map(answer.map((candidate) => [candidate.id, candidate]));
  const before = new Map(known.peers.map((peer) => [peer.id, peer]));
  const missing = known.peers.filter(({ id }) => !answered.has(id));
  const knownCount = known.peers.length;
  const missingCount = missing.length;
  const isHeld = missingCount > knownCount * BIG_DROP_SHARE && equalCount < ANSWERS_TO_DROP; // DH2

  const decide = ({ missedCount: missedBefore }: Peer): Verdict => {
    const missedCount = missedBefore + 1;
    if (isHeld)
      return {
        kind: "held",
        reason: "big_drop",
        missedCount,
        missingCount,
        knownCount,
        equalCount,
      };
    return missedCount >= ANSWERS_TO_DROP
      ? { kind: "dropped", missedCount }
      : { kind: "held", reason: "missed", missedCount };
  };
  const gone = missing.map((peer) => ({ peer: candidateOf(peer), verdict: decide(peer) }));
  const here = answer.map((peer) => ({ peer, verdict: welcome(peer, before.get(peer.id)) }));
  const stay = gone.flatMap(({ peer, verdict }) =>
    verdict.kind === "held" ? [{ ...peer, missedCount: verdict.missedCount }] : [],
  );
  const peers = sortedById([...stay, ...answer.map((peer) => ({ ...peer, missedCount: 0 }))]);
  const decisions = [...here, ...gone].toSorted((a, b) => (a.peer.id < b.peer.id ? -1 : 1));
  return { next: { peers, answer: marks, equalCount }, decisions };
}

function welcome(peer: Candidate, before: Candidate | undefined): Verdict {
  if (before === undefined) return { kind: "added" };
  return before.address === peer.address
    ? { kind: "kept" }
    : { kind: "moved", from: before.address };
}

function candidateOf({ id, address, zone }: Peer): Candidate {
  return zone === undefined ? { id, address } : { id, address, zone };
}

/** The reason in words, for logs and operators (DH5). */
export function reasonText(verdict: Verdict): string {
  switch (verdict.kind) {
    case "kept":
      return "answered";
    case "added":
      return "answered, and new";
    case "moved":
      return `answered, with another address than ${verdict.from}`;
    case "dropped":
      return `not in the last ${verdict.missedCount} complete answers`;
    case "held":
      return verdict.reason === "missed"
        ? `not in ${verdict.missedCount} of ${ANSWERS_TO_DROP} complete answers in a row`
        : `the answer lacks ${verdict.missingCount} of ${verdict.knownCount} peers; believed when it came ` +
            `${ANSWERS_TO_DROP} times in a row, now ${verdict.equalCount}`;
  }
}
