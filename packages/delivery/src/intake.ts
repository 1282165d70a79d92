// packages/delivery/src/intake.ts
// Brings ledger rows to the recipients' processes: from pokes, from gaps, from the sweep.
//   IN1  Rows are expanded and given to the pacer in offset order, each once (D3, PA1, PA2).
//   IN2  Nobody is sent anything before `targeted` is committed under the fence (DESIGN §5 step 4).
//   IN3  An audience is evaluated on a directory at least as new as the row (ADR 0005).
//   IN4  At most `openMax` open entries, beside those that wait for their rate (RA7), and `incomingMax`
//        waiting rows per partition are in memory; the rest stays in the ledger until there is room.
//        Nobody's own rows take more than a share of it: SH1.
//   IN5  A bug is no outage: it is told as a crash, and what met it is not tried again (as LF4).
import { LIMITS, type Poke, type PokeEntry, type PokeItem } from "@carillon/contracts";
import {
  assert,
  backoffDelayMs,
  type BackoffOptions,
  Bitset,
  type Clock,
  Fault,
  type Random,
} from "@carillon/kernel";
import type { Envelope, EnvelopeCache } from "./envelope.ts";
import { LedgerEntry } from "./ledger-entry.ts";
import type { Pacer } from "./pacer.ts";
import type { Partition } from "./partition.ts";
import { ownerOf } from "./shelf.ts";
import { EMPTY_SETS, type LedgerRow, type LedgerStore } from "./ports.ts";
import type { ThreadSlices } from "./thread-slices.ts";
import { type UnreadAudience, UnreadReader } from "./unread-audience.ts";

export interface IntakeLimits {
  readonly openMax: number;
  readonly incomingMax: number;
  readonly rowsPerRead: number;
  readonly directoryRowsPerRead: number;
  /** A poke that came too early waits so long for the one before it; then the gap is read. */
  readonly reorderMaxMs: number;
  readonly retry: BackoffOptions;
}

export interface IntakeDeps {
  readonly store: LedgerStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly home: string;
  readonly envelopes: EnvelopeCache;
  readonly limits: IntakeLimits;
  readonly pacer: Pick<Pacer, "offer" | "hurry">;
  readonly slices: ThreadSlices;
  /** RC1. Before anything of its batch is handed. */
  onWithdrawal(notificationId: string): void;
  /** Commits what planned entries came to, grouped over partitions; false: fenced. */
  commitExpansion(partition: Partition, entry: LedgerEntry): Promise<boolean>;
  onFault(cause: unknown): void;
  /** A bug; nothing more is done for the partition that met it. */
  onCrash(cause: unknown): void;
}

interface Lane {
  readonly early: Map<number, LedgerEntry>; // pokes above knownOffset + 1
  isReading: boolean;
  isPumping: boolean;
  isWaiting: boolean; // for an early poke's predecessor
  hasCrashed: boolean; // IN5
}

