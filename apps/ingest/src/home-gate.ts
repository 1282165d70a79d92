// apps/ingest/src/home-gate.ts
// What an ingest node may do for its home region now (ADR 0015): everything, nothing, or nothing for
// tenants whose residency does not allow the region that hosts it.
//   IN35 While the home is not served here nothing of tenants is read or written: requests are answered
//        with the reason, and the links and the intake of other regions do not run.
//   IN36 Of a tenant that is withheld nothing is served; what is for it stays with its senders.
import type { HomeClaim, HomeStanding } from "@carillon/contracts";
import { problem, type ProblemAnswer } from "./answer.ts";
import type { Authenticated } from "./http-server.ts";

export interface HomeGate {
  readonly standing: HomeStanding;
  /** Who hosts the home, as far as known here. */
  readonly claim: HomeClaim | undefined;
  /** Its database holds nothing of the home: it is no copy. */
  readonly isEmpty: boolean;
  withholds(tenantId: string): boolean;
  /** Told after the standing has changed; returns what removes the listener. */
  onChange(listener: () => void): () => void;
}

/** A home that is never hosted elsewhere. */
export const ALWAYS_SERVING: HomeGate = {
  standing: "serving",
  claim: undefined,
  isEmpty: false,
  withholds: () => false,
  onChange: () => () => undefined,
};

/** Undefined: the home is served here. */
export function refusalOf({ standing, claim, isEmpty }: HomeGate): ProblemAnswer | undefined {
  const headers = { "retry-after": "5" };
  const host = claim === undefined ? "" : ` It is hosted by ${claim.host}, epoch ${claim.epoch}.`;
  if (isEmpty) return problem("home_empty", { detail: `This node is no copy.${host}`, headers });
  switch (standing) {
    case "serving":
      return undefined;
    case "standby":
    case "undeclared":
      return problem("home_standby", { detail: `This node is ${standing}.${host}`, headers });
    default:
      return problem("home_fenced", { detail: `This node is ${standing}.${host}`, headers });
  }
}

/** IN35, IN36. Before anything is looked up, and after the caller's tenant is known. */
export function gated<Caller extends { readonly tenantId: string }>(
  gate: HomeGate,
  authenticate: (authorization: string | undefined) => Promise<Authenticated<Caller>>,
): (authorization: string | undefined) => Promise<Authenticated<Caller>> {
  return async (authorization) => {
    const refusal = refusalOf(gate);
    if (refusal !== undefined) return refusal;
    const answer = await authenticate(authorization);
    if (answer.kind === "caller" && gate.withholds(answer.caller.tenantId))
      return problem("tenant_withheld", { headers: { "retry-after": "60" } });
    return answer;
  };
}
