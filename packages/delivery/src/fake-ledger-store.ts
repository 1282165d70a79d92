// packages/delivery/src/fake-ledger-store.ts
// A LedgerStore in memory, for tests of this package: keeps rows as bytes, as Postgres does, and
// fences by epoch. Faults can be planted: "the n-th call fails".
import { ackSecondsOf, type Notification, type RegionAudience } from "@carillon/contracts";
import { assert, Bitset, Fault } from "@carillon/kernel";
import { Envelope } from "./envelope.ts";
import { LedgerEntry } from "./ledger-entry.ts";
import type { MemoryTimers } from "./memory-timers.ts";
import {
  type DirectoryRow,
  EMPTY_SETS,
  type LedgerRow,
  type LedgerStore,
  type LedgerUpdate,
  type OwnRowsWanted,
  type PartitionHead,
  type Release,
  type Released,
  type StoredNotification,
  type WriteOutcome,
} from "./ports.ts";

export function notificationOf(options: Partial<Notification> = {}): Notification {
  return {
    id: "00000000-0000-7000-8000-000000000001",
    tenantId: "acme",
    acceptedRegion: "fra",
    acceptedAtMs: 0,
    expiresAtMs: 1e13,
    priority: "normal",
    content: { en: { title: "Hello" } },
    exclude: [],
    ...options,
  };
}

/** What a store throws that is down. */
export function planted(): Fault {
  return new Fault("planted", { code: "store_unavailable", isRetryable: true });
}

/** An open entry of a small audience. */
export function entryOf(options: {
  offset: number;
  members: number[];
  expiresAtMs?: number;
  priority?: Notification["priority"];
  tenantId?: string;
  id?: string;
}): LedgerEntry {
  const { offset, members, expiresAtMs = 1e13, priority = "normal", tenantId = "acme" } = options;
  const { id = notificationOf().id } = options;
  const notification = notificationOf({ id, expiresAtMs, priority, tenantId });
  const row: LedgerRow = {
    partition: 0,
    offset,
    directoryVersion: 0,
    members,
    notificationId: notification.id,
    state: "open",
    movesCount: 0,
    sets: EMPTY_SETS,
  };
  return new LedgerEntry(row, new Envelope(notification, null));
}

export class FakeLedgerStore implements LedgerStore {
  readonly rows = new Map<string, LedgerRow>();
  readonly notifications = new Map<string, StoredNotification>();
  readonly directory = new Map<number, DirectoryRow[]>();
  readonly epochs = new Map<number, number>();
  /** Every write that was taken, in order. */
  readonly written: LedgerUpdate[] = [];
  fencedCount = 0;
  /** Where those who are put off wait; undefined: nobody is. */
  timers: MemoryTimers | undefined;
  /** Rows that each read of open ones gave. */
  readonly readCounts: number[] = [];
  /** Calls that are still to fail. */
  failuresLeft = 0;

  /** As accept does: next offset, directory version of now. Returns the row. */
  plan(
    partition: number,
    notification: Notification,
    audience: RegionAudience | { members: number[] },
  ): LedgerRow {
    const members = "members" in audience ? audience.members : null;
    const stored = "members" in audience ? ({ kind: "broadcast" } as const) : audience;
    this.notifications.set(notification.id, { notification, audience: stored });
    const row: LedgerRow = {
      partition,
      offset: this.#nextOffset(partition),
      directoryVersion: this.#directoryVersion(partition),
      members,
      notificationId: notification.id,
      state: members === null ? "planned" : "open",
      movesCount: 0,
      sets: EMPTY_SETS,
    };
    this.rows.set(`${partition}/${row.offset}`, row);
    return row;
  }

  addRecipient(
    partition: number,
    recipientId: string,
    options: Partial<DirectoryRow> = {},
  ): number {
    const known = this.directory.get(partition) ?? [];
    this.directory.set(partition, known);
    const version = this.#directoryVersion(partition) + 1;
    const index = known.length;
    known.push({
      index,
      tenantId: "acme",
      recipientId,
      locale: null,
      timeZone: null,
      preferences: null,
      attributes: {},
      groups: [],
      version,
      ...options,
    });
    return index;
  }