export class Intake {
  readonly #deps: IntakeDeps;
  readonly #lanes = new WeakMap<Partition, Lane>();
  readonly #unread: UnreadReader;

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
    const { home, store, clock } = deps;
    this.#unread = new UnreadReader({ home, store, clock, entriesOf: this.entriesOf.bind(this) });
  }

  onPoke(poke: Poke, partitionOf: (partition: number) => Partition | undefined): void {
    for (const [number, version] of poke.directory) {
      const partition = partitionOf(number);
      if (partition === undefined) continue;
      partition.wantedDirectoryVersion = Math.max(partition.wantedDirectoryVersion, version);
      void this.#guard(partition, () => this.refreshDirectory(partition));
    }
    for (const item of poke.items) {
      const envelope = this.#envelopeOf(item);
      for (const entry of item.entries) {
        const partition = partitionOf(entry.partition);
        if (partition !== undefined) this.#take(partition, entry, envelope);
      }
    }
  }

  /** Rows that this owner has put into the ledger itself; should one be missed, the sweep finds it. */
  onRows(rows: readonly LedgerRow[], partitionOf: (n: number) => Partition | undefined): void {
    this.#takeRows(rows, partitionOf).catch(this.#deps.onFault.bind(this.#deps));
  }

  async #takeRows(
    rows: readonly LedgerRow[],
    partitionOf: (n: number) => Partition | undefined,
  ): Promise<void> {
    for (const entry of await this.entriesOf(rows)) {
      const partition = partitionOf(entry.partition);
      if (partition !== undefined) this.#takeEntry(partition, entry);
    }
  }

  /** Rows that a new owner found unfinished. `onBegun`: the pacer has them, or memory is full. */
  begin(partition: Partition, unclosed: readonly LedgerEntry[], onBegun: () => void): void {
    const lane = this.#laneOf(partition);
    assert(!lane.isPumping && partition.incoming.length === 0, "LP1 nothing came before");
    partition.isLoading = false;
    for (const entry of unclosed) partition.incoming.push(entry);
    lane.isPumping = true;
    void this.#begin(partition, onBegun);
  }

  /** From the sweep: what the database has, compared with what is here. */
  onHead(partition: Partition, head: { nextOffset: number; directoryVersion: number }): void {
    partition.wantedDirectoryVersion = Math.max(
      partition.wantedDirectoryVersion,
      head.directoryVersion,
    );
    void this.#guard(partition, () => this.refreshDirectory(partition));
    if (head.nextOffset - 1 > partition.knownOffset) this.#readGap(partition);
    this.pump(partition);
  }

  /** Reads the directory up to the version that is wanted; at once when it is there. */
  async refreshDirectory(partition: Partition): Promise<void> {
    const { store, home, limits } = this.#deps;
    const { directory } = partition;
    while (!partition.isLost && directory.version < partition.wantedDirectoryVersion) {
      const wanted = partition.wantedDirectoryVersion;
      const limitCount = limits.directoryRowsPerRead;
      const rows = await store.readDirectory(home, partition.partition, {
        afterVersion: directory.version,
        limitCount,
      });
      for (const row of rows) directory.put(row);
      const last = rows.at(-1);
      const isLastPage = rows.length < limitCount;
      directory.completeUpTo(Math.max(isLastPage ? wanted : 0, last?.version ?? 0));
    }
  }

  /** Expands and hands what waits, as far as there is room. */
  pump(partition: Partition): void {
    const lane = this.#laneOf(partition);
    if (lane.isPumping || partition.incoming.length === 0) return;
    lane.isPumping = true;
    void this.#pumpGuarded(partition);
  }

  async #begin(partition: Partition, onBegun: () => void): Promise<void> {
    if (!(await this.#pumpGuarded(partition))) return;
    onBegun();
    this.pump(partition);
  }

  async #pumpGuarded(partition: Partition): Promise<boolean> {
    const isDone = await this.#guard(partition, () => this.#pumpAll(partition));
    this.#laneOf(partition).isPumping = false;
    return isDone;
  }

  async #pumpAll(partition: Partition): Promise<void> {
    const { incoming } = partition;
    const { limits } = this.#deps;
    const hasRoom = (): boolean => partition.openCount - partition.ratedCount < limits.openMax;
    while (incoming.length > 0 && !partition.isLost && hasRoom()) {
      const next = incoming.slice(0, 64).map((entry) => partition.entry(entry.offset) ?? entry);
      const batch = untilUnread(next);
      this.#tellWithdrawals(batch);
      partition.wantedDirectoryVersion = batch.reduce(
        (version, entry) => Math.max(version, entry.directoryVersion),
        partition.wantedDirectoryVersion,
      );
      if (partition.directory.version < partition.wantedDirectoryVersion)
        await this.refreshDirectory(partition); // IN3
      for (const entry of batch) {
        if (entry.state !== "planned") continue;
        const later = this.#deps.slices.next(); // TS1: a filter may take some milliseconds
        if (later !== undefined) await later;
        if (partition.isLost) return;
        const read = this.#expand(partition, entry);
        if (read !== undefined) await read;
        if (partition.isLost) return;
      }
      const expanded = batch.filter((entry) => entry.isExpansionPending);
      const committed = await Promise.all(
        expanded.map((entry) => this.#deps.commitExpansion(partition, entry)),
      );
      if (partition.isLost || committed.includes(false)) return;
      incoming.splice(0, batch.length);
      for (const entry of batch) this.#hand(partition, entry); // IN2: after the commit
    }
    if (incoming.length < limits.incomingMax / 2 && !partition.isLost) this.#takeEarly(partition);
  }

  /** Throws Fault: what is about another notification asks the store for that one's rows. */
  #expand(partition: Partition, entry: LedgerEntry): Promise<void> | undefined {
    const { notification, audience } = entry.envelope;
    assert(audience, "IN3 a planned row comes with its audience");
    if (audience.kind === "unread") return this.#expandUnread(partition, entry, audience);
    entry.expand(partition.directory.select(notification.tenantId, audience, notification.exclude));
    return undefined;
  }

  async #expandUnread(
    partition: Partition,
    entry: LedgerEntry,
    audience: UnreadAudience,
  ): Promise<void> {
    const targeted = await this.readUnread(partition, audience, entry.offset);
    if (!partition.isLost) entry.expand(targeted);
  }

  #tellWithdrawals(batch: readonly LedgerEntry[]): void {
    for (const { envelope } of batch) {
      const { withdraws } = envelope.notification;
      if (withdraws !== undefined) this.#deps.onWithdrawal(withdraws);
    }
  }

  /** To everybody in it without an outcome, when it is their turn (PC1–PC4). */
  #hand(partition: Partition, waiting: LedgerEntry): void {
    if (partition.shelf.takes(waiting)) {
      partition.handedOffset = Math.max(partition.handedOffset, waiting.offset);
      const index = ownerOf(waiting);
      if (index !== undefined) this.#deps.pacer.hurry(partition, index);
      return;
    }
    const entry = partition.adopt(waiting); // a row is one object: what is written is all of it
    partition.handedOffset = Math.max(partition.handedOffset, entry.offset);
    if (entry.state === "closed") return;
    partition.shelf.handed(entry);
    this.#deps.pacer.offer(partition, entry);
  }

  #take(partition: Partition, row: PokeEntry, envelope: Envelope): void {
    if (row.offset <= partition.knownOffset) return; // a repeat
    if (row.members === null && envelope.audience === null) return; // the sweep reads it whole
    this.#takeEntry(partition, new LedgerEntry(rowOfPoke(row, envelope), envelope));
  }

  #takeEntry(partition: Partition, entry: LedgerEntry): void {
    if (entry.offset <= partition.knownOffset) return; // a repeat
    const lane = this.#laneOf(partition);
    const isFull = partition.incoming.length >= this.#deps.limits.incomingMax;
    if (entry.offset === partition.knownOffset + 1 && !isFull && !lane.isReading) {
      partition.knownOffset = entry.offset;
      partition.incoming.push(entry);
      this.#takeEarly(partition);
      this.pump(partition);
      return;
    }
    if (isFull || lane.early.size >= this.#deps.limits.incomingMax) return; // the sweep finds it
    lane.early.set(entry.offset, entry);
    if (lane.isReading || lane.isWaiting) return;
    lane.isWaiting = true;
    this.#deps.clock.setTimer(this.#deps.limits.reorderMaxMs, () => {
      lane.isWaiting = false;
      if (lane.early.size > 0) this.#readGap(partition);
    });
  }

  #takeEarly(partition: Partition): void {
    const { early } = this.#laneOf(partition);
    if (early.size === 0) return;
    for (;;) {
      const next = early.get(partition.knownOffset + 1);
      if (next === undefined) break;
      partition.knownOffset = next.offset;
      partition.incoming.push(next);
      early.delete(next.offset);
    }
    for (const offset of early.keys()) if (offset <= partition.knownOffset) early.delete(offset);
    this.pump(partition);
  }

  #readGap(partition: Partition): void {
    const lane = this.#laneOf(partition);
    if (lane.isReading || partition.isLost) return;
    lane.isReading = true;
    void this.#readGuarded(partition);
  }

  async #readGuarded(partition: Partition): Promise<void> {
    const isDone = await this.#guard(partition, () => this.#readRows(partition));
    this.#laneOf(partition).isReading = false;
    if (isDone) this.#takeEarly(partition);
  }

  async #readRows(partition: Partition): Promise<void> {
    const { store, home, limits } = this.#deps;
    for (;;) {
      if (partition.isLost || partition.incoming.length >= limits.incomingMax) return; // IN4
      const rows = await store.readRows(home, partition.partition, {
        afterOffset: partition.knownOffset,
        limitCount: limits.rowsPerRead,
      });
      const entries = await this.entriesOf(rows);
      for (const entry of entries) {
        if (entry.offset !== partition.knownOffset + 1) continue;
        partition.knownOffset = entry.offset;
        partition.incoming.push(entry);
      }
      this.pump(partition);
      if (rows.length < limits.rowsPerRead) return;
    }
  }

  /** Throws Fault. */
  readUnread(
    partition: Partition,
    audience: UnreadAudience,
    beforeOffset?: number,
  ): Promise<Bitset> {
    return this.#unread.read(partition, audience, beforeOffset);
  }

  /** Rows with their notifications, in the order given. */
  async entriesOf(rows: readonly LedgerRow[]): Promise<LedgerEntry[]> {
    const { store, envelopes } = this.#deps;
    const found = new Map<string, Envelope>();
    const missing = new Set<string>();
    for (const row of rows) {
      const known = envelopes.get(row.notificationId);
      const isEnough = known !== undefined && (known.audience !== null || row.state !== "planned");
      if (isEnough) found.set(row.notificationId, known);
      else missing.add(row.notificationId);
    }
    for (const stored of missing.size > 0 ? await store.readNotifications([...missing]) : [])
      found.set(stored.notification.id, envelopes.put(stored));
    return rows.flatMap((row) => {
      const envelope = found.get(row.notificationId);
      return envelope === undefined ? [] : [new LedgerEntry(row, envelope)];
    });
  }

  #envelopeOf(item: PokeItem): Envelope {
    const { notification, audience } = item;
    return audience === null
      ? this.#deps.envelopes.put({ notification, audience })
      : this.#deps.envelopes.put({ notification, audience });
  }

  #laneOf(partition: Partition): Lane {
    let lane = this.#lanes.get(partition);
    if (lane === undefined) {
      lane = {
        early: new Map(),
        isReading: false,
        isPumping: false,
        isWaiting: false,
        hasCrashed: false,
      };
      this.#lanes.set(partition, lane);
    }
    return lane;
  }

  /**
   * The store may be down: report, wait, and try again while the partition is ours. False: it is not, or
   * a bug was met (IN5).
   */
  async #guard(partition: Partition, work: () => Promise<void>): Promise<boolean> {
    const { clock, random, limits } = this.#deps;
    const lane = this.#laneOf(partition);
    for (let attempt = 1; !partition.isLost && !lane.hasCrashed; attempt++) {
      try {
        await work();
        return !partition.isLost;
      } catch (cause) {
        if (!(cause instanceof Fault)) {
          lane.hasCrashed = true;
          this.#deps.onCrash(cause);
          return false;
        }
        this.#deps.onFault(cause);
        await clock.sleep(backoffDelayMs(limits.retry, attempt, random));
      }
    }
    return false;
  }
}

/** Those before it have to be in memory, and committed: its audience is read from them (RC3). */
function untilUnread(next: readonly LedgerEntry[]): readonly LedgerEntry[] {
  const at = next.findIndex(
    ({ state, envelope }) => state === "planned" && envelope.audience?.kind === "unread",
  );
  return at < 0 ? next : next.slice(0, Math.max(at, 1));
}

/** As the row stands in the database just after the commit (ADR 0003). */
function rowOfPoke(entry: PokeEntry, { notification }: Envelope): LedgerRow {
  const { members } = entry;
  const row = { ...entry, notificationId: notification.id, movesCount: 0, sets: EMPTY_SETS };
  if (members === null) return { ...row, state: "planned" };
  if (members.length <= LIMITS.smallAudienceMax) return { ...row, state: "open" };
  const sets = { ...EMPTY_SETS, targeted: Bitset.of(members).toBytes() };
  return { ...row, members: null, state: "open", sets };
}
