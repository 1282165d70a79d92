// apps/ingest/src/webhooks.ts
// What a tenant needs to know of its webhooks (A9): the secret with which it checks who posts to it.
//   IN84 A tenant's webhook secret is told to a key of its own with the scope `admin` and to nobody
//        else, the same one in every region; no answer that holds it may be kept on its way.
import type { WebhookSecretResource } from "@carillon/contracts";
import { type Answer, ok, problem } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { Call } from "./http-server.ts";

/** Of `packages/channels`, joined by the node. */
export interface WebhookSecrets {
  /** `whsec_…`, the present one first; at least one. */
  secretsOf(tenantId: string): readonly string[];
}

const NONE = "Webhooks are not set up in this region: its operator has given no key for them.";

export function readWebhookSecret(
  { caller }: Call<KeyCaller>,
  webhooks: WebhookSecrets | undefined,
): Answer {
  const [secret, ...previous] = webhooks?.secretsOf(caller.tenantId) ?? [];
  if (secret === undefined) return problem("not_found", { detail: NONE });
  const resource: WebhookSecretResource = { secret, previous };
  return ok(200, resource, { "cache-control": "no-store" });
}
