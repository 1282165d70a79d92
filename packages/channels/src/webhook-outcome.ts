// packages/channels/src/webhook-outcome.ts
// What becomes of a webhook, as pure functions of an answer's status and of a connection's error.
//   WH3  Every attempt ends as one of these codes: they can be labels of a metric and stay in journals.
import { EndpointRefused, NameUnresolved } from "./guarded-lookup.ts";

/** Trying again would end the same. */
export const WEBHOOK_REFUSED = {
  endpoint: "the endpoint may not be dialled (checkEndpoint, guarded lookup)",
  malformed_id: "our own id cannot be a header; nothing was sent",
  too_large: "our own body is over the limit; nothing was sent",
  gone: "410: the receiver wants no more of them",
  redirected: "3xx: where to is not followed",
  rejected: "any other 4xx",
} as const;

/** Trying again may help. Whether the receiver has had it is not known of `tls` and below. */
export const WEBHOOK_FAILED = {
  closed: "this node is stopping",
  busy: "no turn within its time, or too many wait; nothing was sent",
  no_secret: "the tenant's secret could not be had; nothing was sent",
  dns: "the host's name has no address, or nobody answers for it",
  connect: "no connection: refused, unreachable",
  tls: "no agreement, or a certificate that is not the host's",
  reset: "the connection broke before the answer's head was whole",
  timeout: "no answer within the deadline",
  bad_answer: "what came is not HTTP, or its head is too large",
  throttled: "429",
  unavailable: "5xx, 408 or 425",
  other: "an error that this list does not know",
} as const;

export type WebhookRefusal = keyof typeof WEBHOOK_REFUSED;
export type WebhookFailure = keyof typeof WEBHOOK_FAILED;

/** `status` where there was an answer. */
export type WebhookOutcome =
  | { readonly kind: "accepted"; readonly status: number }
  | { readonly kind: "refused"; readonly code: WebhookRefusal; readonly status?: number }
  | {
      readonly kind: "failed";
      readonly code: WebhookFailure;
      readonly status?: number;
      /** As the receiver asks for, capped. */
      readonly retryAfterMs?: number;
    };

/** Of a final answer: 200 or higher. */
export function outcomeOfStatus(status: number, retryAfterMs?: number): WebhookOutcome {
  if (status >= 200 && status < 300) return { kind: "accepted", status };
  if (status >= 300 && status < 400) return { kind: "refused", code: "redirected", status };
  const after = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 429) return { kind: "failed", code: "throttled", status, ...after };
  if (status >= 500 || status === 408 || status === 425)
    return { kind: "failed", code: "unavailable", status, ...after };
  return { kind: "refused", code: status === 410 ? "gone" : "rejected", status };
}

const CODES: Readonly<Record<string, WebhookFailure>> = {
  ECONNREFUSED: "connect",
  EHOSTUNREACH: "connect",
  ENETUNREACH: "connect",
  EHOSTDOWN: "connect",
  ENETDOWN: "connect",
  EADDRNOTAVAIL: "connect",
  EACCES: "connect",
  EMFILE: "connect",
  ETIMEDOUT: "timeout",
  UND_ERR_CONNECT_TIMEOUT: "timeout",
  ECONNRESET: "reset",
  ECONNABORTED: "reset",
  EPIPE: "reset",
  UND_ERR_SOCKET: "reset",
  UND_ERR_HEADERS_OVERFLOW: "bad_answer",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "bad_answer",
  EPROTO: "tls",
  HOSTNAME_MISMATCH: "tls",
};
const TLS = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|CRL_)/;

/** Of whatever undici or a socket fails with. Codes only, never messages: those may hold addresses. */
export function outcomeOfError(error: unknown): WebhookOutcome {
  for (let one = error, depth = 0; one instanceof Error && depth < 4; one = one.cause, depth++) {
    if (one instanceof EndpointRefused) return { kind: "refused", code: "endpoint" };
    if (one instanceof NameUnresolved) return { kind: "failed", code: "dns" };
    if (one.name === "HTTPParserError") return { kind: "failed", code: "bad_answer" }; // without a code
    const code = failureOfCode("code" in one ? String(one.code) : "");
    if (code !== undefined) return { kind: "failed", code };
  }
  return { kind: "failed", code: "other" };
}

function failureOfCode(code: string): WebhookFailure | undefined {
  return TLS.test(code) ? "tls" : CODES[code];
}
