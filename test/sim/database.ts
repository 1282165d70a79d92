// test/sim/database.ts
// One region's Postgres as its statements have it: each method is one statement of packages/store,
// done at one instant. database.pg.test.ts runs both on the same operations and compares.
//   SI6  A statement is atomic; fences and leases are decided in it, by the database's own clock.
// What accept does is in database-accept.ts, the outbox in database-outbox.ts.
import { ackSecondsOf, LIMITS, partitionOf, type RecipientChange } from "@carillon/contracts";
import type { Notification, PolicyRecord, RegionAudience } from "@carillon/contracts";
import { EMPTY_SETS, MemoryTimers } from "@carillon/delivery";
import { assert, Bitset, Fault } from "@carillon/kernel";
import type { ControlRow } from "./database-control.ts";
import type {
  DirectoryRow,
  LedgerRow,
  LedgerUpdate,
  PartitionHead,
  Release,
  Released,
  StoredNotification,
} from "@carillon/store";

export interface PartitionRecord {
  ownerId: string | null;
  epoch: number;
  leaseUntilMs: number;
  isReleased: boolean;
  nextOffset: number;
  nextIndex: number;
  directoryVersion: number;
  readonly ledger: LedgerRow[]; // row of offset n at n − 1
  readonly recipients: RecipientRecord[]; // by index
}

export interface RecipientRecord {
  readonly recipientId: string;
  readonly tenantId: string;
  readonly partition: number;
  readonly index: number;
  locale: string | null;
  timeZone: string | null;
  attributes: Readonly<Record<string, unknown>>;
  version: number;
}

export interface NotificationRecord {
  readonly notification: Notification;
  readonly audience: RegionAudience | null;
  readonly isAcceptedHere: boolean;
}

export interface OutboxRecord {
  readonly id: number;
  readonly targetRegion: string;
  readonly notificationId: string;
  readonly audience: RegionAudience;
  attemptCount: number;
  nextAttemptAtMs: number;
  readonly createdAtMs: number;
}

/** Told at the instant of the statement. */
export interface DatabaseObserver {
  onPlanned(row: LedgerRow): void;
  onWritten(update: LedgerUpdate, before: LedgerRow): void;
  /** A statement has put some of those whom it is for in a row, or away from one: all of it is done. */
  onPlaced(partition: number, notificationId: string): void;
  /** Its row follows. */
  onReleased(timer: { id: number; partition: number; dueAtMs: number; attemptCount: number }): void;
  /** The fence refused a write for these. */
  onFenced(partitions: readonly number[]): void;
  onOwner(partition: number, owner: string | null, epoch: number): void;
  /** Its owner cannot know yet. */
  onRevoked(partition: number, owner: string): void;
}

const NO_OBSERVER: DatabaseObserver = {
  onPlanned: () => undefined,
  onWritten: () => undefined,
  onPlaced: () => undefined,
  onReleased: () => undefined,
  onFenced: () => undefined,
  onOwner: () => undefined,
  onRevoked: () => undefined,
};

export class Database {
  readonly home: string;
  readonly nowMs: () => number;
  readonly partitions: readonly PartitionRecord[];
  readonly notifications = new Map<string, NotificationRecord>();
  readonly idempotency = new Map<
    string,
    { readonly fingerprint: Uint8Array; readonly answer: unknown; readonly createdAtMs: number }
  >();
  readonly outbox = new Map<number, OutboxRecord>();
  readonly timers: MemoryTimers;
  readonly controls = new Map<string, ControlRow>(); // by notification
  readonly policies = new Map<string, PolicyRecord>(); // by tenant
  readonly relayBacklogs = new Map<string, { holder: string; heldUntilMs: number }>(); // by target
  readonly recipients = new Map<string, RecipientRecord>(); // "tenant/id"
  readonly homes = new Map<string, string>(); // "tenant/id" → region
  observer: DatabaseObserver = NO_OBSERVER;
  lastOutboxId = 0;
  /** How often somebody's rows were brought back to an owner's memory. */
  ownReadsCount = 0;
  readonly #ledgerEpoch: string;

