// packages/channels/src/special-addresses.ts
// Which addresses are public, by the IANA registries of special-purpose addresses.
//   SG2  Public is an IPv4 address outside of the table, or an IPv6 address of 2000::/3 outside of it.
//        Whatever is no address in its plain form, zone ids included, is not public.
import { BlockList, isIPv4, isIPv6 } from "node:net";

export type AddressKind =
  | "public"
  | "private" // of somebody's own network: an operator may open it by a host's name
  | "local" // this machine, its link, its cloud's metadata: opened by address only
  | "embedded" // holds an IPv4 address that some gateway would take out: never opened
  | "special" // documentation, benchmarks, multicast and the like
  | "malformed";

/**
 * Source: IANA IPv4 and IPv6 Special-Purpose Address Registries, and RFC 3879, 4291, 3068; the last
 * one of `local` is Azure's host agent, which answers on a public address inside its networks.
 */
const RANGES: Readonly<Record<"private" | "local" | "embedded" | "special", readonly string[]>> = {
  private: ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
  local: [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24", // 192.0.0.192 is Oracle's metadata
    "100.100.100.200/32", // Alibaba's metadata, in the midst of 100.64.0.0/10
    "::/128",
    "::1/128",
    "fe80::/10",
    "fec0::/10",
    "fd00:ec2::/32", // Amazon's metadata, in the midst of fc00::/7
    "fd20:ce::/32", // Google's
    "168.63.129.16/32",
  ],
  embedded: ["::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16"],
  special: [
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4", // 255.255.255.255 included
    "2001::/23",
    "2001:db8::/32",
    "2620:4f:8000::/48",
    "3fff::/20",
  ],
};

const MAPPED = blockListOf(["::ffff:0:0/96"]);
const GLOBAL = blockListOf(["2000::/3"]);
const LISTS = {
  embedded: blockListOf(RANGES.embedded),
  local: blockListOf(RANGES.local), // before `private`: some lie in the midst of its ranges
  private: blockListOf(RANGES.private),
  special: blockListOf(RANGES.special),
};

/** Pure. `address` as a resolver or a URL's host has it, without brackets. */
export function addressKind(address: string): AddressKind {
  const family = familyOf(address);
  if (family === undefined) return "malformed";
  // First: BlockList judges a mapped address by the rules of its IPv4 address.
  if (family === "ipv6" && MAPPED.check(address, family)) return "embedded";
  for (const kind of ["embedded", "local", "private", "special"] as const)
    if (LISTS[kind].check(address, family)) return kind;
  if (family === "ipv6" && !GLOBAL.check(address, family)) return "special";
  return "public";
}

/** Undefined: no address in its plain form. */
export function familyOf(address: string): "ipv4" | "ipv6" | undefined {
  if (isIPv4(address)) return "ipv4";
  return isIPv6(address) && !address.includes("%") ? "ipv6" : undefined;
}

/** Of `address/bits` texts that are well-formed. */
export function blockListOf(cidrs: readonly string[]): BlockList {
  const blocks = new BlockList();
  for (const cidr of cidrs) {
    const [network = "", bits] = cidr.split("/");
    blocks.addSubnet(network, Number(bits), isIPv4(network) ? "ipv4" : "ipv6");
  }
  return blocks;
}
