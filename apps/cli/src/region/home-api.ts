// apps/cli/src/region/home-api.ts
// Homes and the steps of a failover, as the admin API of any node serves them.
import type { AdminHome, AdminHomes, HomeReply, HomeRequest } from "@carillon/contracts";
import { homeReplySchema } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { AdminApi } from "../admin-api.ts";
import type { Refusal } from "../refusal.ts";

export type StepAnswer =
  | { readonly kind: "reply"; readonly reply: HomeReply }
  /** It cannot be done as things are. */
  | { readonly kind: "refused"; readonly code: string; readonly reason: string }
  /** Nobody there answers, or the node that was asked does not. */
  | { readonly kind: "silent"; readonly code: string; readonly reason: string };

export interface HomeApi {
  readonly clock: Clock;
  /** Throws ApiFault. */
  homes(): Promise<readonly AdminHome[]>;
  step(home: string, place: string, request: HomeRequest): Promise<StepAnswer>;
}

/** The node that was asked does not answer as it should: nothing more can be said. */
export class ApiFault extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

const STEP_MAX_MS = 58_000; // below the server's silence limit, above what a step takes there
const REFUSED_STATUS = 409;

export function homeApiOf(api: AdminApi): HomeApi {
  return {
    clock: api.clock,
    async homes() {
      const asked = await api.ask({ method: "GET", path: "/v1/admin/homes" });
      if (asked.kind === "failed") throw new ApiFault(asked.refusal);
      return (asked.body as AdminHomes).homes;
    },
    async step(home, place, request) {
      const asked = await api.ask({
        method: "POST",
        path: `/v1/admin/homes/${encodeURIComponent(home)}/steps`,
        body: JSON.stringify({ place, request }),
        timeoutMs: STEP_MAX_MS,
      });
      if (asked.kind === "body") return { kind: "reply", reply: homeReplySchema.parse(asked.body) };
      const { status, refusal } = asked;
      const { code, message: reason } = refusal;
      if (status === REFUSED_STATUS) return { kind: "refused", code, reason };
      if (status === undefined || status >= 500) return { kind: "silent", code, reason };
      throw new ApiFault(refusal);
    },
  };
}
