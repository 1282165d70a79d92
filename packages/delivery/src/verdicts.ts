// packages/delivery/src/verdicts.ts
// All that decides whether somebody may be handed something, at one owner: what its sender did with it, then
// policy and preferences.
import type { Channel } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import { ControlBook, type ControlStore } from "./control-book.ts";
import type { DeliveryLimits } from "./delivery-limits.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import { PolicyDesk } from "./policy-desk.ts";
import { type PolicyStore, TenantRulesBook } from "./tenant-rules-book.ts";
import type { Verdict } from "./verdict.ts";

export interface VerdictsDeps {
  readonly home: string;
  readonly clock: Clock;
  readonly policies: PolicyStore;
  readonly controls: ControlStore;
  readonly limits: Pick<DeliveryLimits, "recentMax" | "controlEveryMs">;
  readonly channels: readonly Channel[]; // that there are
  partitions(): Iterable<Partition>;
  /** Writes what is dirty now; false: something is left. */
  flush(): Promise<boolean>;
  readonly onFault: (cause: unknown) => void;
  readonly onCrash: (cause: unknown) => void;
}

export class Verdicts {
  readonly rules: TenantRulesBook;
  readonly policy: PolicyDesk;
  readonly controls: ControlBook;

  constructor(deps: VerdictsDeps) {
    const { home, clock, policies, limits, channels, onFault, onCrash } = deps;
    this.rules = new TenantRulesBook(policies);
    this.policy = new PolicyDesk({
      ...{ home, clock, channels, rules: this.rules, store: policies },
      recentMax: limits.recentMax,
    });
    this.controls = new ControlBook({
      ...{ home, clock, onFault, onCrash, store: deps.controls, everyMs: limits.controlEveryMs },
      partitions: () => Array.from(deps.partitions(), ({ partition }) => partition),
      flush: deps.flush.bind(deps),
      onChanged(notificationId) {
        for (const partition of deps.partitions()) tellOf(partition, notificationId);
      },
    });
  }

  readonly verdictOf = (
    partition: Partition,
    index: number,
    entry: LedgerEntry,
    before: readonly LedgerEntry[] = [],
  ): Verdict => {
    const control = this.controls.verdictOf(entry);
    if (control.kind !== "allow") return control;
    return this.policy.verdictOf(partition, index, entry, before);
  };

  /** Before these serve. Throws Fault. */
  async load(partitions: readonly Partition[]): Promise<void> {
    await this.policy.load(partitions);
    await this.controls.load(partitions.map(({ partition }) => partition));
  }

  /** Before partitions are loaded. Throws Fault. */
  async refresh(): Promise<void> {
    await Promise.all([this.rules.refresh(), this.controls.refresh()]);
  }
}

/** Everybody who waits for it looks again. */
function tellOf(partition: Partition, notificationId: string): void {
  if (partition.isLost || partition.openCount === 0) return;
  for (const entry of partition.entriesOfNotification(notificationId))
    if (entry.state === "open") partition.tell(entry.pending(), { kind: "changed" });
}
