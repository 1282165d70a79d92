// apps/ingest/src/policies.ts
// A tenant's policy (A11, ADR 0024): PUT replaces it from any region, GET reads what this region goes by.
//   IN70 A change is committed here with what tells the other regions; of several at once the same one
//        stays in all of them.
import {
  fieldErrorsOf,
  policyRequestSchema,
  type PolicyRecord,
  type PolicyResource,
  storedPolicyOf,
} from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import type { Store } from "@carillon/store";
import { type Answer, ok, problem } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { Call } from "./http-server.ts";
import type { Relay } from "./relay.ts";

export interface Policies {
  put(call: Call<KeyCaller>): Promise<Answer>;
  get(call: Call<KeyCaller>): Promise<Answer>;
}

export function createPolicies(
  place: { readonly region: string; readonly regions: readonly string[] },
  deps: { readonly store: Store; readonly clock: Clock; readonly relay: Relay },
): Policies {
  const { region } = place;
  const { store, clock, relay } = deps;
  const otherRegions = place.regions.filter((other) => other !== region);
  return {
    async put({ caller: { tenantId }, body }) {
      const parsed = policyRequestSchema.safeParse(body);
      if (!parsed.success)
        return problem("invalid_field", { errors: fieldErrorsOf(parsed.error, body) });
      const nowMs = Math.trunc(clock.wallClockMs());
      const change = { tenantId, policy: parsed.data, nowMs, region, otherRegions };
      const record = await store.policies.change(change);
      relay.sweepSoon(); // rows for the other regions, due at once
      return ok(200, resourceOf(record));
    },
    async get({ caller }) {
      const record = await store.policies.find(caller.tenantId);
      return ok(200, resourceOf(record));
    },
  };
}

function resourceOf(record: PolicyRecord | undefined): PolicyResource {
  const policy = storedPolicyOf(record?.policy ?? {});
  const updatedAt = record === undefined ? null : new Date(record.changedAtMs).toISOString();
  return { policy, updatedAt };
}
