// test/sim/oracle-outcome.ts
// Which outcome somebody may have, from what was seen outside: what the app showed, when it had a
// session for certain, and what the writer's clock said. Only what follows for certain is asked for,
// so that a fault is no excuse and no false alarm.
import type { TruthRow } from "./oracle.ts";

/** A client's longest back-off (W5); the oracle's own, so that the product cannot move it. */
const GRACE_MS = 20_000;

export const TERMINAL = [
  "deliveredSocket",
  "noDevice",
  "unacked",
  "expired",
  "failed",
  "cancelled",
  "optedOut",
  "capped",
  "collapsed",
] as const;
export type Outcome = (typeof TERMINAL)[number];
export const RECEIPTS = ["receivedLate", "read"] as const;
export type Receipt = (typeof RECEIPTS)[number];

/** At some instant in between the recipient had a session at its owner. */
interface Presence {
  readonly fromMs: number;
  readonly seenMs: number;
}

/** When an app showed or read something; owner and network as they were then. */
export interface Moment {
  readonly atMs: number;
  readonly epoch: number;
  readonly lostCount: number;
  /** The ownership's when the session's socket was opened. */
  readonly joinEpoch: number;
}

/** Where a session began, and the ownership as its socket was opened. */
export interface Join {
  readonly offset: number;
  readonly epoch: number;
}

export interface Read {
  readonly device: string;
  readonly offset: number;
  readonly moment: Moment;
}

/** Of devices by name; a recipient has one. */
export class Evidence {
  /** "device/offset" → when it was shown. */
  readonly shows = new Map<string, Moment>();
  readonly reads: Read[] = [];
  /** Since when a device has been live without a break; undefined: it is not. */
  readonly liveSinceMs = new Map<string, number>();
  /** Of the session that a device has, or had last. */
  readonly joins = new Map<string, Join>();
  readonly #readOffsets = new Set<string>(); // "device/offset"
  readonly #connected = new Map<string, { readonly atMs: number; readonly epoch: number }>();
  readonly #presences = new Map<string, Presence[]>();

  connecting(device: string, atMs: number, epoch: number): void {
    this.#connected.set(device, { atMs, epoch });
  }

  live(device: string, offset: number, nowMs: number): void {
    const { atMs, epoch } = this.#connected.get(device) ?? { atMs: nowMs, epoch: -1 };
    if (!this.liveSinceMs.has(device)) this.liveSinceMs.set(device, nowMs);
    this.joins.set(device, { offset, epoch });
    this.#present(device, { fromMs: atMs, seenMs: nowMs });
  }

  read(device: string, offset: number, moment: Moment): void {
    this.reads.push({ device, offset, moment });
    this.#readOffsets.add(`${device}/${offset}`);
  }

  hasRead(device: string, offset: number): boolean {
    return this.#readOffsets.has(`${device}/${offset}`);
  }

  down(device: string): void {
    this.liveSinceMs.delete(device);
  }

  /** It was sent to a session, which is after it was planned. */
  shown(device: string, plannedAtMs: number, nowMs: number): void {
    this.#present(device, { fromMs: plannedAtMs, seenMs: nowMs });
  }

  /** A session was there before the row was, and its grace was not over when that was written. */
  isWithinGrace(device: string, plannedAtMs: number, writtenAtMs: number): boolean {
    const presences = this.#presences.get(device) ?? [];
    return presences.some(
      ({ fromMs, seenMs }) => seenMs <= plannedAtMs && writtenAtMs < fromMs + GRACE_MS,
    );
  }

  #present(device: string, presence: Presence): void {
    const known = this.#presences.get(device) ?? [];
    const kept = known.filter(({ fromMs }) => fromMs + GRACE_MS > presence.seenMs);
    this.#presences.set(device, [...kept, presence]);
  }
}

/** What is wrong with `outcome` of `device` for `row`, written now; undefined: nothing for certain. */
export function wrongOutcome(
  outcome: Outcome,
  seen: {
    readonly device: string;
    readonly row: TruthRow;
    readonly isShown: boolean;
    readonly mayFail: boolean;
    readonly hasOptedOut: boolean;
    readonly isCancelled: boolean;
    /** Why it can be neither capped nor collapsed, whichever it is (oracle-caps.ts). */
    readonly wrongSuppression: string | undefined;
    readonly evidence: Evidence;
    readonly nowMs: number;
    /** The furthest that the writer's wall clock can have been when it decided. */
    readonly writerWallMaxMs: number;
  },
): string | undefined {
  const { device, row, evidence, nowMs } = seen;
  const isEnd = outcome === "optedOut" || outcome === "expired" || outcome === "failed";
  if (seen.hasOptedOut && !isEnd) return "has opted out";
  switch (outcome) {
    case "deliveredSocket":
      return seen.isShown ? undefined : "never showed it";
    case "noDevice":
      return evidence.isWithinGrace(device, row.plannedAtMs, nowMs)
        ? "had a session within the grace"
        : undefined;
    case "expired":
      return seen.writerWallMaxMs < row.expiresAtMs ? "had time left" : undefined;
    case "failed":
      return seen.mayFail ? undefined : "cannot fail: its process does not crash";
    case "unacked":
      return undefined;
    case "optedOut":
      return seen.hasOptedOut ? undefined : "wants it";
    case "cancelled":
      return seen.isCancelled ? undefined : "was to get it: nobody has cancelled it";
    case "capped":
    case "collapsed":
      return seen.wrongSuppression;
  }
}
