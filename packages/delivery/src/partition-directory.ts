// packages/delivery/src/partition-directory.ts
// Who lives in a partition, in its owner's memory: index ↔ recipient, and the attribute index.
//   DI1  Rows may come twice and in any order; of two rows of one index the higher version stays.
//   DI2  `version` is what the directory is known to be complete up to (ADR 0005).
import { Bitset } from "@carillon/kernel";
import type { RegionAudience } from "@carillon/contracts";
import { AttributeIndex } from "./attribute-index.ts";
import type { DirectoryRow } from "./ports.ts";

export class PartitionDirectory {
  readonly #indexByKey = new Map<string, number>();
  readonly #rows: (DirectoryRow | undefined)[] = [];
  readonly #tenants = new Map<string, AttributeIndex>();
  #version = 0;

  get version(): number {
    return this.#version;
  }

  get recipientCount(): number {
    return this.#indexByKey.size;
  }

  /** One past the highest index. */
  get capacityCount(): number {
    return this.#rows.length;
  }

  put(row: DirectoryRow): void {
    const known = this.#rows[row.index];
    if (known !== undefined && known.version >= row.version) return; // DI1
    this.#rows[row.index] = row;
    this.#indexByKey.set(recipientKey(row.tenantId, row.recipientId), row.index);
    let attributes = this.#tenants.get(row.tenantId);
    if (attributes === undefined) {
      attributes = new AttributeIndex();
      this.#tenants.set(row.tenantId, attributes);
    }
    attributes.put(row.index, row.attributes);
  }

  /** Everything up to `version` has been put. */
  completeUpTo(version: number): void {
    this.#version = Math.max(this.#version, version);
  }

  indexOf(tenantId: string, recipientId: string): number | undefined {
    return this.#indexByKey.get(recipientKey(tenantId, recipientId));
  }

  /** "tenant/recipient": how operators name a process. Undefined: nobody has that index. */
  keyOf(index: number): string | undefined {
    const row = this.#rows[index];
    return row === undefined ? undefined : recipientKey(row.tenantId, row.recipientId);
  }

  indexOfKey(key: string): number | undefined {
    return this.#indexByKey.get(key);
  }

  localeOf(index: number): string | null {
    return this.#rows[index]?.locale ?? null;
  }

  /** Index numbers of an audience; the caller's own set. */
  select(tenantId: string, audience: RegionAudience, exclude: readonly string[]): Bitset {
    const attributes = this.#tenants.get(tenantId);
    if (attributes === undefined) return new Bitset();
    const selected = this.#include(tenantId, audience, attributes);
    for (const recipientId of exclude) {
      const index = this.indexOf(tenantId, recipientId);
      if (index !== undefined) selected.remove(index);
    }
    return selected;
  }

  #include(tenantId: string, audience: RegionAudience, attributes: AttributeIndex): Bitset {
    if (audience.kind === "broadcast") return attributes.everybody.clone();
    if (audience.kind === "filter") return attributes.select(audience.filter);
    const indexes = audience.recipientIds.map((id) => this.indexOf(tenantId, id));
    return Bitset.of(indexes.filter((index) => index !== undefined));
  }
}

function recipientKey(tenantId: string, recipientId: string): string {
  return `${tenantId}/${recipientId}`;
}
