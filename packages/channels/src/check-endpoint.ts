// packages/channels/src/check-endpoint.ts
// May this text be an endpoint of ours? Asked when it is registered, and again before each send.
//   SG1  Parsed once, by the parser whose result is dialled; what parsers read differently is refused.
//   SG4  A problem says what is wrong and repeats nothing of the endpoint: paths hold secrets.
import type { EndpointPolicy } from "./endpoint-policy.ts";
import { familyOf } from "./special-addresses.ts";

/** What is wrong with an endpoint, in words for whoever sent it. */
export const ENDPOINT_PROBLEMS = {
  too_long: "is too long",
  malformed: "is not a URL, or has spaces, control characters or backslashes",
  scheme: "must begin with https://",
  credentials: "must have no user name or password",
  port: "names a port that is not allowed",
  host: "names a host that is not on the public internet",
  address: "must name a host, not an address",
  not_listed: "names a host that is not on the list of those allowed",
} as const;

export type EndpointProblem = keyof typeof ENDPOINT_PROBLEMS;

export type EndpointCheck =
  /** Its host has no dot at its end and is in lower case; international names in their ASCII form. */
  | { readonly kind: "endpoint"; readonly url: URL }
  | { readonly kind: "refused"; readonly problem: EndpointProblem };

/**
 * Names that mean a machine, a link or somebody's own network. Not needed for safety, since what a
 * name leads to is checked when it is dialled; whoever types one hears of it at once.
 */
const LOCAL_SUFFIXES = [
  "localhost", // RFC 6761
  "localdomain",
  "local", // RFC 6762
  "internal", // ICANN 2024; ec2.internal, metadata.google.internal
  "intranet",
  "private",
  "corp",
  "home",
  "lan",
  "arpa", // home.arpa: RFC 8375
  "onion", // RFC 7686
].map((suffix) => `.${suffix}`);

const HOST = /^(?=.{1,253}$)(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
/** As `https:host`, `https:\\host`, `https:///host`: browsers take them, other parsers do not. */
const PLAIN_START = /^[a-z]+:\/\/[^/?#\\]/i;

/** Pure: no name is resolved. */
export function checkEndpoint(text: string, policy: EndpointPolicy): EndpointCheck {
  if (text.length > policy.lengthMax) return refused("too_long");
  // The URL parser drops tabs and line ends, and takes a backslash for a slash.
  if (/[\s\p{Cc}\p{Cf}\\]/u.test(text)) return refused("malformed");
  const url = URL.parse(text);
  if (url === null) return refused("malformed");
  if (!policy.schemes.includes(url.protocol)) return refused("scheme");
  if (!PLAIN_START.test(text)) return refused("malformed");
  if (url.username !== "" || url.password !== "" || text.split(/[/?#]/)[2]?.includes("@") === true)
    return refused("credentials");
  const port = Number(url.port === "" ? defaultPortOf(url.protocol) : url.port);
  if (policy.ports !== "any" && !policy.ports.includes(port)) return refused("port");
  url.hash = "";
  return checkHost(url, policy);
}

/** Of a URL that `checkEndpoint` gave: what a lookup is asked for. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}

function checkHost(url: URL, policy: EndpointPolicy): EndpointCheck {
  if (url.hostname.endsWith(".")) url.hostname = url.hostname.slice(0, -1);
  const host = hostOf(url);
  // The parser has turned 2130706433, 0x7f.1, 0177.0.0.1 and full-width digits into 127.0.0.1.
  if (familyOf(host) !== undefined)
    return policy.isOpenAddress(host) ? { kind: "endpoint", url } : refused("address");
  if (!HOST.test(host)) return refused("host");
  if (!policy.isOpenHost(host)) {
    const isLocal = LOCAL_SUFFIXES.some((suffix) => `.${host}`.endsWith(suffix));
    if (isLocal || !host.includes(".")) return refused("host");
  }
  return policy.isListed(host) ? { kind: "endpoint", url } : refused("not_listed");
}

function defaultPortOf(protocol: string): string {
  return protocol === "http:" ? "80" : "443";
}

function refused(problem: EndpointProblem): EndpointCheck {
  return { kind: "refused", problem };
}
