// packages/cluster/src/member-table.ts
// What is known of the other members, and what silence makes of them. Pure; time is passed in.
//   CL5  Silence makes a member suspect (phi-accrual), told once; it is alive again when it speaks.
//   CL12 An incarnation that has left never comes back: what it still says is ignored. One that slept
//        for a quarter of an hour is dead, and its node begins a new one before it says a word.
// Silence alone proves nothing, since a link may be down: a suspect is forgotten after a quarter of an
// hour, and welcome when it speaks.
import type { Beat } from "@carillon/contracts";
import { PHI_THRESHOLD, PhiDetector } from "./phi-detector.ts";

export type MemberState = "alive" | "draining" | "suspect";

export interface Member extends Beat {
  readonly state: MemberState;
  readonly phi: number;
  readonly silentMs: number;
  /** Since its first beat, or since it was suspect last. */
  readonly aliveForMs: number;
}

export interface MemberTableOptions {
  readonly region: string;
  readonly expectedMs: number;
  readonly expectedRemoteMs: number;
  readonly pauseMs: number;
  readonly pauseRemoteMs: number;
  readonly forgetAfterMs: number;
  readonly departedMax: number;
}

/** What became of a beat. */
export type Heard = "known" | "joined" | "returned" | "left" | "departed";

interface Entry {
  beat: Beat;
  readonly detector: PhiDetector;
  isSuspect: boolean;
  aliveSinceMs: number;
}

export class MemberTable {
  readonly #options: MemberTableOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #departed = new Set<string>();

  constructor(options: MemberTableOptions) {
    this.#options = options;
  }

  hear(beat: Beat, nowMs: number): Heard {
    const { memberId } = beat;
    if (this.#departed.has(memberId)) return "departed"; // CL12
    if (beat.hasLeft === true) {
      this.#depart(memberId);
      return "left";
    }
    const known = this.#entries.get(memberId);
    if (known === undefined) {
      const detector = new PhiDetector(this.#phiOptions(beat.region), nowMs);
      this.#entries.set(memberId, { beat, detector, isSuspect: false, aliveSinceMs: nowMs });
      return "joined";
    }
    known.beat = beat;
    known.detector.hear(nowMs);
    if (!known.isSuspect) return "known";
    known.isSuspect = false;
    known.aliveSinceMs = nowMs;
    return "returned";
  }

  /** Those that became suspect by now (CL5), and those that were so for too long. */
  judge(nowMs: number): { readonly suspects: Member[]; readonly forgotten: Member[] } {
    const suspects: Member[] = [];
    const forgotten: Member[] = [];
    for (const [memberId, entry] of this.#entries) {
      if (!entry.isSuspect && entry.detector.isSuspect(nowMs)) {
        entry.isSuspect = true;
        suspects.push(memberOf(entry, nowMs));
      }
      if (!entry.isSuspect || entry.detector.silenceMs(nowMs) < this.#options.forgetAfterMs)
        continue;
      forgotten.push(memberOf(entry, nowMs));
      this.#entries.delete(memberId);
    }
    return { suspects, forgotten };
  }

  isAlive(memberId: string): boolean {
    return this.#entries.get(memberId)?.isSuspect === false;
  }

  members(nowMs: number): Member[] {
    return [...this.#entries.values()].map((entry) => memberOf(entry, nowMs));
  }

  get departedCount(): number {
    return this.#departed.size;
  }

  #depart(memberId: string): void {
    this.#entries.delete(memberId);
    this.#departed.add(memberId);
    const [oldest] = this.#departed;
    if (this.#departed.size > this.#options.departedMax && oldest !== undefined)
      this.#departed.delete(oldest);
  }

  #phiOptions(region: string) {
    const { expectedMs, expectedRemoteMs, pauseMs, pauseRemoteMs } = this.#options;
    const threshold = PHI_THRESHOLD;
    return region === this.#options.region
      ? { expectedMs, pauseMs, threshold }
      : { expectedMs: expectedRemoteMs, pauseMs: pauseRemoteMs, threshold };
  }
}

function memberOf({ beat, detector, isSuspect, aliveSinceMs }: Entry, nowMs: number): Member {
  return {
    ...beat,
    state: isSuspect ? "suspect" : beat.isDraining ? "draining" : "alive",
    phi: detector.phi(nowMs),
    silentMs: detector.silenceMs(nowMs),
    aliveForMs: isSuspect ? 0 : nowMs - aliveSinceMs,
  };
}
