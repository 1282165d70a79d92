// test/sim/database-accept.ts
// The group commit and the relayed one, as packages/store/src/accept.ts and its statement do them.
import {
  ackSecondsOf,
  type DeferredMembers,
  deferredPayloadOf,
  LIMITS,
  type Notification,
  type PokeEntry,
  type RelayItem,
  ROW_TIMER_KIND,
} from "@carillon/contracts";
import { EMPTY_SETS } from "@carillon/delivery";
import { Bitset } from "@carillon/kernel";
import type {
  AcceptItem,
  AcceptResult,
  IdempotencyClaim,
  LedgerRow,
  RelayResult,
  Repeat,
} from "@carillon/store";
import { OUTBOX_FIRST_POLL_MS } from "@carillon/store";
import { toldAgain } from "./database-control.ts";
import type { Database } from "./database.ts";

const IDEMPOTENCY_MS = LIMITS.idempotencyTtlSeconds * 1_000;

interface Wanted {
  readonly partition: number;
  readonly members: number[];
}

export function accept(database: Database, items: readonly AcceptItem[]): AcceptResult[] {
  const now = database.nowMs();
  return items.map((item): AcceptResult => {
    const { notification, audience, idempotency, remotes } = item;
    const key = idempotency && `${notification.tenantId}/${idempotency.key}`;
    const repeated = idempotency && repeatOf(database, notification.tenantId, idempotency);
    if (repeated) return repeated;
    const { wanted, missingCount } = resolve(database, item);
    const answer =
      missingCount === 0
        ? item.answer
        : { ...item.answer, unknownCount: (item.answer.unknownCount ?? 0) + missingCount };
    if (key !== null && idempotency)
      database.idempotency.set(key, {
        fingerprint: idempotency.fingerprint,
        answer,
        createdAtMs: now,
      });
    database.notifications.set(notification.id, { notification, audience, isAcceptedHere: true });
    const outboxIds: Record<string, number> = {};
    for (const remote of remotes.toSorted((a, b) => (a.region < b.region ? -1 : 1))) {
      const id = ++database.lastOutboxId;
      outboxIds[remote.region] = id;
      database.outbox.set(id, {
        id,
        targetRegion: remote.region,
        notificationId: notification.id,
        audience: remote.audience,
        attemptCount: 0,
        nextAttemptAtMs: now + OUTBOX_FIRST_POLL_MS,
        createdAtMs: now,
      });
    }
    const ledgerEntries = plan(database, item, wanted);
    const backlogs = [...database.relayBacklogs.keys()];
    return { kind: "accepted", answer, ledgerEntries, outboxIds, backlogs };
  });
}

export function repeatOf(
  database: Database,
  tenantId: string,
  { key, fingerprint }: IdempotencyClaim,
): Repeat | undefined {
  const known = database.idempotency.get(`${tenantId}/${key}`);
  if (known === undefined || known.createdAtMs <= database.nowMs() - IDEMPOTENCY_MS)
    return undefined;
  const isSame = Buffer.compare(known.fingerprint, fingerprint) === 0;
  if (!isSame) return { kind: "mismatch" };
  return { kind: "replayed", answer: known.answer as AcceptItem["answer"] };
}

export function acceptRelayed(database: Database, items: readonly RelayItem[]): RelayResult[] {
  return items.map(({ notification, audience }): RelayResult => {
    if (database.notifications.has(notification.id)) return { kind: "repeated" };
    database.notifications.set(notification.id, { notification, audience, isAcceptedHere: false });
    const item = { notification, audience };
    const { wanted } = resolve(database, item);
    return { kind: "accepted", ledgerEntries: plan(database, item, wanted) };
  });
}

type Meant = Pick<AcceptItem, "notification" | "audience">;

function resolve(database: Database, { notification, audience }: Meant) {
  const byPartition = new Map<number, number[]>();
  let missingCount = 0;
  const whole = audience?.kind === "except" ? audience.of : audience;
  if (whole?.kind === "recipients") {
    const ids = new Set(whole.recipientIds);
    for (const excluded of notification.exclude) ids.delete(excluded);
    for (const id of ids) {
      const found = database.recipients.get(`${notification.tenantId}/${id}`);
      if (found === undefined) missingCount++;
      else
        byPartition.set(found.partition, [
          ...(byPartition.get(found.partition) ?? []),
          found.index,
        ]);
    }
  }
  const wanted = Array.from(byPartition, ([partition, members]) => ({
    partition,
    members: members.toSorted((a, b) => a - b),
  })).toSorted((a, b) => a.partition - b.partition);
  return { wanted, missingCount };
}

function plan(
  database: Database,
  { notification, audience }: Meant,
  wanted: Wanted[],
): PokeEntry[] {
  if (audience === null) return [];
  const isExplicit = (audience.kind === "except" ? audience.of : audience).kind === "recipients";
  const isDecided = audience.kind === "recipients";
  const entries: { partition: number; members: number[] | null }[] = isExplicit
    ? wanted.map(({ partition, members }) => ({ partition, members: isDecided ? members : null }))
    : database.partitions.map((_, partition) => ({ partition, members: null }));
  if (notification.sendAtMs !== undefined) {
    toldAgain(database, notification.id);
    for (const entry of entries) {
      later(database, notification, entry);
      database.observer.onPlaced(entry.partition, notification.id);
    }
    return [];
  }
  return entries.map(({ partition, members }) => {
    const record = database.partition(partition);
    const isSmall = members !== null && members.length <= LIMITS.smallAudienceMax;
    const targeted =
      members !== null && !isSmall ? Bitset.of(members).toBytes() : EMPTY_SETS.targeted;
    const row: LedgerRow = {
      partition,
      offset: record.nextOffset++,
      directoryVersion: record.directoryVersion,
      members: isSmall ? members : null,
      notificationId: notification.id,
      state: isDecided ? "open" : "planned",
      movesCount: 0,
      sets: { ...EMPTY_SETS, targeted },
    };
    record.ledger.push(row);
    const { tenantId, requireAck } = notification;
    database.timers.putChain({ ...row, tenantId, ackSeconds: ackSecondsOf(requireAck) });
    database.observer.onPlanned(row);
    database.observer.onPlaced(partition, notification.id);
    return {
      partition,
      offset: row.offset,
      directoryVersion: row.directoryVersion,
      members: row.members,
    };
  });
}

/** A row that is sent later waits as a timer (ST34). */
function later(
  database: Database,
  { id, tenantId, requireAck, sendAtMs = 0 }: Notification,
  { partition, members }: { partition: number; members: number[] | null },
): void {
  const ackSeconds = ackSecondsOf(requireAck);
  database.timers.put({
    partition,
    kind: ROW_TIMER_KIND,
    key: `${id}/`,
    tenantId,
    dueAtMs: sendAtMs,
    payload: {
      ...deferredPayloadOf({ reason: "sendAt", members: membersOf(members) }),
      notificationId: id,
      ...(ackSeconds !== undefined && { ackSeconds }),
    },
  });
}

function membersOf(members: number[] | null): DeferredMembers {
  if (members === null) return { kind: "all" };
  if (members.length <= LIMITS.smallAudienceMax) return { kind: "members", members };
  return { kind: "set", set: Bitset.of(members).toBytes(), count: members.length };
}
