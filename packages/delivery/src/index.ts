export { DELIVERY_DEFAULTS, type DeliveryLimits } from "./delivery-limits.ts";
export {
  DeliveryNode,
  type DeliveryNodeDeps,
  type DeliveryNodeOptions,
  type DeliveryObserver,
  type DeliveryStats,
  type RecipientProcesses,
} from "./delivery-node.ts";
export { localeFor } from "./envelope.ts";
export type { Outcome, Receipt } from "./ledger-entry.ts";
export type {
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
  WriteOutcome,
} from "./ports.ts";
