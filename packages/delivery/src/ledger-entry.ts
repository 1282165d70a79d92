// packages/delivery/src/ledger-entry.ts
// One ledger row in its owner's memory: who is targeted, and what became of each of them.
//   DL1  A recipient has at most one terminal outcome per notification (D2): the first one stays.
//   DL2  A small audience stores bits by position in `members`, a large one by index (ADR 0003).
//   DL3  `closed` exactly when every targeted recipient is terminal, or goes on in another row.
//   DL4  Who is put off leaves the row when that is written, and not before: until then he has no outcome
//        in it, and can get none (ADR 0022).
//   DL5  What is not handed on purpose has that outcome at once, and holds back what comes after it until
//        that is written: no place covers it before (SD4).
import { type DeferReason, type DeferredMembers, LIMITS } from "@carillon/contracts";
import { assert, Bitset } from "@carillon/kernel";
import type { Envelope } from "./envelope.ts";
import type { LedgerRow, LedgerRowState, LedgerSetName, LedgerUpdate } from "./ports.ts";
import { RowMoves } from "./row-moves.ts";

export const TERMINAL_SETS = [
  "deliveredSocket",
  "noDevice",
  "unacked",
  "expired",
  "failed",
  "cancelled",
  "optedOut",
  "capped",
  "collapsed",
] as const satisfies readonly LedgerSetName[];
export type Outcome = (typeof TERMINAL_SETS)[number];

/** Not handed, on purpose: no session is sent it any more. */
export const SUPPRESSED_SETS = ["cancelled", "optedOut", "capped", "collapsed"] as const;
export type Suppression = (typeof SUPPRESSED_SETS)[number];

export const RECEIPT_SETS = [
  "receivedLate",
  "read",
  "acknowledged",
] as const satisfies readonly LedgerSetName[];
export type Receipt = (typeof RECEIPT_SETS)[number];

const SET_NAMES = ["targeted", ...TERMINAL_SETS, "moved", ...RECEIPT_SETS] as const;

export class LedgerEntry {
  readonly partition: number;
  readonly offset: number;
  readonly directoryVersion: number;
  readonly members: readonly number[] | null;
  readonly envelope: Envelope;
  /** Set by a change, cleared by the flusher that takes it. */
  isDirty = false;
  #state: LedgerRowState;
  readonly #sets: Record<LedgerSetName, Bitset>;
  readonly #terminal = new Bitset();
  /** By position, who was terminal when this owner read the row; undefined: nobody. */
  readonly #terminalBefore: Bitset | undefined;
  /** By position, whose outcome no write has taken yet, and whose is being written. */
  #unwritten: Bitset | undefined;
  #beingWritten: Bitset | undefined;
  /** Changes made here: all of them, those of the write under way, and those that are written. */
  #changesCount = 0;
  #changesBeingWritten = 0;
  #changesWritten = 0;
  /** By position, as far as somebody asks (SD4); undefined: nobody. */
  #sent: Bitset | undefined;
  /** Undefined: nobody was put off here. */
  #moves: RowMoves | undefined;
  readonly #movesCount: number; // when this owner read the row
  #targetedCount: number;
  #terminalCount: number; // those who have moved, too
  #isExpansionPending = false;

  constructor(row: LedgerRow, envelope: Envelope) {
    this.partition = row.partition;
    this.offset = row.offset;
    this.directoryVersion = row.directoryVersion;
    this.members = row.members;
    this.envelope = envelope;
    this.#state = row.state;
    this.#sets = Object.fromEntries(
      SET_NAMES.map((name) => [name, Bitset.fromBytes(row.sets[name])]),
    ) as Record<LedgerSetName, Bitset>;
    for (const name of [...TERMINAL_SETS, "moved"] as const) this.#terminal.or(this.#sets[name]);
    this.#movesCount = row.movesCount;
    this.#targetedCount = row.members?.length ?? this.#sets.targeted.count();
    this.#terminalCount = this.#terminal.count();
    if (this.#terminalCount > 0) this.#terminalBefore = this.#terminal.clone();
  }

  get state(): LedgerRowState {
    return this.#state;
  }

  get pendingCount(): number {
    return this.#targetedCount - this.#terminalCount;
  }

