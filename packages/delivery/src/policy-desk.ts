// packages/delivery/src/policy-desk.ts
// What a tenant's policy and the recipient's preferences say, asked for one notification in its partition; and
// how many somebody was handed lately, for frequency caps (A11, ADR 0024).
//   PD3  A recipient's wall time is waited for in his own zone, or in the tenant's where he has none, of every
//        priority, whatever else the policy says.
//   PD4  Of whom a plan says that he has opted out, the verdict says so, too: one function decides both.
//   PD1  A cap counts, once each, what was handed to a session, by a turn or an opening, and what earlier owners
//        delivered within its window, or have sent without an outcome. What it counts it does not hold back from the
//        next session, when the one that was sent it is gone.
// Who has no preferences, of a tenant without a policy, costs two look-ups.
import { type Channel, defaultZoneOf, type Priority } from "@carillon/contracts";
import { Bitset, type Clock } from "@carillon/kernel";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import {
  countryOf,
  isCapped,
  isOptedOut,
  policyVerdict,
  type TenantRules,
} from "./policy-verdict.ts";
import { RecentDeliveries } from "./recent-deliveries.ts";
import type { PolicyStore, TenantRulesBook } from "./tenant-rules-book.ts";
import { ALLOW, type Verdict } from "./verdict.ts";

export interface PolicyDeskDeps {
  readonly home: string;
  readonly rules: TenantRulesBook;
  readonly store: PolicyStore;
  readonly clock: Clock;
  /** Those that there are. */
  readonly channels: readonly Channel[];
  /** Deliveries that are remembered, per partition and tenant with a cap; older ones are forgotten (FC2). */
  readonly recentMax: number;
}

interface Recent {
  readonly windowMs: number;
  readonly deliveries: RecentDeliveries;
}

/** What of a notification opting out depends on. */
export interface OptOutKind {
  readonly tenantId: string;
  readonly priority: Priority;
  readonly category: string | undefined;
}

/** Some zones times some notifications. */
const INSTANTS_MAX = 1_024;

export class PolicyDesk {
  readonly #deps: PolicyDeskDeps;
  readonly #instants = new Map<string, number>(); // "wall time/zone"
  readonly #recent = new WeakMap<Partition, Map<string, Recent>>(); // by tenant
  forgottenCount = 0; // deliveries within their window, at `recentMax` (FC2)
  readonly #counted = new WeakMap<LedgerEntry, Bitset>(); // by index, of those that a cap counts

  constructor(deps: PolicyDeskDeps) {
    this.#deps = deps;
  }

