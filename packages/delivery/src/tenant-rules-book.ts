// packages/delivery/src/tenant-rules-book.ts
// The rules of all tenants at one owner, read again from the register of policies (ADR 0024).
//   TR1  After a refresh the rules are those of the records in the database when it began, or newer ones.
//   TR2  A tenant's rules are one object until its record changes: what they keep is not computed again.
//   TR3  A refresh that fails changes nothing; a tenant without a policy has the empty one.
//   TR4  Before a partition serves they have been read, and again with every sweep.
import { type PolicyRecord, storedPolicyOf } from "@carillon/contracts";
import { LocalTimes } from "./local-time.ts";
import type { RecentRow } from "./recent-deliveries.ts";
import { createEmptyRules, createTenantRules, type TenantRules } from "./policy-verdict.ts";

export interface PolicyStore {
  /** Records that are others than these versions. Throws Fault when the store is down. */
  findChanged(
    known: readonly (readonly [tenantId: string, changedAtMs: number, changedIn: string])[],
  ): Promise<readonly { readonly tenantId: string; readonly record: PolicyRecord }[]>;
  /** What was delivered of notifications that were accepted after `sinceMs`, in order of acceptance. */
  readRecent(
    home: string,
    partitions: readonly number[],
    question: {
      readonly tenantId: string;
      readonly sinceMs: number;
      readonly priorities: readonly string[];
      readonly exceptCategories: readonly string[];
    },
  ): Promise<readonly (RecentRow & { readonly partition: number })[]>;
}

export const NO_POLICIES: PolicyStore = {
  findChanged: () => Promise.resolve([]),
  readRecent: () => Promise.resolve([]),
};

export type PolicyVersion = readonly [changedAtMs: number, changedIn: string];

interface Kept {
  readonly rules: TenantRules;
  readonly version: readonly [string, number, string];
}

export class TenantRulesBook {
  readonly #store: PolicyStore;
  readonly times = new LocalTimes();
  readonly #empty = createEmptyRules(this.times);
  readonly #kept = new Map<string, Kept>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(store: PolicyStore) {
    this.#store = store;
  }

  rulesOf(tenantId: string): TenantRules {
    return this.#kept.get(tenantId)?.rules ?? this.#empty;
  }

  /** It has set a policy. */
  has(tenantId: string): boolean {
    return this.#kept.has(tenantId);
  }

  /** Tenants whose policy has a frequency cap. */
  capped(): [tenantId: string, rules: TenantRules][] {
    return [...this.#kept].flatMap(([tenantId, { rules }]) =>
      rules.policy.frequencyCap === undefined ? [] : [[tenantId, rules]],
    );
  }

  /** Whether the rules are those of this record or of a newer one, after a refresh if need be. As `refresh`. */
  async isAsNewAs(tenantId: string, version: PolicyVersion): Promise<boolean> {
    if (!this.#isOlder(tenantId, version)) return true;
    await this.refresh();
    return !this.#isOlder(tenantId, version);
  }

  #isOlder(tenantId: string, [changedAtMs, changedIn]: PolicyVersion): boolean {
    const [, knownAtMs, knownIn] = this.#kept.get(tenantId)?.version ?? [tenantId, -1, ""];
    return knownAtMs < changedAtMs || (knownAtMs === changedAtMs && knownIn < changedIn);
  }

  /** Of those who ask while one runs, all get the one after it (TR1). Rejects with the store's Fault. */
  refresh(): Promise<void> {
    if (this.#running === undefined) return this.#run();
    this.#next ??= this.#running.catch(ignored).then(() => {
      this.#next = undefined;
      return this.#run();
    });
    return this.#next;
  }

  #run(): Promise<void> {
    this.#running = this.#readChanged().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #readChanged(): Promise<void> {
    const known = [...this.#kept.values()].map(({ version }) => version);
    for (const { tenantId, record } of await this.#store.findChanged(known)) {
      const rules = createTenantRules(storedPolicyOf(record.policy), this.times);
      const version = [tenantId, record.changedAtMs, record.changedIn] as const;
      this.#kept.set(tenantId, { rules, version });
    }
  }
}

function ignored(): void {}
