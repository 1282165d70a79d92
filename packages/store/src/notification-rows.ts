// packages/store/src/notification-rows.ts
// A notification as table `notification` keeps it.
import type { Content, Notification, Priority } from "@carillon/contracts";

/** Of `notification n`; instants as milliseconds, exactly as they were given. */
export const NOTIFICATION_COLUMNS = `n.id, n.tenant_id, n.accepted_region,
  (extract(epoch from n.accepted_at) * 1000)::bigint as accepted_at_ms,
  (extract(epoch from n.expires_at) * 1000)::bigint as expires_at_ms,
  n.priority, n.category, n.content, n.exclude, n.options`;

export interface NotificationRecord {
  id: string;
  tenant_id: string;
  accepted_region: string;
  accepted_at_ms: number;
  expires_at_ms: number;
  priority: Priority;
  category: string | null;
  content: Record<string, Content>;
  exclude: string[];
  options: NotificationOptions;
}

/** What few notifications have, under the names of the contract. */
export type NotificationOptions = Pick<
  Notification,
  | "sendAtMs"
  | "sendAtLocalMs"
  | "collapseKey"
  | "fallbacks"
  | "throttle"
  | "withdraws"
  | "requireAck"
  | "escalation"
>;

/** JSON leaves out what is undefined. */
export function optionsOf({
  sendAtMs,
  sendAtLocalMs,
  collapseKey,
  fallbacks,
  throttle,
  withdraws,
  requireAck,
  escalation,
}: Notification): object {
  return {
    ...{ sendAtMs, sendAtLocalMs, collapseKey, fallbacks },
    ...{ throttle, withdraws, requireAck, escalation },
  };
}

export function notificationOf(record: NotificationRecord): Notification {
  return {
    id: record.id,
    tenantId: record.tenant_id,
    acceptedRegion: record.accepted_region,
    acceptedAtMs: record.accepted_at_ms,
    expiresAtMs: record.expires_at_ms,
    priority: record.priority,
    ...(record.category !== null && { category: record.category }),
    content: record.content,
    exclude: record.exclude,
    ...record.options,
  };
}
