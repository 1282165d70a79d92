// apps/worker/src/worker-options.ts
// What a worker is built from.
import type { Bus } from "@carillon/bus";
import type { KindHandler, LeaseStore, Membership, PlacementLimits } from "@carillon/cluster";
import type {
  ControlStore,
  RateStore,
  DeliveryLimits,
  DeliveryNodeDeps,
  EscalationStore,
  JournalStore,
  LedgerStore,
  PolicyStore,
  RecipientProcesses,
  TimerHandler,
  TimerStore,
  WebhookPort,
} from "@carillon/delivery";
import type { Clock, Random, Scheduler } from "@carillon/kernel";
import type { SupervisorOptions, TurnPulse } from "@carillon/process";
import type { Logger, Metrics } from "@carillon/telemetry";

export interface WorkerOptions {
  readonly home: string;
  readonly memberId: string;
  readonly limits?: Partial<DeliveryLimits>;
  /** Of large audiences the journal keeps one recipient in so many. Default: delivery's. */
  readonly journalOneIn?: number;
  /** Its residency keeps the tenant from being served here (ADR 0015). Default: nobody's does. */
  readonly withholds?: (tenantId: string) => boolean;
  /** Of a worker that ran before under the same member id (ADR 0006). */
  readonly firstSeqs?: Readonly<Record<string, number>>;
  /** Of handing partitions over, at the stop. Default 15,000. */
  readonly stopMaxMs?: number;
  /** When partitions move; for tests, and for who knows why. */
  readonly placement?: Partial<PlacementLimits>;
}

export interface WorkerDeps {
  readonly bus: Bus;
  readonly store: {
    readonly ledger: LedgerStore;
    readonly leases: LeaseStore;
    readonly timers: TimerStore;
    readonly policies?: PolicyStore;
    readonly controls?: ControlStore;
    readonly rates?: RateStore;
    /** Default: nothing follows here when something is not acknowledged. */
    readonly escalations?: EscalationStore;
    /** Default: no journal is kept. */
    readonly journal?: JournalStore;
  };
  readonly membership: Membership;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** For messages and calls to recipients, by kind. Default: none is understood. */
  readonly handlers?: readonly KindHandler<RecipientProcesses>[];
  /** What happens when durable timers are due, by kind. Default: none is looked at. */
  readonly timerHandlers?: readonly TimerHandler<RecipientProcesses>[];
  /** Default: no webhook is called. */
  readonly webhooks?: WebhookPort;
  /** Whether somebody may be handed something now. Default: as delivery decides by itself. */
  readonly verdictOf?: NonNullable<DeliveryNodeDeps["verdictOf"]>;
  /** Of the node's watchdog. */
  readonly pulse?: TurnPulse | undefined;
  /** Who is told what becomes of its parts. */
  readonly supervision?: Pick<SupervisorOptions, "onExit" | "onReport" | "restartDelayMs">;
}
