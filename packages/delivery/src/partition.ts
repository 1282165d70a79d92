// packages/delivery/src/partition.ts
// One owned partition in memory: directory, ledger entries, sessions, what waits. No I/O.
//   PA1  `knownOffset`: every row up to it is here or closed; rows are taken in offset order (D3).
//   PA2  `handedUpTo(index)`: every entry up to it that targets `index` has been handed to its process;
//        nothing above it has. It ends below his first row on the shelf (shelf.ts).
//   PA3  Closed entries stay as a tail for recovery, within `tailMax` of them and `tailMaxBytes`, however
//        many are open, and however many older ones are read again for a receipt.
//   PA4  A recipient that was refused an entry gets no later one before it has been given that one.
import type { ProcessTable } from "@carillon/process";
import { Bitset } from "@carillon/kernel";
import { CollapseIndex } from "./collapse.ts";
import { HeldRow } from "./held-row.ts";
import type { LedgerEntry } from "./ledger-entry.ts";
import { PartitionDirectory } from "./partition-directory.ts";
import { PoisonRows } from "./poison.ts";
import type { RecipientEvent, RecipientState } from "./recipient-decision.ts";
import { SessionTable } from "./session-table.ts";
import { Settling } from "./settling.ts";
import { Shelf } from "./shelf.ts";

export interface PartitionOptions {
  readonly partition: number;
  readonly epoch: number;
  readonly ledgerEpoch: string;
  readonly knownOffset: number;
  /** Until then every recipient's session may still come back; monotonic. */
  readonly graceEndsAtMs: number;
  readonly tailMax: number;
  readonly tailMaxBytes: number;
  /** Open rows of one recipient alone (SH1). */
  readonly ownRowsMax: number;
}

const HELD_MIN = 64;

