// packages/channels/src/endpoint-policy.ts
// Which endpoints a node may send to: what the public may name, and what its operator opens besides.
//   SG3  A CIDR opens its addresses. A host's name opens private networks for that name, and neither
//        this machine nor its link nor its cloud's metadata.
import { addressKind, blockListOf, familyOf } from "./special-addresses.ts";

export interface EndpointPolicyOptions {
  /** CIDRs, addresses, hosts' names and `*.` with a name: see SG3. Default: none. */
  readonly allow?: readonly string[];
  /** Names, or `*.` with one, outside of which nothing is sent. Default: any name (N4). */
  readonly onlyHosts?: readonly string[];
  /** Default: 443 only (N4). */
  readonly ports?: readonly number[] | "any";
  /** Default: https only. */
  readonly schemes?: readonly ("https:" | "http:")[];
  /** Characters of an endpoint. Default: 2,048 (N4). */
  readonly lengthMax?: number;
}

export interface EndpointPolicy {
  readonly ports: readonly number[] | "any";
  readonly schemes: readonly string[];
  readonly lengthMax: number;
  /** Is the name among those that may be named at all? */
  isListed(host: string): boolean;
  /** Has the operator opened this name? */
  isOpenHost(host: string): boolean;
  /** Has the operator opened this address? A public one may be dialled, and not named (N4). */
  isOpenAddress(address: string): boolean;
  /** May a socket be opened to this address, for this name? */
  mayConnect(address: string, host: string): boolean;
}

const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
const IPV4_BITS_MIN = 8; // less is half of the internet: a mistake
const IPV6_BITS_MIN = 16;

/** Throws on an entry that `allowEntryProblem` names: entries are of the configuration, checked there. */
export function createEndpointPolicy(options: EndpointPolicyOptions = {}): EndpointPolicy {
  const { allow = [], onlyHosts = [] } = options;
  const problem = allow.map(allowEntryProblem).find((found) => found !== undefined);
  if (problem !== undefined) throw new TypeError(`an entry of the allow list ${problem}`);
  const opened = blockListOf(allow.flatMap((entry) => cidrOf(entry) ?? []));
  const isOpenHost = hostMatcher(allow.filter((entry) => cidrOf(entry) === undefined));
  const isListed = onlyHosts.length === 0 ? () => true : hostMatcher(onlyHosts);
  const isOpenAddress = (address: string): boolean => {
    const family = familyOf(address);
    if (family === undefined || addressKind(address) === "embedded") return false;
    return opened.check(address, family);
  };
  return {
    ports: options.ports ?? [443],
    schemes: options.schemes ?? ["https:"],
    lengthMax: options.lengthMax ?? 2_048,
    isListed,
    isOpenHost,
    isOpenAddress,
    mayConnect(address, host) {
      const kind = addressKind(address);
      if (kind === "public" || (kind === "private" && isOpenHost(host))) return true;
      return isOpenAddress(address);
    },
  };
}

/** What is wrong with an entry of `allow`, as the end of a sentence; undefined: nothing. */
export function allowEntryProblem(entry: string): string | undefined {
  const network = entry.split("/")[0] ?? "";
  const family = familyOf(network);
  if (family === undefined) {
    const labels = entry.replace(/^\*\./, "").split(".");
    return labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? "")
      ? undefined
      : "is neither a CIDR nor a host's name in lower case";
  }
  const [most, least] = family === "ipv4" ? [32, IPV4_BITS_MIN] : [128, IPV6_BITS_MIN];
  const bits = /^[^/]+\/(\d{1,3})$/.exec(entry)?.[1];
  if (entry.includes("/") && bits === undefined) return "has no number of bits after its slash";
  if (bits !== undefined && (Number(bits) > most || Number(bits) < least))
    return `has not from ${least} to ${most} bits`;
  return addressKind(network) === "embedded" ? "holds an IPv4 address inside of IPv6" : undefined;
}

function cidrOf(entry: string): string | undefined {
  const family = familyOf(entry.split("/")[0] ?? "");
  if (family === undefined) return undefined;
  return entry.includes("/") ? entry : `${entry}/${family === "ipv4" ? 32 : 128}`;
}

/** By whole labels: `*.a.b` is any name below `a.b`, and not `a.b` or `xa.b` (N4). */
function hostMatcher(patterns: readonly string[]): (host: string) => boolean {
  const names = new Set(patterns.filter((pattern) => !pattern.startsWith("*.")));
  const parents = patterns.flatMap((one) => (one.startsWith("*.") ? [one.slice(1)] : []));
  return (host) =>
    names.has(host) ||
    parents.some((parent) => host.endsWith(parent) && host.length > parent.length);
}
