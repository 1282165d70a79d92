// apps/cli/src/home/heard-homes.ts
// What others say of homes, as far as it can be so.
//   HK5  Claims that were malformed, or of regions that are none here, change nothing: one broken node
//        fences nobody. They are counted, and told once in 5 min.
import { HomeClaims, type Hearing } from "@carillon/cluster";
import type { HomeClaim } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { Logger, Metrics } from "@carillon/telemetry";

export interface HeardHomesDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

const REFUSED_AGAIN_MS = 300_000;
const REFUSED_NAME_MAX_CHARACTERS = 32; // as somebody else wrote it

export class HeardHomes {
  readonly #claims: HomeClaims;
  readonly #deps: HeardHomesDeps;
  #refusedCount = 0;
  #refusedToldAtMs = -Infinity;

  constructor(regions: readonly string[], deps: HeardHomesDeps) {
    this.#claims = new HomeClaims(regions);
    this.#deps = deps;
  }

  of(home: string): HomeClaim | undefined {
    return this.#claims.of(home);
  }

  all(): Record<string, HomeClaim> {
    return this.#claims.all();
  }

  /** `from`: a member, a region, or a table of ours. */
  hear(home: string, claim: HomeClaim | null, from: string): Hearing {
    const hearing = this.#claims.hear(home, claim);
    if (hearing === "refused") this.#refused(home, claim, from);
    return hearing;
  }

  #refused(home: string, claim: HomeClaim | null, from: string): void {
    const { clock, log, metrics } = this.#deps;
    metrics.homeClaimsRefused.inc();
    this.#refusedCount++;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#refusedToldAtMs < REFUSED_AGAIN_MS) return;
    this.#refusedToldAtMs = nowMs;
    log.warn("home.claim_refused", {
      from,
      home: home.slice(0, REFUSED_NAME_MAX_CHARACTERS),
      epoch: claim?.epoch ?? null, // null: malformed
      host: claim?.host ?? null,
      refusedCount: this.#refusedCount,
    });
  }
}
