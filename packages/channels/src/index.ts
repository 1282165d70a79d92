export {
  checkEndpoint,
  ENDPOINT_PROBLEMS,
  type EndpointCheck,
  type EndpointProblem,
} from "./check-endpoint.ts";
export {
  allowEntryProblem,
  createEndpointPolicy,
  type EndpointPolicy,
  type EndpointPolicyOptions,
} from "./endpoint-policy.ts";
export { createResolver, type Resolve, type ResolverOptions } from "./guarded-lookup.ts";
export {
  WEBHOOK_FAILED,
  WEBHOOK_REFUSED,
  type WebhookFailure,
  type WebhookOutcome,
  type WebhookRefusal,
} from "./webhook-outcome.ts";
export {
  createWebhookSender,
  WEBHOOK_LIMITS,
  type WebhookDeps,
  type WebhookLimits,
  type WebhookOptions,
  type WebhookPost,
  type WebhookSender,
} from "./webhook-sender.ts";
export { deriveWebhookSecret } from "./webhook-signature.ts";
