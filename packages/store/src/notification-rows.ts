// packages/store/src/notification-rows.ts
// A notification as table `notification` keeps it.
import type { Content, Notification, Priority } from "@carillon/contracts";

/** Of `notification n`; instants as milliseconds, exactly as they were given. */
export const NOTIFICATION_COLUMNS = `n.id, n.tenant_id, n.accepted_region,
  (extract(epoch from n.accepted_at) * 1000)::bigint as accepted_at_ms,
  (extract(epoch from n.expires_at) * 1000)::bigint as expires_at_ms,
  n.priority, n.content, n.exclude, n.fallbacks`;

export interface NotificationRecord {
  id: string;
  tenant_id: string;
  accepted_region: string;
  accepted_at_ms: number;
  expires_at_ms: number;
  priority: Priority;
  content: Record<string, Content>;
  exclude: string[];
  fallbacks: Record<string, string[]> | null;
}

export function notificationOf(record: NotificationRecord): Notification {
  return {
    id: record.id,
    tenantId: record.tenant_id,
    acceptedRegion: record.accepted_region,
    acceptedAtMs: record.accepted_at_ms,
    expiresAtMs: record.expires_at_ms,
    priority: record.priority,
    content: record.content,
    exclude: record.exclude,
    ...(record.fallbacks !== null && { fallbacks: record.fallbacks }),
  };
}
