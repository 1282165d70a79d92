// apps/cli/src/node-retention.ts
// How long a region keeps what it has (docs/retention.md). The same on all of a region's ingest nodes: each
// of them sweeps, and what one drops is gone.
import { int } from "@carillon/config";
import { LIMITS } from "@carillon/contracts";
import type { RetentionPolicy } from "@carillon/store";

const DAY_SECONDS = 86_400;
const DAYS_MAX = 3_650;

export const RETENTION_FIELDS = {
  CARILLON_NODE_KEEP_NOTIFICATIONS_DAYS: int(
    "notifications, inboxes and counts are kept at least so long (ingest)",
    // Below the longest life what is over its time would still be open, and stay: it begins with sendAt.
    {
      min: (LIMITS.sendAtMaxSeconds + LIMITS.ttlMaxSeconds) / DAY_SECONDS,
      max: DAYS_MAX,
      fallback: 90,
    },
  ),
  CARILLON_NODE_KEEP_JOURNAL_DAYS: int("what happened to each recipient is kept so long (ingest)", {
    min: 1,
    max: DAYS_MAX,
    fallback: 30,
  }),
  CARILLON_NODE_KEEP_BURIED_TIMERS_DAYS: int(
    "timers that were given up are kept so long (ingest)",
    {
      min: 1,
      max: DAYS_MAX,
      fallback: 90,
    },
  ),
} as const;

export function retentionOf(config: {
  readonly [Name in keyof typeof RETENTION_FIELDS]: number;
}): RetentionPolicy {
  return {
    notificationDays: config.CARILLON_NODE_KEEP_NOTIFICATIONS_DAYS,
    buriedTimerDays: config.CARILLON_NODE_KEEP_BURIED_TIMERS_DAYS,
    journalDays: config.CARILLON_NODE_KEEP_JOURNAL_DAYS,
  };
}
