export type { AcceptItem, AcceptResult, RelayResult } from "./accept.ts";
export { OUTBOX_FIRST_POLL_MS } from "./accept-statement.ts";
export type { RegionProgress } from "./counts.ts";
export type { ControlChange, SqlControls } from "./controls.ts";
export type { Release, Released } from "./deferred-rows.ts";
export type { RecipientPlace, SqlDirectory, StoredRecipient } from "./directory.ts";
export type { UpsertRequest, UpsertResult } from "./directory-upsert.ts";
export type { EscalationStep, SqlEscalations, StepResult } from "./escalations.ts";
export type { StoreFaultCode } from "./faults.ts";
export type { MembersResult } from "./group-members.ts";
export type { ChangedGroup, SqlGroups } from "./groups.ts";
export type { SqlHome, StoredHome } from "./home.ts";
export type { ReportPage } from "./home-report-page.ts";
export type { SqlHomeReport } from "./home-report.ts";
export type { IdempotencyClaim, Repeat } from "./idempotency.ts";
export type { InboxItem, InboxPage, InboxPlace } from "./inbox.ts";
export type { JournalEvent, SqlJournal, StoryEvent } from "./journal.ts";
export type { LastWordsData } from "./last-words.ts";
export type { Lease, LeaseRow, SqlLeases } from "./leases.ts";
export type { DirectoryRow, PartitionHead, SqlLedger, StoredNotification } from "./ledger.ts";
export type { HeldPartition, LedgerUpdate, WriteOutcome } from "./ledger-flush.ts";
export type { LedgerRow, LedgerRowState, LedgerSets } from "./ledger-rows.ts";
export type { LedgerTail, TailOptions } from "./ledger-tail.ts";
export type { NotificationDetails, RecipientRow, SqlNotifications } from "./notifications.ts";
export type { OutboxRow, SqlOutbox, TakeOver, TakeOverOptions } from "./outbox.ts";
export type { OutboxProbe } from "./outbox-withheld.ts";
export type { PolicyChange, SqlPolicies, TenantPolicy } from "./policies.ts";
export type { StoreOptions } from "./pool.ts";
export type { RecentQuestion, RecentRow } from "./recent-deliveries.ts";
export type { PreferencesChange, PreferencesStored, SqlPreferences } from "./preferences.ts";
export type { RecipientsCursor, RecipientsPage, RecipientsState } from "./recipients-of.ts";
export type { QuarantinedRecipient, QuarantineTimes, SqlQuarantine } from "./quarantine.ts";
export type { RetentionReport, SqlRetention } from "./retention.ts";
export type { RetentionPolicy } from "./retention-policy.ts";
export type { RateChange, SqlRates } from "./rates.ts";
export { createStore, type Store } from "./store.ts";
export type { ChangedTemplate, SqlTemplates, TemplatesKnown, TemplateStamp } from "./templates.ts";
export {
  API_KEY_SCOPES,
  type ApiKeyRequest,
  type ApiKeyScope,
  type SqlTenants,
  type VerifiedApiKey,
} from "./tenants.ts";
export type {
  ClaimedTimer,
  ClaimOptions,
  SqlTimers,
  TimerChange,
  TimerClaim,
  TimerDue,
} from "./timers.ts";
export { unstorableFieldOf } from "./text.ts";
