// packages/cluster/src/agreed-tables.ts
// The partitions' table by which members place, and what they told of themselves that it depends on.
//   CL21 Builds that differ in the table use the highest version that all of them can compute, so that
//        what one gives another takes while a region is upgraded node by node (ADR 0017).
import { assert } from "@carillon/kernel";
import type { PlaceableWorker } from "./membership.ts";
import { TABLE_VERSIONS, type Tables, type TableVersions } from "./rendezvous.ts";

export class AgreedTables {
  readonly #versions: TableVersions;
  readonly #tables = new Map<number, Tables>(); // by version; those that were needed
  /** Of members that are known or hold leases, what they told last. */
  readonly #told = new Map<string, { readonly weight: number; readonly version: number }>();

  /** Default: those of this build. */
  constructor(versions: TableVersions = TABLE_VERSIONS) {
    this.#versions = versions;
  }

  see(placeable: readonly PlaceableWorker[], holders: ReadonlySet<string>): void {
    const known = new Set(placeable.map(({ memberId }) => memberId));
    for (const memberId of this.#told.keys())
      if (!holders.has(memberId) && !known.has(memberId)) this.#told.delete(memberId);
    for (const { memberId, weight, tables = 1 } of placeable)
      this.#told.set(memberId, { weight, version: tables });
  }

  /** Undefined: it was never heard. */
  weightOf(memberId: string): number | undefined {
    return this.#told.get(memberId)?.weight;
  }

  /** `members`: whoever may take a partition, or holds one. */
  of(members: Iterable<string>, partitionCount: number): Tables {
    let version = this.#versions.length;
    for (const memberId of members)
      version = Math.min(version, this.#told.get(memberId)?.version ?? version);
    const known = this.#tables.get(version);
    if (known !== undefined) return known;
    const create = this.#versions[version - 1];
    assert(create, "CL21 a build has every version up to its own");
    const tables = create(partitionCount); // the home's: it never changes
    this.#tables.set(version, tables);
    return tables;
  }
}
