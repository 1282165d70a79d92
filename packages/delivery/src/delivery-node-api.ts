// packages/delivery/src/delivery-node-api.ts
// What a DeliveryNode is made of, and what it tells about itself.
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import type { ProcessRuntime } from "@carillon/process";
import type { DeliveryLimits } from "./delivery-limits.ts";
import type { TimerHandler, TimerObserver } from "./durable-timers.ts";
import type { LedgerEntry, Outcome, Receipt } from "./ledger-entry.ts";
import type { Partition } from "./partition.ts";
import type { GatewayPort, JournalStore, LedgerStore, TimerStore } from "./ports.ts";
import type { ControlStore } from "./control-book.ts";
import type { RateStore } from "./rate-book.ts";
import type { PolicyStore } from "./tenant-rules-book.ts";
import type { EscalationParts } from "./timer-handlers.ts";
import type { TimerSetting } from "./timer-setting.ts";
import type { VerdictOf } from "./verdict.ts";

export interface DeliveryObserver extends TimerObserver {
  onFault(cause: unknown): void;
  onFlushed(result: { rowCount: number; durationMs: number }): void;
  onOutcome(outcome: Outcome, entry: LedgerEntry): void;
  onReceipt(receipt: Receipt): void;
}

export interface DeliveryNodeOptions {
  readonly home: string;
  readonly memberId: string;
  readonly limits?: Partial<DeliveryLimits>;
  /** `lastSeqs` of the node before it under this member id; gateways know no other (ADR 0006). */
  readonly firstSeqs?: Readonly<Record<string, number>>;
}

export interface DeliveryNodeDeps {
  readonly store: LedgerStore;
  readonly timers: TimerStore;
  /** Tenants' policies. Default: there are none. */
  readonly policies?: PolicyStore;
  /** What senders did with notifications. Default: nothing. */
  readonly controls?: ControlStore;
  /** At what rates they are handed. Default: as they were posted. */
  readonly rates?: RateStore;
  /** What happens when durable timers are due, by kind. Default: none is looked at. */
  readonly timerHandlers?: readonly TimerHandler<RecipientProcesses>[];
  /** What follows when something is not acknowledged. Default: nothing, and whoever has it later finds it due. */
  readonly escalation?: EscalationParts;
  /** Where it is kept what happened to whom. Default: nowhere. */
  readonly journal?: JournalStore;
  readonly gateways: GatewayPort;
  readonly runtime: ProcessRuntime;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly observer: DeliveryObserver;
  /** A partition serves now, or no longer: subscriptions and beats follow. */
  onServing(partition: number, isServing: boolean): void;
  /** Asked whenever somebody would be handed something for the first time. Default: everything may be. */
  readonly verdictOf?: VerdictOf;
  /** The store refused a write: a higher epoch owns these. */
  onFenced(partitions: readonly number[]): void;
  /** A loop of it has ended by a bug. Default: an unhandled rejection. */
  onCrash?(cause: unknown): void;
}

export interface RecipientProcesses {
  readonly partition: number;
  readonly epoch: number; // of the ownership
  readonly table: Partition["table"];
  /** Undefined: no such recipient in this partition. */
  slotOf(tenantId: string, recipientId: string): number | undefined;
  /** Timers that outlive this node; fenced by the ownership that this was got under (D4). */
  readonly timers: {
    set(setting: TimerSetting): Promise<boolean>;
    cancel(place: Pick<TimerSetting, "kind" | "key">): Promise<boolean>;
  };
}

export interface DeliveryStats {
  readonly partitionCount: number;
  readonly sessionCount: number;
  readonly openEntryCount: number;
  readonly dirtyEntryCount: number;
  readonly incomingCount: number;
  readonly heldRowsCount: number; // open, and not handed to everybody (PC1)
  readonly ratedRowsCount: number; // open, and waiting for their rate (RA4)
  readonly ratesRefusedTotal: number; // RA7
  readonly shelvedRecipientCount: number; // have open rows that are not in memory (SH1)
  readonly recipientCount: number;
  readonly deliverMessagesTotal: number;
  readonly deliverFailedTotal: number;
  readonly timersFiringCount: number;
  readonly journalWaitingCount: number;
  readonly journalWrittenTotal: number;
  readonly journalDroppedTotal: number; // at a limit, or refused by the store (JO3)
  readonly bounded: BoundedStats;
}

/** What else has a limit, or is as large as what it is about (D6): docs/metrics.md says which. */
export type BoundedStructure =
  | "expansions" // committed in groups, waiting for theirs
  | "releases" // of rows that were put off, waiting for their group
  | "timer_changes" // waiting for their group
  | "gateway_sends" // waiting for the end of the slice
  | "openings" // of sessions, under way; refused: what they would be sent was put off for too many rounds
  | "unwritten_reports" // whose receipts are not in the ledger; refused: forgotten, and told again
  | "settling" // recipients who wait until it is written that they are not handed something
  | "recent_deliveries" // remembered for caps; refused: forgotten within their window
  | "rates" // notifications whose rate was changed
  | "controls" // notifications that do not run, and those whose rows are to be woken
  | "slices" // of work that wait for a turn of the thread
  | "tail" // closed rows that are kept for recovery
  | "envelopes"; // encoded notifications

export interface BoundedStats {
  readonly held: Readonly<Record<BoundedStructure, number>>;
  /** Since the start; a structure that refuses and forgets nothing is not in it. */
  readonly refused: Readonly<Partial<Record<BoundedStructure, number>>>;
}
