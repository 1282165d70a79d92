// packages/delivery/src/partition.ts
// One owned partition in memory: directory, ledger entries, sessions, what waits. No I/O.
//   PA1  `knownOffset`: every row up to it is here or closed; rows are taken in offset order (D3).
//   PA2  `handedUpTo(index)`: every entry up to it that targets `index` has been handed to its process;
//        nothing above it has.
//   PA3  Closed entries stay as a tail for recovery, within `tailMax` of them and `tailMaxBytes`, however
//        many are open, and however many older ones are read again for a receipt.
//   PA4  A recipient that was refused an entry gets no later one before it has been given that one.
import type { ProcessTable } from "@carillon/process";
import { Bitset } from "@carillon/kernel";
import { HeldRow } from "./held-row.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import { PartitionDirectory } from "./partition-directory.ts";
import type { RecipientEvent, RecipientState } from "./recipient-decision.ts";
import { SessionTable } from "./session-table.ts";
import { Settling } from "./settling.ts";

export interface PartitionOptions {
  readonly partition: number;
  readonly epoch: number;
  readonly ledgerEpoch: string;
  readonly knownOffset: number;
  /** Until then every recipient's session may still come back; monotonic. */
  readonly graceEndsAtMs: number;
  readonly tailMax: number;
  readonly tailMaxBytes: number;
}

export class Partition {
  readonly partition: number;
  readonly epoch: number;
  readonly ledgerEpoch: string;
  readonly graceEndsAtMs: number;
  readonly directory = new PartitionDirectory();
  readonly sessions = new SessionTable();
  /** Recipients that were refused an entry (PA4). */
  readonly spilled = new Bitset();
  /** Recipients whose process waits for a write (DL5). */
  readonly settling = new Settling();
  /** Recipients whose process crashed: `init` must give them back what is open. */
  readonly crashed = new Bitset();
  /** Waiting to be expanded and handed, ascending by offset without a hole. */
  readonly incoming: LedgerEntry[] = [];
  knownOffset: number;
  /** Every entry up to it is ready to be handed; the pacer may hold some of them back. */
  handedOffset: number;
  /** The directory is known to have reached this version in the database. */
  wantedDirectoryVersion = 0;
  isLost = false;
  /** Its directory and unfinished rows are not here yet: pokes and sweeps leave it alone (LP1). */
  isLoading = true;
  /** The processes of its recipients, by index. */
  readonly table: ProcessTable<RecipientState, RecipientEvent>;

  readonly #options: PartitionOptions;
  readonly #entries = new Map<number, LedgerEntry>(); // by offset, insertion ascending but for pins
  readonly #sizes = new Map<number, number>(); // of the closed ones, in bytes
  readonly #dirty = new Set<LedgerEntry>();
  /** Closed ones from below the tail: here until they are written, and no part of it. */
  readonly #strays = new Set<LedgerEntry>();
  /** Ready, and not handed to everybody; ascending by offset. */
  #held: HeldRow[] = [];
  #openCount = 0;
  #tailBytes = 0;
  #pinCount = 0;
  #tailFloor: number;

  constructor(
    options: PartitionOptions,
    createTable: (partition: Partition) => ProcessTable<RecipientState, RecipientEvent>,
  ) {
    this.#options = options;
    this.partition = options.partition;
    this.epoch = options.epoch;
    this.ledgerEpoch = options.ledgerEpoch;
    this.graceEndsAtMs = options.graceEndsAtMs;
    this.knownOffset = this.handedOffset = options.knownOffset;
    this.#tailFloor = options.knownOffset;
    this.table = createTable(this);
  }

