// apps/gateway/src/owner-view.ts
// Which worker owns which partition, as the beats tell. Invariants:
//   GW1  A claim with a lower epoch never replaces one with a higher epoch, unless its member gave
//        the partition back or is lost.
import type { Beat } from "@carillon/contracts";

export interface KnownOwner {
  readonly ownerId: string;
  readonly epoch: number;
}

export class OwnerView {
  readonly #owners = new Map<string, KnownOwner>();
  readonly #claims = new Map<string, ReadonlySet<string>>(); // memberId → keys of its last beat

  /** Keys whose owner or epoch is another one now; what was given back is not among them. */
  update(beat: Beat): string[] {
    const changed: string[] = [];
    const keys = new Set<string>();
    for (const [home, claims] of Object.entries(beat.owned)) {
      for (const [partition, epoch] of claims) {
        const key = partitionKey(home, partition);
        keys.add(key);
        const known = this.#owners.get(key);
        if (known?.ownerId === beat.memberId && known.epoch === epoch) continue;
        if (known !== undefined && epoch < known.epoch) continue; // GW1
        this.#owners.set(key, { ownerId: beat.memberId, epoch });
        changed.push(key);
      }
    }
    this.#forget(beat.memberId, keys);
    this.#claims.set(beat.memberId, keys);
    return changed;
  }

  forgetMember(memberId: string): void {
    this.#forget(memberId, new Set());
    this.#claims.delete(memberId);
  }

  ownerOf(key: string): KnownOwner | undefined {
    return this.#owners.get(key);
  }

  #forget(memberId: string, kept: ReadonlySet<string>): void {
    for (const key of this.#claims.get(memberId) ?? [])
      if (!kept.has(key) && this.#owners.get(key)?.ownerId === memberId) this.#owners.delete(key);
  }
}

export function partitionKey(home: string, partition: number): string {
  return `${home}/${partition}`;
}
