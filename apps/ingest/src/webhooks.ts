// apps/ingest/src/webhooks.ts
// Webhooks as the API sees them (A9): the secret with which a tenant checks who posts to it, and what is
// wrong with an endpoint that it names.
//   IN84 A tenant's webhook secret is told to a key of its own with the scope `admin` and to nobody
//        else, the same one in every region; no answer that holds it may be kept on its way.
import type { FieldError, WebhookSecretResource } from "@carillon/contracts";
import { type Answer, ok, problem } from "./answer.ts";
import type { KeyCaller } from "./api-keys.ts";
import type { Call } from "./http-server.ts";

/** Of `packages/channels`, joined by the node. */
export interface Webhooks {
  /** `whsec_…`, the present one first; at least one. */
  secretsOf(tenantId: string): readonly string[];
  /** What is wrong with an endpoint, as the end of a sentence that repeats nothing of it. */
  endpointProblem(url: string): string | undefined;
}

const NONE = "Webhooks are not set up in this region: its operator has given no key for them.";

export function readWebhookSecret(
  { caller }: Call<KeyCaller>,
  webhooks: Webhooks | undefined,
): Answer {
  const [secret, ...previous] = webhooks?.secretsOf(caller.tenantId) ?? [];
  if (secret === undefined) return problem("not_found", { detail: NONE });
  const resource: WebhookSecretResource = { secret, previous };
  return ok(200, resource, { "cache-control": "no-store" });
}

/** Of a chain's steps whose `to` holds a webhook; others are passed over. `field`: of the list of them. */
export function webhookErrorsOf(
  steps: readonly { readonly to: unknown }[],
  { field, webhooks }: { readonly field: string; readonly webhooks: Webhooks | undefined },
): FieldError[] {
  return steps.flatMap(({ to }, at) => {
    if (typeof to !== "object" || to === null || !("webhook" in to)) return [];
    const wrong =
      webhooks === undefined
        ? "cannot be used: this region has no webhooks"
        : webhooks.endpointProblem(String(to.webhook));
    return wrong === undefined ? [] : [{ field: `${field}[${at}].to.webhook`, message: wrong }];
  });
}
