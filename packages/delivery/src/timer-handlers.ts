// packages/delivery/src/timer-handlers.ts
// The kinds of durable timers that delivery itself sets: rows that come later, and chains that follow from no
// acknowledgement.
import type { ControlState } from "@carillon/contracts";
import type { Clock, Random } from "@carillon/kernel";
import { DeferredRows, type DeferredRowsDeps } from "./deferred-rows.ts";
import type { RecipientProcesses } from "./delivery-node-api.ts";
import type { DeliveryJournal } from "./delivery-journal.ts";
import type { DeliveryLimits } from "./delivery-limits.ts";
import type { TimerHandler } from "./durable-timers.ts";
import type { EscalationStore, RegionAcks } from "./escalation-ports.ts";
import { Escalations } from "./escalations.ts";
import type { LedgerStore, WebhookPort } from "./ports.ts";

/** What chains need beside the ledger. */
export interface EscalationParts {
  readonly store: EscalationStore;
  readonly regions: RegionAcks;
  /** Default: no webhook can be called; the step is passed over. */
  readonly webhooks?: WebhookPort;
}

export interface TimerHandlersDeps extends Omit<DeferredRowsDeps, "rowsMax" | "store"> {
  readonly store: LedgerStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: Pick<DeliveryLimits, "flushRowsMax" | "flows" | "graceMs">;
  readonly journal: DeliveryJournal | undefined;
  /** Undefined: their timers are left alone. */
  readonly escalation: EscalationParts | undefined;
  controlOf(notificationId: string): ControlState;
  flush(): Promise<boolean>;
}

export function createTimerHandlers(deps: TimerHandlersDeps): {
  readonly handlers: readonly TimerHandler<RecipientProcesses>[];
  readonly deferred: DeferredRows;
} {
  const { escalation, limits, store } = deps;
  const deferred = new DeferredRows({ ...deps, rowsMax: limits.flushRowsMax });
  if (escalation === undefined) return { handlers: [deferred.handler], deferred };
  const { store: escalations, regions, webhooks } = escalation;
  const chains = new Escalations({
    ...deps,
    ...{ escalations, regions, webhooks, ledger: store, limits: limits.flows },
    graceMs: limits.graceMs,
  });
  return { handlers: [deferred.handler, chains.handler], deferred };
}
