// packages/cluster/src/home-standing.ts
// What a node does for its home, from what its database says and what it heard (spec C24, ADR 0015).
// Pure; reading, asking and fencing are the caller's.
//   HS1  Serves only who hosts it by the row of its own, promoted database, with no newer claim known.
//   HS2  The newest claim of a home holds, from wherever and in whatever order claims are heard.
//   HS3  A home's workers are those at its one place that say they serve it.
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

/** The newest claim of each home that was heard of (HS2). */
export class HomeClaims {
  readonly #claims = new Map<string, HomeClaim>();

  of(home: string): HomeClaim | undefined {
    return this.#claims.get(home);
  }

  /** True when it was news. */
  hear(home: string, claim: HomeClaim): boolean {
    const known = this.#claims.get(home);
    if (known !== undefined && !isNewerClaim(claim, known)) return false;
    this.#claims.set(home, claim);
    return true;
  }

  all(): Record<string, HomeClaim> {
    return Object.fromEntries(this.#claims);
  }
}
