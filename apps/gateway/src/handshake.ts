// apps/gateway/src/handshake.ts
// Which upgrade requests become WebSockets (W1, W8, W10). Pure.
//   GW18  A token is never logged, echoed, or read from the query.
import type { IncomingHttpHeaders } from "node:http";

/** What phoenix.js builds from the endpoint `/socket`. */
export const SOCKET_PATH = "/socket/websocket";
const VERSION = "2.0.0";
export const SUBPROTOCOL = "phoenix";
/** phoenix.js 1.8, option `authToken`: this, then the token in base64url. */
const TOKEN_PREFIX = "base64url.bearer.phx.";

export interface HandshakeRules {
  /** Origins that browsers may come from; empty: any. */
  readonly origins: readonly string[];
  readonly isDraining: boolean;
  /** Others serve its people better (GW32). */
  readonly isRelieved: boolean;
  /** No room for another socket, or too many are arriving. */
  readonly isFull: boolean;
}

export type Handshake =
  | { readonly kind: "accept"; readonly token: string | null }
  | { readonly kind: "refuse"; readonly status: 403 | 404 | 503; readonly reason: string };

export function examineHandshake(
  request: { readonly url: string; readonly headers: IncomingHttpHeaders },
  rules: HandshakeRules,
): Handshake {
  if (rules.isDraining) return { kind: "refuse", status: 503, reason: "draining" };
  if (rules.isRelieved) return { kind: "refuse", status: 503, reason: "relieved" };
  if (rules.isFull) return { kind: "refuse", status: 503, reason: "overloaded" };
  const [path = "", query = ""] = request.url.split("?", 2);
  if (path !== SOCKET_PATH) return { kind: "refuse", status: 404, reason: "not_found" };
  if (new URLSearchParams(query).get("vsn") !== VERSION)
    return { kind: "refuse", status: 403, reason: "unsupported_vsn" };
  const { origin } = request.headers;
  const isKnownOrigin =
    origin === undefined || rules.origins.length === 0 || rules.origins.includes(origin);
  if (!isKnownOrigin) return { kind: "refuse", status: 403, reason: "origin_not_allowed" };
  return { kind: "accept", token: tokenOf(request.headers["sec-websocket-protocol"] ?? "") };
}

/** The whole answer to a refused upgrade. */
export function refusalText(
  status: 403 | 404 | 503,
  reason: string,
  retryAfterSeconds: number,
): string {
  const titles = { 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable" };
  const body = JSON.stringify({ reason });
  const lines = [
    `HTTP/1.1 ${status} ${titles[status]}`,
    "connection: close",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  if (status === 503) lines.push(`retry-after: ${retryAfterSeconds}`);
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

function tokenOf(protocols: string): string | null {
  const offered = protocols.split(",").map((protocol) => protocol.trim());
  const bearer = offered.find((protocol) => protocol.startsWith(TOKEN_PREFIX));
  if (bearer === undefined) return null;
  return Buffer.from(bearer.slice(TOKEN_PREFIX.length), "base64url").toString("utf8");
}