  setOf(partition: number, offset: number, name: keyof typeof EMPTY_SETS): number[] {
    const bytes = this.rows.get(`${partition}/${offset}`)?.sets[name];
    return bytes === undefined ? [] : Bitset.fromBytes(bytes).toArray();
  }

  async readHeads(_home: string, partitions: readonly number[]): Promise<PartitionHead[]> {
    this.#mayFail();
    return partitions.map((partition) => ({
      partition,
      nextOffset: this.#nextOffset(partition),
      directoryVersion: this.#directoryVersion(partition),
      ledgerEpoch: "e1",
    }));
  }

  async readRows(
    _home: string,
    partition: number,
    { afterOffset, limitCount }: { afterOffset: number; limitCount: number },
  ): Promise<LedgerRow[]> {
    this.#mayFail();
    return this.#rowsOf(partition)
      .filter((row) => row.offset > afterOffset)
      .slice(0, limitCount);
  }

  async readRowsOf(
    _home: string,
    partitions: readonly number[],
    notificationId: string,
  ): Promise<LedgerRow[]> {
    this.#mayFail();
    return partitions
      .flatMap((partition) => this.#rowsOf(partition))
      .filter((row) => row.notificationId === notificationId);
  }

  async readUnclosedRows(
    _home: string,
    partitions: readonly number[],
    ownRowsMax = Infinity,
  ): Promise<LedgerRow[]> {
    this.#mayFail();
    const counts = new Map<string, number>();
    const unclosed = partitions.flatMap((n) =>
      this.#rowsOf(n).filter((row) => row.state !== "closed"),
    );
    const read = unclosed.filter((row) => {
      if (row.members?.length !== 1) return true;
      const owner = `${row.partition}/${row.members.join()}`;
      counts.set(owner, (counts.get(owner) ?? 0) + 1);
      return (counts.get(owner) ?? 0) <= ownRowsMax;
    });
    this.readCounts.push(read.length);
    return read;
  }

  async readOwnRows(
    _home: string,
    wanted: readonly OwnRowsWanted[],
    { limitCount, expiredByMs }: { limitCount: number; expiredByMs: number | null },
  ): Promise<LedgerRow[]> {
    this.#mayFail();
    const rows = wanted.flatMap(({ partition, index, fromOffset }) =>
      this.#rowsOf(partition)
        .filter(({ offset, state }) => offset >= fromOffset && state !== "closed")
        .filter(({ members }) => members?.length === 1 && members[0] === index)
        .filter(
          ({ notificationId: id }) =>
            expiredByMs === null ||
            (this.notifications.get(id)?.notification.expiresAtMs ?? Infinity) <= expiredByMs,
        )
        .slice(0, limitCount),
    );
    this.readCounts.push(rows.length);
    return rows;
  }

  async readTails(
    _home: string,
    partitions: readonly number[],
    limitCount: number,
  ): Promise<LedgerRow[]> {
    this.#mayFail();
    return partitions.flatMap((n) => this.#rowsOf(n).slice(-limitCount));
  }

  async readTailOf(
    _home: string,
    partition: number,
    options: { index: number; afterOffset: number; limitCount: number; scanMax: number },
  ): Promise<{ kind: "rows"; rows: LedgerRow[] } | { kind: "tooFar" }> {
    this.#mayFail();
    const above = this.#rowsOf(partition).filter((row) => row.offset > options.afterOffset);
    if (above.length > options.scanMax) return { kind: "tooFar" };
    const rows = above.filter((row) =>
      row.members === null
        ? Bitset.fromBytes(row.sets.targeted).has(options.index)
        : row.members.includes(options.index),
    );
    return { kind: "rows", rows: rows.slice(0, options.limitCount) };
  }

  async readNotifications(ids: readonly string[]): Promise<StoredNotification[]> {
    this.#mayFail();
    return ids.flatMap((id) => this.notifications.get(id) ?? []);
  }

  async readDirectory(
    _home: string,
    partition: number,
    { afterVersion, limitCount }: { afterVersion: number; limitCount: number },
  ): Promise<DirectoryRow[]> {
    this.#mayFail();
    return (this.directory.get(partition) ?? [])
      .filter((row) => row.version > afterVersion)
      .slice(0, limitCount);
  }

  readonly quarantined: {
    partition: number;
    index: number;
    reason: string;
    remainingMs: number;
  }[] = [];
  async readQuarantined(_home: string, partitions: readonly number[]) {
    this.#mayFail();
    return this.quarantined.filter(({ partition }) => partitions.includes(partition));
  }

  async streamDirectory(
    _home: string,
    partitions: readonly number[],
    onPage: (rows: { partition: number; row: DirectoryRow }[]) => void,
  ): Promise<void> {
    this.#mayFail();
    for (const partition of partitions)
      onPage((this.directory.get(partition) ?? []).map((row) => ({ partition, row })));
  }

  async writeRows(_home: string, updates: readonly LedgerUpdate[]): Promise<WriteOutcome> {
    this.#mayFail();
    const epochs = new Map(updates.map(({ partition, epoch }) => [partition, epoch]));
    assert(
      updates.every(({ partition, epoch }) => epochs.get(partition) === epoch),
      "D4 one epoch per partition in a flush", // as the real one
    );
    const fenced = new Set<number>();
    for (const update of updates) {
      const epoch = this.epochs.get(update.partition);
      if (epoch !== undefined && epoch !== update.epoch) {
        fenced.add(update.partition);
        this.fencedCount++;
        continue;
      }
      const key = `${update.partition}/${update.offset}`;
      const row = this.rows.get(key);
      if (row === undefined) continue;
      const requireAck = this.notifications.get(row.notificationId)?.notification.requireAck;
      this.timers?.putMoves(update, row, {
        tenantId: "acme",
        ackSeconds: ackSecondsOf(requireAck),
      });
      const movesCount = update.moves?.count ?? row.movesCount;
      this.rows.set(key, { ...row, state: update.state, movesCount, sets: update.sets });
      this.written.push(update);
    }
    return { fencedPartitions: [...fenced] };
  }

  async releaseRows(_home: string, releases: readonly Release[]): Promise<Released> {
    this.#mayFail();
    const isFenced = ({ partition, epoch }: Release): boolean =>
      (this.epochs.get(partition) ?? epoch) !== epoch;
    const taken = releases.filter((one) => !isFenced(one) && this.timers?.take(one.timerId));
    const entries = taken.map(({ partition, timerId, notificationId, members, ackSeconds }) => {
      const row: LedgerRow = {
        partition,
        offset: this.#nextOffset(partition),
        directoryVersion: this.#directoryVersion(partition),
        members: members.kind === "members" ? [...members.members] : null,
        notificationId,
        state: members.kind === "all" ? "planned" : "open",
        movesCount: 0,
        sets: { ...EMPTY_SETS, ...(members.kind === "set" && { targeted: members.set }) },
      };
      this.rows.set(`${partition}/${row.offset}`, row);
      this.timers?.putChain({ ...row, tenantId: "acme", ackSeconds });
      return { ...row, timerId };
    });
    const fencedPartitions = [...new Set(releases.filter(isFenced).map((one) => one.partition))];
    return { entries, fencedPartitions };
  }

  #mayFail(): void {
    if (this.failuresLeft <= 0) return;
    this.failuresLeft--;
    throw planted();
  }

  #rowsOf(partition: number): LedgerRow[] {
    return [...this.rows.values()]
      .filter((row) => row.partition === partition)
      .toSorted((a, b) => a.offset - b.offset);
  }

  #nextOffset(partition: number): number {
    return (this.#rowsOf(partition).at(-1)?.offset ?? 0) + 1;
  }

  #directoryVersion(partition: number): number {
    return Math.max(0, ...(this.directory.get(partition) ?? []).map((row) => row.version));
  }
}
