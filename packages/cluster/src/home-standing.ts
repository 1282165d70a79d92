// packages/cluster/src/home-standing.ts
// What a node does for its home, from what its database says and what it heard (spec C24, ADR 0015).
// Pure; reading, asking and fencing are the caller's.
//   HS1  Serves only who hosts it by the row of its own, promoted database, with no newer claim known.
//   HS2  The newest claim of a home holds, from wherever and in whatever order claims are heard.
//   HS3  A home's workers are those at its one place that say they serve it.
//   HS4  A claim counts only for a home, and for a host, that are regions here: any other one is refused.
import { type HomeClaim, type HomeStanding, isNewerClaim } from "@carillon/contracts";

export interface HomeFacts {
  readonly isInRecovery: boolean;
  readonly claim: HomeClaim | null;
  readonly state: "serving" | "draining" | "fenced" | null;
}

/** `fenced` for whoever is superseded, whether that is written down yet or not. */
export function standingOf(
  { isInRecovery, claim, state }: HomeFacts,
  place: string,
  heard: HomeClaim | undefined,
): HomeStanding {
  if (isInRecovery) return "standby";
  if (claim === null) return "undeclared";
  if (state === "fenced" && claim.host === place) return "fenced";
  if (heard !== undefined && isNewerClaim(heard, claim)) return "fenced";
  if (claim.host !== place) return "undeclared";
  return state === "serving" ? "serving" : "draining";
}

/** `refused`: malformed, or of regions that are none here (HS4). */
export type Hearing = "news" | "known" | "refused";

/** The newest claim of each home that was heard of (HS2, HS4). */
export class HomeClaims {
  readonly #claims = new Map<string, HomeClaim>();
  readonly #regions: ReadonlySet<string>;

  constructor(regions: readonly string[]) {
    this.#regions = new Set(regions);
  }

  of(home: string): HomeClaim | undefined {
    return this.#claims.get(home);
  }

  hear(home: string, claim: HomeClaim | null): Hearing {
    if (claim === null || !this.#regions.has(home) || !this.#regions.has(claim.host))
      return "refused";
    const known = this.#claims.get(home);
    if (known !== undefined && !isNewerClaim(claim, known)) return "known";
    this.#claims.set(home, claim);
    return "news";
  }

  all(): Record<string, HomeClaim> {
    return Object.fromEntries(this.#claims);
  }
}