export class Partition {
  readonly partition: number;
  readonly epoch: number;
  readonly ledgerEpoch: string;
  readonly graceEndsAtMs: number;
  readonly directory = new PartitionDirectory();
  readonly sessions = new SessionTable();
  readonly collapse = new CollapseIndex();
  readonly poison = new PoisonRows((index) => void this.table.reset(index));
  readonly shelf: Shelf;
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
  readonly #writing = new Set<LedgerEntry>(); // taken, and not known to be written
  /** Closed ones from below the tail: here until they are written, and no part of it. */
  readonly #strays = new Set<LedgerEntry>();
  /** Open ones that came back from the shelf: their places in the tail may be others' by now. */
  readonly #fetched = new Set<LedgerEntry>();
  /** Ready, and not handed to everybody; ascending by offset. */
  #held: HeldRow[] = [];
  #heldMax = HELD_MIN; // then it is looked through for those that are done
  #openCount = 0;
  #ratedCount = 0;
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
    this.shelf = new Shelf(options.ownRowsMax);
    this.table = createTable(this);
  }

  get openCount(): number {
    return this.#openCount;
  }

  /** Of the open ones, those that wait for a rate: no backlog of this owner (IN4). */
  get ratedCount(): number {
    return this.#ratedCount;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** All that was changed here is in the ledger. */
  get isWritten(): boolean {
    return this.#dirty.size + this.#writing.size === 0;
  }

  /** Closed rows that are kept for recovery. */
  get tailCount(): number {
    return this.#sizes.size;
  }

  /** Every row above it up to `readyUpTo` of whoever it is for is in memory. */
  get tailFloor(): number {
    return this.#tailFloor;
  }

  entry(offset: number): LedgerEntry | undefined {
    return this.#entries.get(offset);
  }

  /** PA2. Cost O(rows that are held back). */
  handedUpTo(index: number): number {
    const upToOffset = this.readyUpTo(index);
    for (const row of this.#held)
      if (row.isLeft(index)) return Math.min(row.entry.offset - 1, upToOffset);
    return upToOffset;
  }

  /**
   * Up to it his rows may be handed to him, or are held back by the pacer: nothing on the shelf (SH2), and
   * nothing that waits for its rate (RA4).
   */
  readyUpTo(index: number): number {
    const upToOffset = Math.min(this.handedOffset, this.shelf.upTo(index));
    const rated = this.#ratedOf(index);
    return rated === undefined ? upToOffset : Math.min(rated.entry.offset - 1, upToOffset);
  }

  /** Something of his waits on the shelf, or for its rate: what is above it is not handed before it is. */
  isBehind(index: number): boolean {
    return this.shelf.has(index) || this.#ratedOf(index) !== undefined;
  }

  /** The entry is ready: until `letGo` finds it done it counts as not handed. In order of offset. */
  hold(entry: LedgerEntry): HeldRow {
    const row = new HeldRow(entry);
    this.#held.push(row);
    return row;
  }

  /** A held row waits for a rate from now on, or no longer. */
  rated(row: HeldRow, isRated: boolean): void {
    if (row.isRated !== isRated) this.#ratedCount += isRated ? 1 : -1;
    row.isRated = isRated;
  }

  /** Those of `slots` that are left in a held row; undefined: nobody. They are handed it, and not by its rate. */
  takeThose(row: HeldRow, slots: Bitset): Bitset | undefined {
    const taken = row.takeThose(slots);
    if (row.isDone && row.isRated) this.rated(row, false);
    return taken;
  }

  /** Whose processes have the entry, and no outcome for it yet. */
  waitingFor(entry: LedgerEntry): Bitset {
    const held = this.#held.find((row) => row.entry === entry);
    return held === undefined ? entry.pending() : held.onlyHanded(entry.pending());
  }

  /** It is not handed to everybody yet. */
  isHeld(offset: number): boolean {
    return this.#held.some((row) => row.entry.offset === offset && !row.isDone);
  }

  /** Ascending by offset, those that are done among them. */
  heldRows(): readonly HeldRow[] {
    return this.#held;
  }

  /** Forgets rows that are handed to everybody: those before the first that is not, and soon the others. */
  letGo(): void {
    const first = this.#held.findIndex((row) => !row.isDone);
    if (first !== 0) this.#held = first < 0 ? [] : this.#held.slice(first);
    if (this.#held.length <= this.#heldMax) return;
    this.#held = this.#held.filter((row) => !row.isDone); // behind one that waits for its rate
    this.#heldMax = 2 * this.#held.length + HELD_MIN;
  }

  /** Takes an entry into memory; the one already there wins. */
  adopt(entry: LedgerEntry): LedgerEntry {
    const known = this.#entries.get(entry.offset);
    if (known !== undefined) return known;
    this.#entries.set(entry.offset, entry);
    this.collapse.add(entry);
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

  /** An open entry from the ledger that was on the shelf, or is there still; each once. */
  fetched(read: LedgerEntry): LedgerEntry {
    const entry = this.adopt(read); // a receipt may have brought it in before
    if (entry.state === "closed" || this.#fetched.has(entry)) return entry;
    this.#fetched.add(entry);
    this.shelf.handed(entry);
    return entry;
  }

  /** Rows of `index` from the shelf, all that are open below `nextOffset`: from now on he may be handed them (SH3). */
  bringBack(index: number, rows: readonly LedgerEntry[], nextOffset: number): void {
    for (const row of rows) this.fetched(row);
    this.shelf.broughtBack(index, nextOffset);
    const slots = Bitset.of([index]);
    for (const row of this.#held)
      if (row.entry.offset <= this.shelf.upTo(index)) this.takeThose(row, slots); // with those (PC4)
    this.letGo();
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

  /** In memory; a notification may have several. */
  entriesOfNotification(notificationId: string): LedgerEntry[] {
    return [...this.#entries.values()].filter(
      ({ envelope }) => envelope.notification.id === notificationId,
    );
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
    this.shelf.closed(entry);
    this.poison.closed(entry);
    if (this.#fetched.delete(entry) && entry.offset <= this.#tailFloor) this.#strays.add(entry);
    else this.#keepAsTail(entry);
  }

  /** Those who were put off have left the entry (DL4). `indexes` is the caller's no more. */
  moved(entry: LedgerEntry, indexes: Bitset): void {
    if (entry.state === "closed") this.closedOne(entry);
    this.tell(indexes, { kind: "changed" });
  }

  /** After a write: whoever waited for it goes on (DL5). */
  tellSettled(): void {
    const settled = this.settling.takeWritten();
    if (settled !== undefined) this.tell(settled, { kind: "changed" });
  }

  /** Who is refused it is looked at again by the sweep. `indexes` is the caller's no more. */
  tell(indexes: Bitset, event: RecipientEvent): void {
    if (!this.spilled.isEmpty) indexes.andNot(this.spilled);
    this.table.castEach(indexes, event, (index) => void this.spilled.add(index));
  }

  /** PA4: a process takes all that is open for it in one message, once its mailbox is empty. */
  resumeSpilled(): void {
    if (this.spilled.isEmpty) return;
    this.spilled.forEach((index) => {
      if (this.table.inspect(index).waitingCount > 0) return;
      const entries = this.openEntriesOf(index);
      if (this.table.cast(index, { kind: "resume", entries }, "control") === "accepted")
        this.spilled.remove(index);
    });
  }

  takeDirty(countMax: number): LedgerEntry[] {
    const taken: LedgerEntry[] = [];
    for (const entry of this.#dirty) {
      if (taken.length >= countMax) break;
      entry.writeBegins();
      taken.push(entry);
    }
    for (const entry of taken) {
      this.#dirty.delete(entry);
      this.#writing.add(entry);
    }
    return taken;
  }

  /** Each that was taken either is written, or put back. By index, who has left it (DL4). */
  wrote(entry: LedgerEntry): Bitset | undefined {
    this.#writing.delete(entry);
    return entry.writeSucceeded();
  }

  putBackDirty(entry: LedgerEntry): void {
    this.#writing.delete(entry);
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
        this.collapse.remove(entry);
      }
    const { tailMax, tailMaxBytes } = this.#options;
    for (const [offset, entry] of this.#entries) {
      if (this.#sizes.size <= tailMax && this.#tailBytes <= tailMaxBytes) return;
      if (entry.state !== "closed" || entry.isDirty || this.#dirty.has(entry)) continue;
      if (offset > this.handedOffset) continue;
      this.#entries.delete(offset);
      this.collapse.remove(entry);
      this.#tailBytes -= this.#sizes.get(offset) ?? 0;
      this.#sizes.delete(offset);
      this.#tailFloor = Math.max(this.#tailFloor, offset);
    }
  }

  #ratedOf(index: number): HeldRow | undefined {
    if (this.#ratedCount === 0) return undefined;
    return this.#held.find((row) => row.isRated && row.isLeft(index));
  }

  #keepAsTail({ offset, sizeBytes }: LedgerEntry): void {
    this.#sizes.set(offset, sizeBytes);
    this.#tailBytes += sizeBytes;
  }
}
