export { DELIVERY_DEFAULTS, type DeliveryLimits } from "./delivery-limits.ts";
export {
  DeliveryNode,
  type DeliveryNodeDeps,
  type DeliveryNodeOptions,
  type DeliveryObserver,
  type DeliveryStats,
  type RecipientProcesses,
} from "./delivery-node.ts";
export type { TimerHandler, TimerSetting } from "./durable-timers.ts";
export { localeFor } from "./envelope.ts";
export type { Outcome, Receipt } from "./ledger-entry.ts";
export { MemoryTimers } from "./memory-timers.ts";
export type {
  ClaimedTimer,
  DirectoryRow,
  GatewayPort,
  HeldPartition,
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
  WriteOutcome,
} from "./ports.ts";