  constructor(home: string, nowMs: () => number, ledgerEpoch: string) {
    this.home = home;
    this.nowMs = nowMs;
    this.#ledgerEpoch = ledgerEpoch;
    this.timers = new MemoryTimers(nowMs, (n, epoch) => {
      const record = this.partition(n);
      return record.ownerId !== null && record.epoch === epoch;
    });
    this.partitions = Array.from({ length: LIMITS.partitionCount }, () => ({
      ownerId: null,
      epoch: 0,
      leaseUntilMs: -Infinity,
      isReleased: true,
      nextOffset: 1,
      nextIndex: 0,
      directoryVersion: 0,
      ledger: [],
      recipients: [],
    }));
  }

  partition(n: number): PartitionRecord {
    const record = this.partitions[n];
    assert(record, `no partition ${n}`);
    return record;
  }

  isFree({ ownerId, leaseUntilMs }: PartitionRecord): boolean {
    return ownerId === null || leaseUntilMs <= this.nowMs();
  }

  // --- leases -------------------------------------------------------------------------------

  listLeases() {
    return this.partitions.map((record, partition) => ({
      partition,
      ownerId: record.ownerId,
      epoch: record.epoch,
      isExpired: this.isFree(record),
      isReleased: record.isReleased,
    }));
  }

  acquire(options: { memberId: string; partitions: readonly number[]; leaseMs: number }) {
    return [...options.partitions]
      .toSorted((a, b) => a - b)
      .flatMap((partition) => {
        const record = this.partition(partition);
        if (!this.isFree(record)) return [];
        record.ownerId = options.memberId;
        record.epoch++;
        record.leaseUntilMs = this.nowMs() + options.leaseMs;
        record.isReleased = false;
        this.observer.onOwner(partition, options.memberId, record.epoch);
        return [{ partition, epoch: record.epoch }];
      });
  }

  refresh(options: { memberId: string; leaseMs: number }) {
    return this.partitions.flatMap((record, partition) => {
      if (record.ownerId !== options.memberId || record.leaseUntilMs <= this.nowMs()) return []; // ST12
      record.leaseUntilMs = this.nowMs() + options.leaseMs;
      return [{ partition, epoch: record.epoch }];
    });
  }

  release(options: { memberId: string; partitions: readonly number[] }): void {
    for (const partition of options.partitions) {
      const record = this.partition(partition);
      if (record.ownerId !== options.memberId) continue;
      record.ownerId = null;
      record.isReleased = true;
      record.leaseUntilMs = this.nowMs();
      this.observer.onOwner(partition, null, record.epoch);
    }
  }

  /** Not a statement: history is lost, and with it that the lease was ever granted. */
  revoke(partition: number): void {
    const record = this.partition(partition);
    if (record.ownerId === null) return;
    this.observer.onRevoked(partition, record.ownerId);
    record.ownerId = null;
    record.leaseUntilMs = this.nowMs();
    this.observer.onOwner(partition, null, record.epoch);
  }

  // --- ledger -------------------------------------------------------------------------------

