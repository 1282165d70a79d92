// packages/channels/src/webhook-signature.ts
// Standard Webhooks signatures (standardwebhooks.com, v1), and tenants' secrets out of one key.
//   WH1  What is signed is `id.timestamp.body`: a receiver that checks it takes no other body, no
//        other id, and nothing older than its tolerance.
//   WH2  A tenant's secret follows from a key of the node and the tenant's id, and tells nothing of
//        the key or of another tenant's.
import { createHmac, hkdfSync } from "node:crypto";

const SECRET_START = "whsec_";
const SECRET_BYTES = 32; // the specification: 24 to 64
const LABEL = "carillon/webhook-secret/v1\0"; // with it the key makes secrets of this kind and no other

export interface SignedParts {
  readonly id: string;
  /** Of this attempt: receivers refuse what is more than some minutes old. */
  readonly timestampSeconds: number;
  readonly body: Uint8Array;
}

/** Value of `webhook-signature`: one signature for each secret, so that a secret can be exchanged. */
export function webhookSignature(secrets: readonly string[], parts: SignedParts): string {
  return secrets.map((secret) => `v1,${signatureOf(secret, parts)}`).join(" ");
}

function signatureOf(secret: string, { id, timestampSeconds, body }: SignedParts): string {
  const key = Buffer.from(secret.slice(SECRET_START.length), "base64");
  return createHmac("sha256", key)
    .update(`${id}.${timestampSeconds}.`)
    .update(body)
    .digest("base64");
}

/** `whsec_…` of a tenant, out of a key that all regions share. Source: RFC 5869; ADR 0031. */
export function deriveWebhookSecret(serverKey: string, tenantId: string): string {
  const bytes = hkdfSync("sha256", serverKey, "", `${LABEL}${tenantId}`, SECRET_BYTES);
  return SECRET_START + Buffer.from(bytes).toString("base64");
}
