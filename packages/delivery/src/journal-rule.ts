// packages/delivery/src/journal-rule.ts
// Whose story the journal keeps (ADR 0026). Pure: owners ask before they write, and whoever reads asks
// again, to tell "nothing happened" from "nothing was kept".
//   JO1  Kept whole: everybody of an explicit audience, of a small row, and one in N of all others, by a
//        hash of notification, partition and index: the same on every owner, so a sampled story has no gaps.
//   JO2  Kept of everybody else: an outcome that is a failure, and a dead letter.
import { fnv1a32, LIMITS, mix32, type RegionAudience } from "@carillon/contracts";
import type { Outcome } from "./ledger-entry.ts";

/** `audience` null: every row of it names its members, so it is explicit. */
export function isKeptWhole(audience: RegionAudience | null, targetedCount: number): boolean {
  if (audience === null || targetedCount <= LIMITS.smallAudienceMax) return true;
  const whole = audience.kind === "except" ? audience.of : audience;
  return whole.kind === "recipients";
}

/** Of one recipient and one notification. */
export interface Story {
  readonly notificationId: string;
  readonly partition: number;
  readonly index: number;
}

/** `oneIn` 0: nobody is. */
export function isSampled({ notificationId, partition, index }: Story, oneIn: number): boolean {
  return sampleHash(saltOf(notificationId, partition), index) < sampledBelow(oneIn);
}

/** What is the same for all of a row's recipients. */
export function saltOf(notificationId: string, partition: number): number {
  return fnv1a32(notificationId) ^ (partition << 24);
}

/** For the hot path: some ns, and no object per recipient. */
export function sampleHash(salt: number, index: number): number {
  return mix32(salt ^ index);
}

/** Hashes below it are sampled. */
export function sampledBelow(oneIn: number): number {
  return oneIn === 0 ? 0 : 2 ** 32 / oneIn;
}

/**
 * A person asks about it. Any other outcome is ordinary, one that is new too, until it is named here:
 * of an all-hands it may be a million people's. Compared, not looked up: asked for each of them.
 */
export function isFailure(outcome: Outcome): boolean {
  return outcome === "unacked" || outcome === "expired" || outcome === "failed";
}
