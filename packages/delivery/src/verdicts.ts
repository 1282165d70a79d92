// packages/delivery/src/verdicts.ts
// All that decides whether somebody may be handed something, at one owner, and how fast: what its sender did with
// it, then policy and preferences.
import type { Channel } from "@carillon/contracts";
import type { Clock } from "@carillon/kernel";
import { ControlBook, type ControlStore } from "./control-book.ts";
import type { DeliveryLimits } from "./delivery-limits.ts";
import { tellOfControl } from "./control-ends.ts";
import type { LedgerEntry, Suppression } from "./ledger-entry.ts";
import type { Outcomes } from "./outcomes.ts";
import type { Partition } from "./partition.ts";
import { PolicyDesk } from "./policy-desk.ts";
import type { HeldPartition } from "./ports.ts";
import { RateBook, type RateStore } from "./rate-book.ts";
import type { Pace } from "./rate-group.ts";
import { type PolicyStore, TenantRulesBook } from "./tenant-rules-book.ts";
import type { ThreadSlices } from "./thread-slices.ts";
import type { VerdictOf } from "./verdict.ts";

export interface VerdictsDeps {
  readonly home: string;
  readonly clock: Clock;
  readonly policies: PolicyStore;
  readonly controls: ControlStore;
  readonly rates: RateStore;
  readonly limits: Pick<DeliveryLimits, "recentMax" | "controlEveryMs">;
  readonly channels: readonly Channel[]; // that there are
  partitions(): Iterable<Partition>;
  /** It is handed at another rate than before, or not at all. */
  onPace(notificationId: string): void;
  readonly slices: ThreadSlices;
  outcomes(): Outcomes;
  /** Writes what is dirty now; false: something is left. */
  flush(): Promise<boolean>;
  readonly onFault: (cause: unknown) => void;
  readonly onCrash: (cause: unknown) => void;
}

export class Verdicts {
  readonly rules: TenantRulesBook;
  readonly policy: PolicyDesk;
  readonly controls: ControlBook;
  readonly #rates: RateBook;
  readonly #clock: Clock;

  constructor(deps: VerdictsDeps) {
    const { home, clock, policies, limits, channels, onFault, onCrash } = deps;
    this.rules = new TenantRulesBook(policies);
    this.policy = new PolicyDesk({
      ...{ home, clock, channels, rules: this.rules, store: policies },
      recentMax: limits.recentMax,
    });
    const reading = { clock, everyMs: limits.controlEveryMs, onFault, onCrash };
    this.#clock = clock;
    this.#rates = new RateBook({
      ...reading,
      store: deps.rates,
      onChanged: deps.onPace.bind(deps),
    });
    this.controls = new ControlBook({
      ...{ ...reading, home, store: deps.controls },
      held: () => Array.from(deps.partitions(), placeOf),
      flush: deps.flush.bind(deps),
      onChanged: (notificationId) => this.#tellOf(notificationId, deps),
    });
  }

  readonly endOf = ({ envelope }: LedgerEntry): Suppression | undefined =>
    this.controls.endOf(envelope.notification.id);

  readonly isPaused = ({ envelope }: LedgerEntry): boolean =>
    this.controls.isPaused(envelope.notification.id);

  readonly verdictOf: VerdictOf = (partition, index, entry, before) => {
    const control = this.controls.verdictOf(entry);
    if (control.kind !== "allow") return control;
    return this.policy.verdictOf(partition, index, entry, before);
  };

  /** Undefined: as fast as it goes, also to its end: what is cancelled or expired is sent to nobody (RA5). */
  readonly paceOf = (entry: LedgerEntry): Pace | undefined => {
    const { notification } = entry.envelope;
    const rate = this.#rates.rateOf(notification);
    if (rate === undefined || notification.expiresAtMs <= this.#clock.wallClockMs())
      return undefined;
    const { kind } = this.controls.verdictOf(entry);
    if (kind === "suppress") return undefined;
    const { ratePerMinute, targetedCount } = rate;
    return { perMs: kind === "defer" ? 0 : ratePerMinute / 60_000, targetedCount };
  };

  /** Changed rates that are remembered. */
  get ratesCount(): number {
    return this.#rates.count;
  }

  start(): void {
    this.controls.start();
    this.#rates.start();
  }

  stop(): void {
    this.controls.stop();
    this.#rates.stop();
  }

  /** A piece for each partition (TS1): it may be for a million. */
  async #tellOf(notificationId: string, deps: VerdictsDeps): Promise<void> {
    deps.onPace(notificationId);
    for (const partition of deps.partitions()) {
      if (partition.openCount === 0) continue;
      const turn = deps.slices.next();
      if (turn !== undefined) await turn;
      if (partition.isLost) continue;
      const isTakenOver = partition.graceEndsAtMs > this.#clock.monotonicMs();
      const end = isTakenOver ? undefined : this.controls.endOf(notificationId);
      const told = { end, outcomes: deps.outcomes() };
      for (const entry of partition.entriesOfNotification(notificationId))
        if (entry.state === "open") tellOfControl(partition, entry, told);
    }
  }

  /** Before these serve. Throws Fault. */
  async load(partitions: readonly Partition[]): Promise<void> {
    await this.policy.load(partitions);
    await this.controls.load(partitions.map(placeOf));
  }

  /** Before partitions are loaded. Throws Fault. */
  async refresh(): Promise<void> {
    await Promise.all([this.rules.refresh(), this.controls.refresh(), this.#rates.refresh()]);
  }
}

function placeOf({ partition, epoch }: Partition): HeldPartition {
  return { partition, epoch };
}
