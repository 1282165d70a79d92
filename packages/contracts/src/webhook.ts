// packages/contracts/src/webhook.ts
// What a tenant asks of its webhooks (A9).

/** 200 of `GET /v1/webhooks/secret`: Standard Webhooks secrets, `whsec_…`. */
export interface WebhookSecretResource {
  /** Every post is signed by it. */
  readonly secret: string;
  /** Those that posts are signed by as well, while it is exchanged. */
  readonly previous: readonly string[];
}
