// packages/cluster/src/discovery/static-source.ts
// Candidates that a person wrote into the settings: for a few machines that stay.
//   DS1, DS2 of source.ts.
import { assert } from "@carillon/kernel";
import { type DiscoverySource, isAddress, sortedById } from "./source.ts";

export interface StaticSourceOptions {
  readonly region: string;
  /** Host names or addresses; each is its own id. */
  readonly addresses: readonly string[];
}

/** Asserts that each is an address. */
export function createStaticSource({ region, addresses }: StaticSourceOptions): DiscoverySource {
  for (const address of addresses)
    assert(isAddress(address), `DS1 ${JSON.stringify(address)} is a host name or an address`);
  const candidates = sortedById(addresses.map((address) => ({ id: address, address })));
  return {
    kind: "static",
    region,
    find: (signal) =>
      Promise.resolve(
        signal.aborted
          ? { kind: "failed", reason: "timeout", detail: "the poll was ended" }
          : { kind: "found", candidates, skipped: [], pagesCount: 1 },
      ),
  };
}
