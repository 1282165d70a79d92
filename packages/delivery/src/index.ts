export { isInAudience } from "./audience-match.ts";
export { DELIVERY_DEFAULTS, type DeliveryLimits } from "./delivery-limits.ts";
export type {
  DeliveryNodeDeps,
  DeliveryNodeOptions,
  DeliveryObserver,
  DeliveryStats,
  RecipientProcesses,
} from "./delivery-node-api.ts";
export { DeliveryNode } from "./delivery-node.ts";
export type { TimerHandler } from "./durable-timers.ts";
export type { EscalationStore, RegionAcks } from "./escalation-ports.ts";
export type { EscalationParts } from "./timer-handlers.ts";
export { localeFor } from "./envelope.ts";
export { isKeptWhole, isSampled } from "./journal-rule.ts";
export type { Outcome, Receipt } from "./ledger-entry.ts";
export type { PolicyStore } from "./tenant-rules-book.ts";
export type { TimerSetting } from "./timer-setting.ts";
export { MemoryTimers } from "./memory-timers.ts";
export type { ControlStore } from "./control-book.ts";
export type { RateStore } from "./rate-book.ts";
export { EMPTY_SETS } from "./ports.ts";
export type {
  ClaimedTimer,
  DirectoryRow,
  GatewayPort,
  HeldPartition,
  JournalEvent,
  JournalStore,
  LedgerRow,
  LedgerRowState,
  LedgerSetName,
  LedgerSets,
  LedgerStore,
  LedgerUpdate,
  PartitionHead,
  StoredNotification,
  TimerChange,
  TimerClaim,
  TimerDue,
  TimerStore,
  WebhookPort,
  WriteOutcome,
} from "./ports.ts";
