// packages/channels/src/guarded-lookup.ts
// What sockets resolve names with: an answer is checked and dialled, the same one. No answer is kept,
// and none is asked for twice, so that nothing is left to change between the check and the dial.
//   SG5  A name one of whose addresses may not be dialled is refused whole: which of them a socket
//        takes must not be left to chance.
import type { LookupAddress } from "node:dns";
import { Resolver } from "node:dns/promises";
import type { LookupFunction } from "node:net";
import { callbackify } from "node:util";
import type { EndpointPolicy } from "./endpoint-policy.ts";
import { familyOf } from "./special-addresses.ts";

/** All addresses of a name, at least one; rejects when there are none or nobody answers. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** What a socket is destroyed with. Fixed texts: neither names nor addresses (SG4). */
export class EndpointRefused extends Error {
  override readonly name = "EndpointRefused";
  readonly code = "ENDPOINT_REFUSED";
  constructor() {
    super("the endpoint leads to an address that must not be dialled");
  }
}

export class NameUnresolved extends Error {
  override readonly name = "NameUnresolved";
  readonly code = "NAME_UNRESOLVED";
  constructor(cause: unknown) {
    super("the endpoint's name has no address, or nobody answers for it", { cause });
  }
}

const ADDRESSES_DIALLED_MAX = 4; // a socket tries them in turn, each for a time of its own

/**
 * Not asked for literals: sockets dial those as they are, so `checkEndpoint` must come before, and
 * `policy.mayConnect` after.
 */
export function createGuardedLookup(policy: EndpointPolicy, resolve: Resolve): LookupFunction {
  const dialled = callbackify((host: string) => checkedAddresses(host, policy, resolve));
  return (host, options, callback) => {
    dialled(host, (error: Error | null, all) => {
      const [first] = all ?? [];
      if (error !== null) callback(error, []);
      else if (options.all === true || first === undefined) callback(null, all);
      else callback(null, first.address, first.family);
    });
  };
}

async function checkedAddresses(
  host: string,
  policy: EndpointPolicy,
  resolve: Resolve,
): Promise<LookupAddress[]> {
  let addresses: readonly string[];
  try {
    addresses = await resolve(host);
  } catch (cause) {
    throw new NameUnresolved(cause);
  }
  if (addresses.length === 0) throw new NameUnresolved(undefined);
  if (!addresses.every((address) => policy.mayConnect(address, host))) throw new EndpointRefused();
  return addresses.slice(0, ADDRESSES_DIALLED_MAX).map((address) => ({
    address,
    family: familyOf(address) === "ipv6" ? 6 : 4,
  }));
}

export interface ResolverOptions {
  readonly timeoutMs: number; // of one question to one server
  readonly triesMax: number;
  /** `address:port`. Default: those of the machine. */
  readonly servers?: readonly string[];
}

/**
 * Asks DNS servers over the network, both families at once. Not `getaddrinfo`: that holds one of the
 * node's four threads for as long as a stranger's name server likes, and reads the machine's own
 * names (/etc/hosts), which are nobody's endpoints.
 */
export function createResolver({ timeoutMs, triesMax, servers }: ResolverOptions): Resolve {
  const resolver = new Resolver({ timeout: timeoutMs, tries: triesMax });
  if (servers !== undefined) resolver.setServers(servers);
  return async (host) => {
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    const addresses = answers.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    const failed = answers.find((one) => one.status === "rejected");
    if (addresses.length === 0 && failed !== undefined) throw failed.reason;
    return addresses;
  };
}
