// packages/cluster/src/owner-claims.ts
// Who owns which partition as far as beats tell: the claim with the highest epoch, until its member
// gives it back, is suspect or has left.
import type { Beat } from "@carillon/contracts";

export class OwnerClaims {
  readonly #owners = new Map<string, { readonly memberId: string; readonly epoch: number }>();
  readonly #claims = new Map<string, ReadonlySet<string>>(); // member → keys of its last beat

  update({ memberId, owned }: Beat): void {
    const keys = new Set<string>();
    for (const [home, epochs] of Object.entries(owned)) {
      for (const [partition, epoch] of epochs) {
        const key = keyOf(home, partition);
        keys.add(key);
        const known = this.#owners.get(key);
        if (known === undefined || epoch >= known.epoch) this.#owners.set(key, { memberId, epoch });
      }
    }
    this.#forgetAllBut(memberId, keys);
    this.#claims.set(memberId, keys);
  }

  forgetMember(memberId: string): void {
    this.#forgetAllBut(memberId, new Set());
    this.#claims.delete(memberId);
  }

  ownerOf(home: string, partition: number): string | undefined {
    return this.#owners.get(keyOf(home, partition))?.memberId;
  }

  #forgetAllBut(memberId: string, kept: ReadonlySet<string>): void {
    for (const key of this.#claims.get(memberId) ?? [])
      if (!kept.has(key) && this.#owners.get(key)?.memberId === memberId) this.#owners.delete(key);
  }
}

function keyOf(home: string, partition: number): string {
  return `${home}/${partition}`;
}
