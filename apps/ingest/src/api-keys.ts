// apps/ingest/src/api-keys.ts
// API keys (A1): `Authorization: Bearer crl_…` → tenant and scopes.
//   IN5  A verified key is believed for at most `believedMs`; a key itself is never kept, only its
//        SHA-256. Wrong keys are remembered too, so that they do not load the database.
//   IN6  Look-ups of one key at the same time are one look-up.
import { createHash } from "node:crypto";
import type { Clock } from "@carillon/kernel";
import { problem } from "./answer.ts";
import { BoundedCache } from "./bounded-cache.ts";
import type { Authenticated } from "./http-server.ts";

export const SCOPES = ["notifications:write", "recipients:write", "read", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

export interface KeyCaller {
  readonly tenantId: string;
  readonly scopes: readonly string[];
}

export interface ApiKeysOptions {
  readonly believedMs: number; // 30,000 at most: a revoked key works no longer than this
  readonly refusedMs: number;
  readonly entriesMax: number;
  /** Undefined: no such key. Throws Fault. */
  readonly verify: (apiKey: string) => Promise<KeyCaller | undefined>;
}

const WELL_FORMED = /^Bearer (crl_[\w-]{1,64}_[\w-]{1,256})$/i;

/** Returns the authenticator for one scope; `admin` implies every scope. */
export function createApiKeys(
  options: ApiKeysOptions,
  clock: Clock,
): (scope: Scope) => (authorization: string | undefined) => Promise<Authenticated<KeyCaller>> {
  const known = new BoundedCache<KeyCaller>(options.entriesMax);
  const refused = new BoundedCache<true>(options.entriesMax);
  const underWay = new Map<string, Promise<KeyCaller | undefined>>();

  const lookUp = async (apiKey: string, hash: string): Promise<KeyCaller | undefined> => {
    try {
      const askedAtMs = clock.monotonicMs();
      const caller = await options.verify(apiKey);
      if (caller === undefined) refused.set(hash, true, askedAtMs + options.refusedMs);
      else known.set(hash, caller, askedAtMs + options.believedMs);
      return caller;
    } finally {
      underWay.delete(hash);
    }
  };

  const callerOf = async (apiKey: string): Promise<KeyCaller | undefined> => {
    const hash = createHash("sha256").update(apiKey).digest("base64");
    const nowMs = clock.monotonicMs();
    const caller = known.get(hash, nowMs);
    if (caller !== undefined || refused.get(hash, nowMs) === true) return caller;
    const pending = underWay.get(hash) ?? lookUp(apiKey, hash);
    underWay.set(hash, pending);
    return await pending;
  };

  return (scope) => async (authorization) => {
    const apiKey = WELL_FORMED.exec(authorization ?? "")?.[1];
    const caller = apiKey === undefined ? undefined : await callerOf(apiKey);
    if (caller === undefined)
      return problem("unauthenticated", { headers: { "www-authenticate": "Bearer" } });
    if (caller.scopes.includes(scope) || caller.scopes.includes("admin"))
      return { kind: "caller", caller };
    return problem("forbidden", { detail: `The key needs the scope ${scope}.` });
  };
}