  heads(partitions: readonly number[]): PartitionHead[] {
    return ascending(partitions).map((partition) => {
      const { nextOffset, directoryVersion } = this.partition(partition);
      return { partition, nextOffset, directoryVersion, ledgerEpoch: this.#ledgerEpoch };
    });
  }

  rows(partition: number, options: { afterOffset: number; limitCount: number }): LedgerRow[] {
    const { afterOffset, limitCount } = options;
    return this.partition(partition).ledger.slice(Math.max(0, afterOffset)).slice(0, limitCount);
  }

  rowsOf(partitions: readonly number[], notificationId: string): LedgerRow[] {
    return ascending(partitions).flatMap((n) =>
      this.partition(n).ledger.filter((row) => row.notificationId === notificationId),
    );
  }

  unclosedRows(partitions: readonly number[], ownRowsMax = Infinity): LedgerRow[] {
    return ascending(partitions).flatMap((partition) => {
      const counts = new Map<number, number>();
      return this.partition(partition).ledger.filter(({ state, members }) => {
        if (state === "closed") return false;
        const [index] = members ?? [];
        if (members?.length !== 1 || index === undefined) return true;
        counts.set(index, (counts.get(index) ?? 0) + 1);
        return (counts.get(index) ?? 0) <= ownRowsMax;
      });
    });
  }

  ownRows(
    wanted: readonly { partition: number; index: number; fromOffset: number }[],
    options: { readonly limitCount: number; readonly expiredByMs: number | null },
  ): LedgerRow[] {
    const { limitCount, expiredByMs } = options;
    this.ownReadsCount++;
    const isWanted = ({ notificationId }: LedgerRow): boolean =>
      expiredByMs === null ||
      (this.notifications.get(notificationId)?.notification.expiresAtMs ?? Infinity) <= expiredByMs;
    return [...wanted]
      .toSorted((a, b) => a.partition - b.partition || a.index - b.index)
      .flatMap(({ partition, index, fromOffset }) =>
        this.partition(partition)
          .ledger.filter(({ offset, state }) => offset >= fromOffset && state !== "closed")
          .filter(({ members }) => members?.length === 1 && members[0] === index)
          .filter(isWanted)
          .slice(0, limitCount),
      );
  }

  tails(partitions: readonly number[], limitCount: number): LedgerRow[] {
    return ascending(partitions).flatMap((n) => this.partition(n).ledger.slice(-limitCount));
  }

  tailOf(
    partition: number,
    options: { index: number; afterOffset: number; limitCount: number; scanMax: number },
  ): { kind: "rows"; rows: LedgerRow[] } | { kind: "tooFar" } {
    const { index, afterOffset, limitCount, scanMax } = options;
    const { nextOffset, ledger } = this.partition(partition);
    if (nextOffset - 1 - afterOffset > scanMax) return { kind: "tooFar" };
    const rows = ledger.filter(
      (row) =>
        row.offset > afterOffset &&
        row.state !== "planned" &&
        isTargeted(row, index) &&
        !isMoved(row, index),
    );
    return { kind: "rows", rows: rows.slice(0, limitCount) };
  }

  notificationsOf(ids: readonly string[]): StoredNotification[] {
    return ids.flatMap((id) => {
      const found = this.notifications.get(id);
      if (found === undefined || found.audience === null) return [];
      return [{ notification: found.notification, audience: found.audience }];
    });
  }

  /** The fence (D4): owner and epoch as they are at this instant, for each partition. */
  writeRows(updates: readonly LedgerUpdate[]): { fencedPartitions: number[] } {
    const epochs = new Map(updates.map(({ partition, epoch }) => [partition, epoch]));
    const isOne = updates.every(({ partition, epoch }) => epochs.get(partition) === epoch);
    assert(isOne, "D4 one epoch per partition in a flush"); // as the real one
    const fenced = [...epochs].flatMap(([partition, epoch]) => {
      const record = this.partition(partition);
      return record.ownerId !== null && record.epoch === epoch ? [] : [partition];
    });
    if (fenced.length > 0) this.observer.onFenced(fenced);
    for (const update of updates) {
      if (fenced.includes(update.partition)) continue;
      const { ledger } = this.partition(update.partition);
      const before = ledger[update.offset - 1];
      assert(before !== undefined, "ST8 a flush names rows that exist, each once");
      this.observer.onWritten(update, before);
      const of = this.notifications.get(before.notificationId)?.notification;
      const ackSeconds = ackSecondsOf(of?.requireAck);
      this.timers.putMoves(update, before, { tenantId: of?.tenantId ?? "", ackSeconds });
      const movesCount = update.moves?.count ?? before.movesCount;
      const { state, sets } = update;
      ledger[update.offset - 1] = { ...before, state, movesCount, sets };
      if (Buffer.compare(sets.moved, before.sets.moved) !== 0 || movesCount !== before.movesCount)
        this.observer.onPlaced(update.partition, before.notificationId);
    }
    return { fencedPartitions: fenced };
  }

  /** Rows whose time has come, where the fence allows it: each once (ST34). */
  releaseRows(releases: readonly Release[]): Released {
    const epochs = new Map(releases.map(({ partition, epoch }) => [partition, epoch]));
    const isOne = releases.every(({ partition, epoch }) => epochs.get(partition) === epoch);
    assert(isOne, "D4 one epoch per partition in a release"); // as the real one
    const fencedPartitions = [...epochs].flatMap(([partition, epoch]) => {
      const record = this.partition(partition);
      return record.ownerId !== null && record.epoch === epoch ? [] : [partition];
    });
    if (fencedPartitions.length > 0) this.observer.onFenced(fencedPartitions);
    const entries = releases.flatMap(
      ({ partition, timerId, notificationId, members, ackSeconds }) => {
        const timer = [...this.timers.rows.values()].find(({ id }) => id === timerId);
        if (fencedPartitions.includes(partition) || !this.timers.take(timerId)) return [];
        if (timer !== undefined) this.observer.onReleased(timer);
        const record = this.partition(partition);
        const place = {
          partition,
          offset: record.nextOffset++,
          directoryVersion: record.directoryVersion,
          members: members.kind === "members" ? [...members.members] : null,
          notificationId,
        };
        const row: LedgerRow = {
          ...place,
          state: members.kind === "all" ? "planned" : "open",
          movesCount: 0,
          sets: { ...EMPTY_SETS, ...(members.kind === "set" && { targeted: members.set }) },
        };
        record.ledger.push(row);
        this.timers.putChain({ ...row, tenantId: timer?.tenantId ?? "", ackSeconds });
        this.observer.onPlanned(row);
        this.observer.onPlaced(partition, notificationId);
        return { ...place, timerId };
      },
    );
    return {
      entries: entries.toSorted((a, b) => a.partition - b.partition || a.offset - b.offset),
      fencedPartitions,
    };
  }

  // --- directory ----------------------------------------------------------------------------

  directory(partition: number, options: { afterVersion: number; limitCount: number }) {
    const above = this.partition(partition)
      .recipients.filter(({ version }) => version > options.afterVersion)
      .toSorted((a, b) => a.version - b.version || a.index - b.index);
    const last = above[options.limitCount - 1]?.version ?? Infinity; // a page ends after a version
    return above.filter(({ version }) => version <= last).map(directoryRowOf);
  }

  wholeDirectory(partitions: readonly number[]): { partition: number; row: DirectoryRow }[] {
    return ascending(partitions).flatMap((partition) =>
      this.partition(partition).recipients.map((record) => ({
        partition,
        row: directoryRowOf(record),
      })),
    );
  }

  upsert(tenantId: string, changes: readonly RecipientChange[]): { created: number } {
    let created = 0;
    const versions = new Map<number, number>(); // one more per partition and call
    const last = new Map(changes.map((change) => [change.recipientId, change]));
    for (const change of last.values()) {
      const { recipientId, locale, timeZone, attributes } = change;
      const key = `${tenantId}/${recipientId}`;
      const partition = partitionOf(tenantId, recipientId);
      const head = this.partition(partition);
      const known = this.recipients.get(key);
      if (known !== undefined && isSame(known, change)) continue;
      const version = versions.get(partition) ?? ++head.directoryVersion;
      versions.set(partition, version);
      if (known !== undefined) {
        Object.assign(known, { locale, timeZone, attributes, version });
        continue;
      }
      created++;
      const index = head.nextIndex++;
      const place = { recipientId, tenantId, partition, index };
      const record: RecipientRecord = { ...place, locale, timeZone, attributes, version };
      head.recipients[index] = record;
      this.recipients.set(key, record);
      this.homes.set(key, this.home);
    }
    return { created };
  }

  homesOf(tenantId: string, recipientIds: readonly string[]): Map<string, string> {
    const found = new Map<string, string>();
    for (const id of recipientIds) {
      const home = this.homes.get(`${tenantId}/${id}`);
      if (home !== undefined) found.set(id, home);
    }
    return found;
  }
}

export function unavailable(operation: string, reason: string): Fault {
  const options = { code: "store_unavailable", isRetryable: true };
  return new Fault(`${operation}: the store is not available (${reason})`, options);
}

export function isTargeted({ members, sets }: LedgerRow, index: number): boolean {
  return members === null ? Bitset.fromBytes(sets.targeted).has(index) : members.includes(index);
}

function isMoved({ members, sets }: LedgerRow, index: number): boolean {
  const position = members === null ? index : members.indexOf(index);
  return Bitset.fromBytes(sets.moved).has(position);
}

function isSame(known: RecipientRecord, change: RecipientChange): boolean {
  return (
    known.locale === change.locale &&
    known.timeZone === change.timeZone &&
    JSON.stringify(known.attributes) === JSON.stringify(change.attributes)
  );
}

function directoryRowOf(record: RecipientRecord): DirectoryRow {
  const { index, tenantId, recipientId, locale, timeZone, attributes, version } = record;
  const nothing = { preferences: null, groups: [] };
  return { index, tenantId, recipientId, locale, timeZone, attributes, ...nothing, version };
}

function ascending(partitions: readonly number[]): number[] {
  return [...new Set(partitions)].toSorted((a, b) => a - b);
}
