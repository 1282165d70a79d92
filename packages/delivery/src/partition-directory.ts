// packages/delivery/src/partition-directory.ts
// Who lives in a partition, in its owner's memory: index ↔ recipient, and the attribute index.
//   DI1  Rows may come twice and in any order; of two rows of one index the higher version stays.
//   DI2  `version` is what the directory is known to be complete up to (ADR 0005).
import { assertNever, Bitset } from "@carillon/kernel";
import type { DirectoryAudience } from "@carillon/contracts";
import { AttributeIndex } from "./attribute-index.ts";
import type { DirectoryRow } from "./ports.ts";
import { SharedValues } from "./shared-values.ts";

export class PartitionDirectory {
  readonly #indexByKey = new Map<string, number>();
  readonly #rows: (DirectoryRow | undefined)[] = [];
  readonly #tenants = new Map<string, AttributeIndex>();
  readonly #shared = new SharedValues();
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
    const kept = this.#shared.rowOf(row); // the only one that stays: the attribute index keeps it, too
    this.#rows[row.index] = kept;
    this.#indexByKey.set(recipientKey(row.tenantId, row.recipientId), row.index);
    let attributes = this.#tenants.get(row.tenantId);
    if (attributes === undefined) {
      attributes = new AttributeIndex();
      this.#tenants.set(row.tenantId, attributes);
    }
    attributes.put(row.index, kept);
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

  /** What policy is asked about. Undefined: nobody has that index. */
  rowOf(index: number): DirectoryRow | undefined {
    return this.#rows[index];
  }

  localeOf(index: number): string | null {
    return this.#rows[index]?.locale ?? null;
  }

  /** Index numbers of an audience; the caller's own set. */
  select(tenantId: string, audience: DirectoryAudience, exclude: readonly string[]): Bitset {
    const attributes = this.#tenants.get(tenantId);
    if (attributes === undefined) return new Bitset();
    const isExcept = audience.kind === "except";
    const selected = this.#include(tenantId, isExcept ? audience.of : audience, attributes);
    if (isExcept) {
      for (const tag of audience.tags) selected.andNot(attributes.inGroup(tag));
      for (const filter of audience.filters) selected.andNot(attributes.select(filter));
    }
    for (const recipientId of exclude) {
      const index = this.indexOf(tenantId, recipientId);
      if (index !== undefined) selected.remove(index);
    }
    return selected;
  }

  /** How many of them have which locale. */
  localesIn(tenantId: string, members: Bitset): [locale: string | null, count: number][] {
    return this.#tenants.get(tenantId)?.localesIn(members) ?? [];
  }

  #include(
    tenantId: string,
    audience: Exclude<DirectoryAudience, { kind: "except" }>,
    attributes: AttributeIndex,
  ): Bitset {
    switch (audience.kind) {
      case "broadcast":
        return attributes.everybody.clone();
      case "filter":
        return attributes.select(audience.filter);
      case "group":
        return attributes.inGroup(audience.tag);
      case "recipients": {
        const indexes = audience.recipientIds.map((id) => this.indexOf(tenantId, id));
        return Bitset.of(indexes.filter((index) => index !== undefined));
      }
      default:
        return assertNever(audience);
    }
  }
}

function recipientKey(tenantId: string, recipientId: string): string {
  return `${tenantId}/${recipientId}`;
}