  get targetedCount(): number {
    return this.#targetedCount;
  }

  /** Bytes it takes, about; for the tail's limit. The content of a large audience is shared. */
  get sizeBytes(): number {
    if (this.members === null) return 512 + this.#targetedCount;
    return 512 + this.members.length * 8 + this.envelope.contentSize * 2;
  }

  /** Expanded here, and not yet known to be committed. */
  get isExpansionPending(): boolean {
    return this.#isExpansionPending;
  }

  expansionCommitted(): void {
    this.#isExpansionPending = false;
  }

  /** Planned → open, with the audience that the directory gave. */
  expand(targeted: Bitset): void {
    assert(this.#state === "planned", "DL3 only a planned row is expanded");
    this.#isExpansionPending = true;
    this.#sets.targeted = targeted;
    this.#targetedCount = targeted.count();
    this.#state = this.#targetedCount === 0 ? "closed" : "open";
  }

  /** It is for the recipient, in this row. */
  isTargeted(index: number): boolean {
    const position = this.#positionOf(index);
    return position >= 0 && !this.#sets.moved.has(position);
  }

  isSuppressed(index: number): boolean {
    const position = this.#positionOf(index);
    return position >= 0 && SUPPRESSED_SETS.some((name) => this.#sets[name].has(position));
  }

  /** Targeted and without an outcome. */
  isPending(index: number): boolean {
    const position = this.#positionOf(index);
    return position >= 0 && !this.#terminal.has(position);
  }

  has(name: LedgerSetName, index: number): boolean {
    const position = this.#positionOf(index);
    return position >= 0 && this.#sets[name].has(position);
  }

  /** For whom it is in this row, by index, but for who is in one of the sets; the caller's own. */
  without(names: readonly LedgerSetName[]): Bitset {
    const out = new Bitset();
    for (const name of names) out.or(this.#sets[name]);
    if (this.members === null) return this.#sets.targeted.clone().andNot(out);
    return Bitset.of(this.members.filter((_, position) => !out.has(position)));
  }

  /** Index numbers without an outcome, ascending. */
  pending(): Bitset {
    if (this.members === null) return this.#sets.targeted.clone().andNot(this.#terminal);
    return Bitset.of(this.members.filter((_, position) => !this.#terminal.has(position)));
  }

  /** False, and nothing changes, when the recipient is not targeted or terminal already (DL1). */
  record(index: number, outcome: Outcome): boolean {
    const position = this.#positionOf(index);
    if (position < 0 || this.#moves?.has(position) === true) return false; // DL4
    if (!this.#terminal.add(position)) return false;
    this.#sets[outcome].add(position);
    (this.#unwritten ??= new Bitset()).add(position);
    this.#terminalCount++;
    this.#changed();
    if (this.pendingCount === 0) this.#state = "closed"; // DL3
    return true;
  }

  /** Put off: he goes on in a later row. False when he has an outcome, or is put off already. */
  defer(index: number, untilMs: number, reason: DeferReason): boolean {
    const position = this.#positionOf(index);
    if (position < 0 || this.#terminal.has(position)) return false;
    this.#moves ??= new RowMoves(this.#movesCount);
    if (!this.#moves.add(position, untilMs, reason)) return false;
    this.#changed();
    return true;
  }

  /** Put off, and not known to be written (DL4). */
  isMoving(index: number): boolean {
    return this.#moves?.has(this.#positionOf(index)) === true;
  }

  /**
   * Put off, or not to be handed at all, and that is not known to be written (DL5): nothing unsent passes it,
   * and no session opens above it.
   */
  isLeaving(index: number): boolean {
    return this.isMoving(index) || (this.isUnwritten(index) && this.isSuppressed(index));
  }

  /** A receipt changes no outcome. False when there was one, or the recipient is not targeted. */
  receive(index: number, receipt: Receipt): boolean {
    const position = this.#positionOf(index);
    if (position < 0 || !this.#sets[receipt].add(position)) return false;
    this.#changed();
    return true;
  }

  /** A session of the index was sent it. In memory only, and told only where it may be missed (SD4). */
  markSent(index: number): void {
    const position = this.#positionOf(index);
    if (position >= 0) (this.#sent ??= new Bitset()).add(position);
  }

  wasSent(index: number): boolean {
    return this.#sent?.has(this.#positionOf(index)) === true;
  }

  /** It has an outcome that the database is not known to have: the next owner may find it open. */
  isUnwritten(index: number): boolean {
    const position = this.#positionOf(index);
    if (position < 0) return false;
    return this.#unwritten?.has(position) === true || this.#beingWritten?.has(position) === true;
  }

  /** For `isWrittenUpTo`: counted since this owner read the row. */
  get changesCount(): number {
    return this.#changesCount;
  }

  /** The database has the first so many changes, whatever came after them. */
  isWrittenUpTo(changesCount: number): boolean {
    return changesCount <= this.#changesWritten;
  }

  /** A write takes it as it stands now; either of the next two follows before another begins. */
  writeBegins(): void {
    this.isDirty = false;
    this.#changesBeingWritten = this.#changesCount;
    this.#beingWritten = this.#unwritten;
    this.#unwritten = undefined;
    this.#moves?.writeBegins();
  }

  /** By index, who has left the row with it (DL4); undefined: nobody. */
  writeSucceeded(): Bitset | undefined {
    this.#changesWritten = this.#changesBeingWritten;
    this.#beingWritten = undefined;
    const left = this.#moves?.writeSucceeded();
    if (this.#moves?.isWaiting === true) this.isDirty = true; // RM1: it may have been the last one's repeat
    if (left === undefined) return undefined;
    this.#sets.moved.or(left);
    this.#terminal.or(left);
    this.#terminalCount += left.count();
    if (this.pendingCount === 0) this.#state = "closed"; // as it was written
    return this.#indexesOf(left);
  }

  /** It may be in the database, or not. */
  writeFailed(): void {
    this.isDirty = true;
    if (this.#beingWritten !== undefined)
      this.#unwritten = this.#beingWritten.or(this.#unwritten ?? new Bitset());
    this.#beingWritten = undefined;
  }

  /** Its owner of now decided an outcome that a device may contradict, and none has done so yet. */
  isLateHere(index: number): boolean {
    const position = this.#positionOf(index);
    if (position < 0 || !this.#terminal.has(position)) return false;
    if (this.#terminalBefore?.has(position) === true) return false;
    if (this.#sets.moved.has(position) || this.isSuppressed(index)) return false;
    const { deliveredSocket, failed, receivedLate } = this.#sets;
    return !deliveredSocket.has(position) && !failed.has(position) && !receivedLate.has(position);
  }

  toUpdate(epoch: number): LedgerUpdate {
    const sets = Object.fromEntries(
      SET_NAMES.map((name) => [name, this.#sets[name].toBytes()]),
    ) as unknown as Record<LedgerSetName, Uint8Array>;
    const { partition, offset } = this;
    const update = { partition, epoch, offset, state: this.#state, sets };
    const batch = this.#moves?.batch;
    if (batch === undefined) return update;
    const { count, groups, positions } = batch;
    const moved = this.#sets.moved.clone().or(positions).toBytes();
    const isLast = this.pendingCount === positions.count();
    return {
      ...update,
      ...(isLast ? { state: "closed" } : {}),
      sets: { ...sets, moved },
      moves: {
        count,
        rows: groups.map(({ untilMs, reason, positions: those }) => ({
          untilMs,
          reason,
          members: this.#membersOf(those),
        })),
      },
    };
  }

  #membersOf(positions: Bitset): DeferredMembers {
    const indexes = this.#indexesOf(positions);
    const count = indexes.count();
    if (count <= LIMITS.smallAudienceMax) return { kind: "members", members: indexes.toArray() };
    return { kind: "set", set: indexes.toBytes(), count };
  }

  #indexesOf(positions: Bitset): Bitset {
    const { members } = this;
    if (members === null) return positions;
    return Bitset.of(members.filter((_, position) => positions.has(position)));
  }

  #changed(): void {
    this.#changesCount++;
    this.isDirty = true;
  }

  /** −1: not targeted. */
  #positionOf(index: number): number {
    if (this.members !== null) return this.members.indexOf(index);
    return this.#sets.targeted.has(index) ? index : -1;
  }
}