  get openCount(): number {
    return this.#openCount;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** Every row above it up to `handedOffset` is in memory. */
  get tailFloor(): number {
    return this.#tailFloor;
  }

  entry(offset: number): LedgerEntry | undefined {
    return this.#entries.get(offset);
  }

  /** PA2. Cost O(rows that are held back). */
  handedUpTo(index: number): number {
    for (const row of this.#held) if (row.isLeft(index)) return row.entry.offset - 1;
    return this.handedOffset;
  }

  /** The entry is ready: until `letGo` finds it done it counts as not handed. In order of offset. */
  hold(entry: LedgerEntry): HeldRow {
    const row = new HeldRow(entry);
    this.#held.push(row);
    return row;
  }

  /** Ascending by offset, those that are done among them. */
  heldRows(): readonly HeldRow[] {
    return this.#held;
  }

  /** Forgets the rows that are handed to everybody, up to the first that is not. */
  letGo(): void {
    const first = this.#held.findIndex((row) => !row.isDone);
    if (first !== 0) this.#held = first < 0 ? [] : this.#held.slice(first);
  }

  /** Takes an entry into memory; the one already there wins. */
  adopt(entry: LedgerEntry): LedgerEntry {
    const known = this.#entries.get(entry.offset);
    if (known !== undefined) return known;
    this.#entries.set(entry.offset, entry);
    if (entry.state !== "closed") this.#openCount++;
    else if (entry.offset > this.#tailFloor) this.#keepAsTail(entry);
    else this.#strays.add(entry);
    return entry;
  }

  /** Rows from the database at the start: the tail begins below the first of them. */
  adoptTail(entries: readonly LedgerEntry[]): void {
    const first = entries[0];
    if (first !== undefined) this.#tailFloor = first.offset - 1;
    for (const entry of entries) this.adopt(entry);
  }

  /** In memory, targeting `index`, with afterOffset < offset ≤ upToOffset; ascending. */
  entriesOf(index: number, range: { afterOffset: number; upToOffset: number }): LedgerEntry[] {
    const found: LedgerEntry[] = [];
    for (const entry of this.#entries.values())
      if (
        entry.offset > range.afterOffset &&
        entry.offset <= range.upToOffset &&
        entry.isTargeted(index)
      )
        found.push(entry);
    return found.toSorted((a, b) => a.offset - b.offset);
  }

  /** Handed to the process of `index` and not terminal; ascending. */
  openEntriesOf(index: number): LedgerEntry[] {
    if (this.#openCount === 0) return [];
    return this.entriesOf(index, { afterOffset: 0, upToOffset: this.handedUpTo(index) }).filter(
      (entry) => entry.isPending(index),
    );
  }

  /** To be called after any change of an entry. */
  changed(entry: LedgerEntry): void {
    if (entry.isDirty) this.#dirty.add(entry);
  }

  /** An entry that was open has become closed. */
  closedOne(entry: LedgerEntry): void {
    this.#openCount--;
    this.#keepAsTail(entry);
  }

  /** Who is refused it is looked at again by the sweep. `indexes` is the caller's no more. */
  tell(indexes: Bitset, event: RecipientEvent): void {
    if (!this.spilled.isEmpty) indexes.andNot(this.spilled);
    this.table.castEach(indexes, event, (index) => void this.spilled.add(index));
  }

  takeDirty(countMax: number): LedgerEntry[] {
    const taken: LedgerEntry[] = [];
    for (const entry of this.#dirty) {
      if (taken.length >= countMax) break;
      entry.writeBegins();
      taken.push(entry);
    }
    for (const entry of taken) this.#dirty.delete(entry);
    return taken;
  }

  putBackDirty(entry: LedgerEntry): void {
    entry.writeFailed();
    this.#dirty.add(entry);
  }

  /** While pinned nothing leaves memory: a row that is being read cannot become stale. */
  pin(): () => void {
    this.#pinCount++;
    let isPinned = true;
    return () => {
      if (isPinned) this.#pinCount--;
      isPinned = false;
    };
  }

  /** Lets closed and written entries go, oldest first (PA3). */
  trim(): void {
    if (this.#pinCount > 0) return;
    for (const entry of this.#strays)
      if (!entry.isDirty && !this.#dirty.has(entry)) {
        this.#strays.delete(entry);
        this.#entries.delete(entry.offset);
      }
    const { tailMax, tailMaxBytes } = this.#options;
    for (const [offset, entry] of this.#entries) {
      if (this.#sizes.size <= tailMax && this.#tailBytes <= tailMaxBytes) return;
      if (entry.state !== "closed" || entry.isDirty || this.#dirty.has(entry)) continue;
      if (offset > this.handedOffset) continue;
      this.#entries.delete(offset);
      this.#tailBytes -= this.#sizes.get(offset) ?? 0;
      this.#sizes.delete(offset);
      this.#tailFloor = Math.max(this.#tailFloor, offset);
    }
  }

  #keepAsTail({ offset, sizeBytes }: LedgerEntry): void {
    this.#sizes.set(offset, sizeBytes);
    this.#tailBytes += sizeBytes;
  }
}