  /** Deliveries that are remembered. */
  recentCountOf(partitions: readonly Partition[]): number {
    let count = 0;
    for (const partition of partitions)
      for (const { deliveries } of this.#recent.get(partition)?.values() ?? [])
        count += deliveries.size;
    return count;
  }

  /** `before`: what he is to be handed before it, by the same opening or turn. */
  verdictOf(
    partition: Partition,
    index: number,
    entry: LedgerEntry,
    before: readonly LedgerEntry[] = [],
  ): Verdict {
    const { rules: book, clock, channels } = this.#deps;
    const { notification } = entry.envelope;
    const { tenantId, priority, category, acceptedAtMs, expiresAtMs } = notification;
    const person = partition.directory.rowOf(index);
    if (person === undefined) return ALLOW;
    if (notification.sendAtLocalMs !== undefined) {
      const zone = person.timeZone ?? defaultZoneOf(book.rulesOf(tenantId).policy);
      const untilMs = this.#instantOf(notification.sendAtLocalMs, zone);
      if (untilMs > clock.wallClockMs()) return { kind: "defer", untilMs, reason: "localTime" };
    }
    if (person.preferences === null && !book.has(tenantId)) return ALLOW;
    const rules = book.rulesOf(tenantId);
    const nowMs = clock.wallClockMs();
    const question = {
      priority,
      category,
      dueAtMs: notification.sendAtMs ?? acceptedAtMs,
      expiresAtMs,
      preferences: person.preferences ?? undefined,
      timeZone: person.timeZone,
      country: countryOf(person.attributes, rules),
      recentCount: 0,
    };
    const recentCount = this.#isToCount(index, entry, rules)
      ? (this.#recentOf(partition, tenantId, rules)?.countOf(index, nowMs) ?? 0) +
        before.filter((one) => this.#isToCount(index, one, rules)).length
      : 0;
    return policyVerdict({ ...question, recentCount }, rules, { channels, nowMs });
  }

  /** PD4. How many of them would be held back since they do not want it. Cost: a look-up each. */
  optedOutIn(
    { directory }: Partition,
    members: Bitset,
    { tenantId, priority, category }: OptOutKind,
  ): number {
    if (category === undefined) return 0;
    const { rules: book, channels } = this.#deps;
    const rules = book.rulesOf(tenantId);
    let count = 0;
    members.forEach((index) => {
      const preferences = directory.rowOf(index)?.preferences ?? undefined;
      if (isOptedOut({ priority, category, preferences }, rules, channels)) count++;
    });
    return count;
  }

  /** LT1–LT3, and once for all who live in a zone; a zone that there is not is UTC. */
  #instantOf(wallMs: number, timeZone: string): number {
    const key = `${wallMs}/${timeZone}`;
    let instantMs = this.#instants.get(key);
    if (instantMs === undefined) {
      instantMs = this.#deps.rules.times.instantOf(wallMs, timeZone) ?? wallMs;
      if (this.#instants.size >= INSTANTS_MAX) this.#instants.clear();
      this.#instants.set(key, instantMs);
    }
    return instantMs;
  }

  #isToCount(index: number, entry: LedgerEntry, rules: TenantRules): boolean {
    const { priority, category } = entry.envelope.notification;
    return isCapped({ priority, category }, rules) && this.#counted.get(entry)?.has(index) !== true;
  }

  /** A session was handed it, maybe by an earlier owner; told again it is the same. */
  handed(partition: Partition, index: number, entry: LedgerEntry): void {
    const { tenantId } = entry.envelope.notification;
    const { rules: book, clock } = this.#deps;
    if (!book.has(tenantId)) return;
    const rules = book.rulesOf(tenantId);
    if (!this.#isToCount(index, entry, rules)) return;
    const counted = this.#counted.get(entry) ?? new Bitset();
    this.#counted.set(entry, counted);
    counted.add(index);
    this.#recentOf(partition, tenantId, rules)?.add(index, clock.wallClockMs());
  }

  /** PD1. Before they serve. Throws Fault. */
  async load(partitions: readonly Partition[]): Promise<void> {
    const { store, home, rules: book, clock } = this.#deps;
    const byNumber = new Map(partitions.map((partition) => [partition.partition, partition]));
    for (const [tenantId, rules] of book.capped()) {
      const { frequencyCap, mandatoryCategories } = rules.policy;
      const windowMs = (frequencyCap?.perSeconds ?? 0) * 1_000;
      const rows = await store.readRecent(home, [...byNumber.keys()], {
        tenantId,
        sinceMs: clock.wallClockMs() - windowMs,
        priorities: [...rules.capped],
        exceptCategories: mandatoryCategories,
      });
      const nowMs = clock.wallClockMs();
      for (const row of rows) {
        const partition = byNumber.get(row.partition);
        // The clock that accepted it may be ahead: then all that came before it would leave the window.
        const acceptedAtMs = Math.min(row.acceptedAtMs, nowMs);
        if (partition !== undefined)
          this.#recentOf(partition, tenantId, rules)?.adopt([{ ...row, acceptedAtMs }]);
      }
    }
  }

  /** A window that has changed begins anew: it counts from then on. */
  #recentOf(
    partition: Partition,
    tenantId: string,
    { policy }: TenantRules,
  ): RecentDeliveries | undefined {
    const { frequencyCap } = policy;
    if (frequencyCap === undefined) return undefined;
    const windowMs = frequencyCap.perSeconds * 1_000;
    const ofPartition = this.#recent.get(partition) ?? new Map<string, Recent>();
    const known = ofPartition.get(tenantId);
    if (known?.windowMs === windowMs) return known.deliveries;
    const deliveries = new RecentDeliveries({
      ...{ windowMs, entriesMax: this.#deps.recentMax },
      onForgotten: () => void this.forgottenCount++,
    });
    ofPartition.set(tenantId, { windowMs, deliveries });
    this.#recent.set(partition, ofPartition);
    return deliveries;
  }
}
