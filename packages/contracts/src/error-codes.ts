// packages/contracts/src/error-codes.ts
// Every error a caller can see, once: code → HTTP status, safe title, log level. Codes are API.

interface ErrorCode {
  readonly status: number;
  readonly title: string; // safe to show; never holds input
  readonly level: "debug" | "info" | "warn" | "error";
}

export const ERROR_CODES = {
  bad_json: { status: 400, title: "The body is not valid JSON", level: "debug" },
  bad_request: { status: 400, title: "The request cannot be read", level: "debug" },
  unauthenticated: {
    status: 401,
    title: "API key or token is missing or not valid",
    level: "info",
  },
  forbidden: { status: 403, title: "The key lacks the scope for this", level: "info" },
  not_found: { status: 404, title: "There is nothing here", level: "debug" },
  method_not_allowed: { status: 405, title: "The method is not allowed here", level: "debug" },
  idempotency_in_progress: {
    status: 409,
    title: "A request with this Idempotency-Key is still running",
    level: "debug",
  },
  home_region_conflict: {
    status: 409,
    title: "The recipient lives in another home region",
    level: "debug",
  },
  already_cancelled: {
    status: 409,
    title: "The notification has been cancelled",
    level: "debug",
  },
  already_recalled: {
    status: 409,
    title: "The notification has been recalled",
    level: "debug",
  },
  body_too_large: { status: 413, title: "The body is larger than allowed", level: "debug" },
  unsupported_media_type: { status: 415, title: "The media type is not supported", level: "debug" },
  invalid_field: { status: 422, title: "A field is not valid", level: "debug" },
  idempotency_mismatch: {
    status: 422,
    title: "The Idempotency-Key was used with another request",
    level: "info",
  },
  overloaded: { status: 503, title: "The node is at its limit; try again later", level: "warn" },
  draining: { status: 503, title: "The node is shutting down; try another one", level: "info" },
  region_unreachable: {
    status: 503,
    title: "The recipient's home region cannot be reached",
    level: "warn",
  },
  home_standby: {
    status: 503,
    title: "This node waits beside a copy of its home region; use another node",
    level: "info",
  },
  home_fenced: {
    status: 503,
    title: "This home region is served by another region now; use one of its nodes",
    level: "warn",
  },
  home_empty: {
    status: 503,
    title: "This node's database holds nothing of its home region; make it a copy of the host's",
    level: "error",
  },
  tenant_withheld: {
    status: 503,
    title: "The tenant's residency does not allow it to be served in this region",
    level: "info",
  },
  failover_refused: { status: 409, title: "The step cannot be done as things are", level: "warn" },
  node_unreachable: { status: 503, title: "The node does not answer", level: "warn" },
  store_unavailable: { status: 503, title: "The database cannot be reached", level: "error" },
  internal: { status: 500, title: "Something broke here", level: "error" },
} as const satisfies Record<string, ErrorCode>;

export type ErrorCodeName = keyof typeof ERROR_CODES;

/** RFC 9457. `errors` names each wrong field by its path (`audience.recipients[3]`). */
export interface Problem {
  readonly type: string; // https://carillon.dev/errors/<code>
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCodeName;
  readonly detail?: string;
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
  readonly requestId?: string;
}

/** The problem of a code, ready to be sent; `more` adds what this case knows. */
export function problemOf(
  code: ErrorCodeName,
  more: Pick<Problem, "detail" | "errors" | "requestId"> = {},
): Problem {
  const { status, title } = ERROR_CODES[code];
  return { type: `https://carillon.dev/errors/${code}`, title, status, code, ...more };
}
