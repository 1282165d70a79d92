// packages/cluster/src/discovery/ec2-failure.ts
// What an exception of the AWS SDK means to a poll. Names as the SDK gave them (3.1169.0, tried):
// a reset is a "TimeoutError" with code ECONNRESET, HTML with status 502 has the name "Unknown".
import type { FindFailure } from "./source.ts";

const THROTTLING = new Set([
  "RequestLimitExceeded",
  "Throttling",
  "ThrottlingException",
  "EC2ThrottledException",
  "TooManyRequestsException",
  "SlowDown",
]);
const DENIED = new Set([
  "AccessDenied",
  "AuthFailure",
  "Blocked",
  "CredentialsProviderError",
  "ExpiredToken",
  "ExpiredTokenException",
  "IncompleteSignature",
  "InvalidClientTokenId",
  "OptInRequired",
  "PendingVerification",
  "RequestExpired",
  "SignatureDoesNotMatch",
  "UnauthorizedOperation",
]);
const DETAIL_MAX_CHARACTERS = 200;

/** Reason and a short text for people; never a response's body beyond the service's own message. */
export function failureOf(
  cause: unknown,
  signal: AbortSignal,
): { readonly reason: FindFailure; readonly detail: string } {
  const { name, message, code, status } = partsOf(cause);
  const detail = [name, code, status === undefined ? undefined : `status ${status}`, message]
    .filter((part) => part !== undefined && part !== "")
    .join(": ")
    .replaceAll(/\s+/g, " ")
    .slice(0, DETAIL_MAX_CHARACTERS);
  return { reason: reasonOf(partsOf(cause), signal), detail };
}

function reasonOf(
  { name, code, status }: ReturnType<typeof partsOf>,
  signal: AbortSignal,
): FindFailure {
  if (signal.aborted || name === "AbortError") return "timeout";
  if (THROTTLING.has(name) || status === 429) return "throttled";
  if (DENIED.has(name) || status === 401 || status === 403) return "denied";
  if (code !== undefined && code !== "ETIMEDOUT") return "network"; // in the middle of a 200, too
  if (status === 200) return "malformed"; // cut off, or not XML
  if (status !== undefined) return "server";
  return name === "TimeoutError" || code !== undefined ? "timeout" : "server";
}

function partsOf(cause: unknown) {
  if (!(cause instanceof Error))
    return { name: "", message: String(cause), code: undefined, status: undefined };
  const { code, $metadata } = cause as {
    code?: unknown;
    $metadata?: { httpStatusCode?: unknown };
  };
  const status = $metadata?.httpStatusCode;
  return {
    name: cause.name,
    message: cause.message,
    code: typeof code === "string" ? code : undefined,
    status: typeof status === "number" ? status : undefined,
  };
}
