// packages/cluster/src/member-table.ts
// What is known of the other members, and what silence makes of them. Pure; time is passed in.
//   CL5  Silence makes a member suspect (phi-accrual), told once; it is alive again when it speaks.
//   CL12 An incarnation that has left, or is dead, never comes back: what it still says is ignored.
//        Who is dead and speaks is told so, and comes back as a new one.
// A member of the own region is dead after a quarter of an hour; of another region silence proves nothing (the
// link between them may be down): it is forgotten then, and welcome when it speaks.
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
  readonly deadAfterMs: number;
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
  readonly #departed = new Map<string, "left" | "dead">();
  readonly #haunting = new Set<string>();

  constructor(options: MemberTableOptions) {
    this.#options = options;
  }

  hear(beat: Beat, nowMs: number): Heard {
    const { memberId } = beat;
    const departed = this.#departed.get(memberId);
    if (departed !== undefined) {
      if (departed === "dead" && beat.hasLeft !== true) this.#haunting.add(memberId);
      return "departed"; // CL12
    }
    if (beat.hasLeft === true) {
      this.#depart(memberId, "left");
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

  /** Those that became suspect by now (CL5), and those that are dead or forgotten. */
  judge(nowMs: number): { readonly suspects: Member[]; readonly dead: Member[] } {
    const suspects: Member[] = [];
    const dead: Member[] = [];
    for (const [memberId, entry] of this.#entries) {
      if (!entry.isSuspect && entry.detector.isSuspect(nowMs)) {
        entry.isSuspect = true;
        suspects.push(memberOf(entry, nowMs));
      }
      if (!entry.isSuspect || entry.detector.silenceMs(nowMs) < this.#options.deadAfterMs) continue;
      dead.push(memberOf(entry, nowMs));
      if (entry.beat.region === this.#options.region) this.#depart(memberId, "dead");
      else this.#entries.delete(memberId);
    }
    return { suspects, dead };
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

  /** The dead that were heard since the last call: they are to be told (CL12). */
  takeHaunting(): string[] {
    const found = [...this.#haunting];
    this.#haunting.clear();
    return found;
  }

  #depart(memberId: string, how: "left" | "dead"): void {
    this.#entries.delete(memberId);
    this.#departed.set(memberId, how);
    const [oldest] = this.#departed.keys();
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
