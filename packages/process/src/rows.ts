// packages/process/src/rows.ts
// What the runtime keeps per process of a table: columns by slot, no object per process.
//   RW1  A process without state, messages and timer costs its row only: 26 bytes in five columns,
//        34 where a process of the table has used its timer; with overhead: bench/RESULTS.md.
//   RW2  At most `mailboxMax` messages, of `mailboxMaxBytes` in all, wait in the normal lane and
//        `controlMax` in the control lane; one that is put back after a crash has its place beyond
//        that (P14).
// Long, since the columns and the mailboxes are one data structure: nobody else knows its bits.
import { assert, Ring } from "@carillon/kernel";
import type { Lane } from "./behaviour.ts";
import { type Item, Mailbox, Mark, messageOf, TIMER_MARK } from "./mailbox.ts";

/** Bits of `status`. */
export const QUEUED = 1; // is in the ready queue, or in a fan-out
export const BUSY = 2; // a turn runs: synchronous, or a promise that has not settled
export const HELD = 4; // waits for its back-off, or until a failed load is tried again
export const QUARANTINED = 8;
export const CRASHED = 16; // has a crash record
export const TIMER_DUE = 32; // the timer has fired and is not handled
export const TIMER_MARKED = 64; // the mailbox has a TIMER_MARK
export const IDLE_TIMER = 128; // the timer is cancelled by any message
export const ACTIVATE = 256; // to be rebuilt, also when no message waits
export const CONTINUED = 512; // an async onContinue is done, the message after it was not begun
export const AGE_ONE = 1_024; // two bits: idle sweeps since the last turn, 3 at most
export const AGE_MASK = 3 * AGE_ONE;
export const SPAWNED = 4_096; // of a table that does not activate on demand
export const LOAD_WAITING = 8_192; // until fewer loads are under way
export const FANNED = 32_768; // a fan-out's message is its first one

export const CANNOT_RUN_NOW = QUEUED | BUSY | HELD | QUARANTINED | LOAD_WAITING;
const SLOTS_MAX = 2 ** 24; // a bad slot must not take the machine's memory

export interface MailboxLimits {
  readonly mailboxMax: number;
  readonly mailboxMaxBytes: number;
  readonly controlMax: number;
}

/** The behaviour's `messageBytes`. */
export interface Sizes<Message> {
  of(message: Message): number;
  /** It threw for a message that waits: that one's size is 0, until the mailbox is empty (RW2). */
  onError(cause: unknown): void;
}

export class Rows<State, Message extends object> {
  status: Uint16Array;
  generation: Uint32Array;
  /** Since when it has its state, in tenths of a second of the runtime's clock. */
  bornTick: Uint32Array;
  timers: Float64Array | undefined; // wheel handles; 0: not armed
  states: (State | undefined)[] = [];
  /** The one waiting item itself, or a Mailbox. */
  #boxes: (Item<Message> | undefined)[] = [];
  readonly #limits: MailboxLimits;
  readonly #sizes: Sizes<Message> | undefined;
  /** Lane of the item that `take` gave. */
  takenLane: Lane = "normal";

  constructor(capacityCount: number, limits: MailboxLimits, sizes: Sizes<Message> | undefined) {
    const isCount = Number.isInteger(capacityCount) && capacityCount >= 0;
    assert(isCount && capacityCount <= SLOTS_MAX, `P25 a table has 0 to ${SLOTS_MAX} slots`);
    this.#limits = limits;
    this.#sizes = sizes;
    this.status = new Uint16Array(0);
    this.generation = new Uint32Array(0);
    this.bornTick = new Uint32Array(0);
    if (capacityCount > 0) this.#grow(capacityCount);
  }

  /** Makes room. A slot that is no slot is a bug of the caller (P25: nothing has changed then). */
  ensure(slot: number): void {
    if (slot < this.status.length && slot >= 0 && Number.isInteger(slot)) return;
    const isSlot = Number.isInteger(slot) && slot >= 0 && slot < SLOTS_MAX;
    assert(isSlot, `P25 a slot is a whole number from 0 to ${SLOTS_MAX - 1}, not ${String(slot)}`);
    this.#grow(Math.max(slot + 1, this.status.length * 2, 64));
  }

  mayQueue(slot: number): boolean {
    return ((this.status[slot] ?? 0) & CANNOT_RUN_NOW) === 0;
  }

  setBits(slot: number, bits: number): void {
    this.status[slot] = (this.status[slot] ?? 0) | bits;
  }

  clearBits(slot: number, bits: number): void {
    this.status[slot] = (this.status[slot] ?? 0) & ~bits;
  }

  hasBits(slot: number, bits: number): boolean {
    return ((this.status[slot] ?? 0) & bits) !== 0;
  }

  /** Something is in its mailbox; a fan-out's message is not. */
  isWaiting(slot: number): boolean {
    return this.#boxes[slot] !== undefined;
  }

  /** False: the lane is full. */
  put(slot: number, item: Item<Message>, lane: Lane): boolean {
    if (lane === "normal" && this.#sizes !== undefined) return this.#putCounted(slot, item);
    if (lane === "normal" && this.#boxes[slot] === undefined) {
      if (this.#limits.mailboxMax === 1 && this.hasBits(slot, FANNED)) return false;
      this.#boxes[slot] = item;
      return true;
    }
    const mailbox = this.#mailboxOf(slot);
    if (lane === "normal") return this.#hasRoom(slot, mailbox) && mailbox.normal.push(item);
    mailbox.control ??= new Ring(this.#limits.controlMax);
    return mailbox.control.push(item);
  }

  /** At the end of the control lane, whatever its limit: for what is bounded elsewhere. */
  putMark(slot: number, mark: Mark): void {
    const mailbox = this.#mailboxOf(slot);
    mailbox.control ??= new Ring(this.#limits.controlMax);
    mailbox.control.pushBeyond(mark);
  }

  /** At most one mark is in a mailbox; an older one stands for a later firing too. */
  putTimerMark(slot: number): void {
    if (this.hasBits(slot, TIMER_MARKED)) return;
    this.setBits(slot, TIMER_MARKED);
    if (this.#boxes[slot] === undefined) this.#boxes[slot] = TIMER_MARK;
    else this.#mailboxOf(slot).normal.push(TIMER_MARK);
  }

  take(slot: number): Item<Message> | undefined {
    const waiting = this.#boxes[slot];
    if (waiting === undefined) return undefined;
    if (!(waiting instanceof Mailbox)) {
      this.#boxes[slot] = undefined;
      this.takenLane = "normal";
      return waiting;
    }
    const mailbox = waiting as Mailbox<Message>;
    const control = mailbox.control?.shift();
    this.takenLane = control === undefined ? "normal" : "control";
    const taken = control ?? mailbox.normal.shift();
    if (control === undefined && taken !== undefined && this.#sizes !== undefined)
      mailbox.bytes = Math.max(0, mailbox.bytes - this.#sizeOf(taken));
    this.#dropEmpty(slot, mailbox);
    return taken;
  }

  /** Back to the head of its lane, whatever the limit. */
  putBack(slot: number, item: Item<Message>, lane: Lane): void {
    if (lane === "normal" && this.#boxes[slot] === undefined) {
      this.#boxes[slot] = item;
      return;
    }
    const mailbox = this.#mailboxOf(slot);
    if (lane === "normal") {
      mailbox.bytes += this.#sizeOf(item);
      return mailbox.normal.unshift(item);
    }
    mailbox.control ??= new Ring(this.#limits.controlMax);
    mailbox.control.unshift(item);
  }

  /** Puts the message in the place of a waiting one of the same key; false: there is none, or it
   *  would be too large. */
  coalesce(slot: number, message: Message, isSame: (waiting: Message) => boolean): boolean {
    const waiting = this.#boxes[slot];
    if (waiting === undefined) return false;
    const bytes = this.waitingBytesOf(slot);
    const allowedBytes = Math.max(bytes, this.#limits.mailboxMaxBytes);
    let nextBytes = bytes;
    const mayReplace = (item: Item<Message>): boolean => {
      if (item instanceof Mark || !isSame(item)) return false;
      nextBytes = bytes - this.#sizeOf(item) + this.#sizeOf(message);
      return nextBytes <= allowedBytes;
    };
    if (waiting instanceof Mailbox) {
      const mailbox = waiting as Mailbox<Message>;
      if (!mailbox.normal.replaceFirst(mayReplace, message)) return false;
      mailbox.bytes = nextBytes;
      return true;
    }
    if (!mayReplace(waiting)) return false;
    this.#boxes[slot] = message;
    return true;
  }

  /** False: not even an empty mailbox would take it. */
  mayFit(message: Message): boolean {
    return this.#sizeOf(message) <= this.#limits.mailboxMaxBytes;
  }

  /** Takes the oldest message of the normal lane; a timer's mark keeps its place. */
  takeOldest(slot: number): Item<Message> | undefined {
    const waiting = this.#boxes[slot];
    if (!(waiting instanceof Mailbox)) {
      if (waiting === undefined || waiting === TIMER_MARK) return undefined;
      this.#boxes[slot] = undefined;
      return waiting;
    }
    const mailbox = waiting as Mailbox<Message>;
    const first = mailbox.normal.shift();
    const taken = first === TIMER_MARK ? mailbox.normal.shift() : first;
    if (first === TIMER_MARK) mailbox.normal.unshift(TIMER_MARK);
    if (taken !== undefined) mailbox.bytes = Math.max(0, mailbox.bytes - this.#sizeOf(taken));
    this.#dropEmpty(slot, mailbox);
    return taken;
  }

  /** Empties the mailbox: what waited in the order in which it would have been handled. */
  takeAll(slot: number): Item<Message>[] {
    const items: Item<Message>[] = [];
    for (let item = this.take(slot); item !== undefined; item = this.take(slot))
      if (item !== TIMER_MARK) items.push(item);
    this.clearBits(slot, TIMER_MARKED | TIMER_DUE);
    return items;
  }

  forEachWaiting(slot: number, visit: (item: Item<Message>) => void): void {
    const waiting = this.#boxes[slot];
    if (waiting === undefined) return;
    if (!(waiting instanceof Mailbox)) return visit(waiting);
    const { control, normal } = waiting as Mailbox<Message>;
    control?.forEach(visit);
    normal.forEach(visit);
  }

  waitingCountOf(slot: number): number {
    const waiting = this.#boxes[slot];
    const fannedCount = this.hasBits(slot, FANNED) ? 1 : 0;
    if (waiting === undefined) return fannedCount;
    if (!(waiting instanceof Mailbox)) return fannedCount + 1 - this.#markCount(slot);
    const { normal, control } = waiting as Mailbox<Message>;
    return fannedCount + normal.length + (control?.length ?? 0) - this.#markCount(slot);
  }

  /** Of the normal lane, as far as the behaviour tells sizes. */
  waitingBytesOf(slot: number): number {
    const waiting = this.#boxes[slot];
    if (waiting === undefined) return 0;
    return waiting instanceof Mailbox ? waiting.bytes : this.#sizeOf(waiting);
  }

  /** Wheel handle of the process's timer; 0: not armed. */
  timerOf(slot: number): number {
    return this.timers?.[slot] ?? 0;
  }

  setTimerHandle(slot: number, handle: number): void {
    this.timers ??= new Float64Array(this.status.length);
    this.timers[slot] = handle;
  }

  /** Gives all memory back. */
  clear(): void {
    this.status = new Uint16Array(0);
    this.generation = new Uint32Array(0);
    this.bornTick = new Uint32Array(0);
    this.timers = undefined;
    this.states = [];
    this.#boxes = [];
  }

  #putCounted(slot: number, item: Item<Message>): boolean {
    const message = messageOf(item);
    const sizeBytes = message === undefined ? 0 : this.#sizes?.of(message);
    assert(sizeBytes !== undefined && sizeBytes >= 0, "P25 a message's size is a number of bytes");
    const { mailboxMaxBytes } = this.#limits;
    if (this.#boxes[slot] === undefined) {
      if (sizeBytes > mailboxMaxBytes) return false;
      this.#boxes[slot] = item;
      return true;
    }
    const mailbox = this.#mailboxOf(slot);
    if (mailbox.bytes + sizeBytes > mailboxMaxBytes) return false;
    if (!this.#hasRoom(slot, mailbox)) return false;
    mailbox.bytes += sizeBytes;
    return mailbox.normal.push(item);
  }

  /** Of one that was accepted: its size was a number then, and must end no turn now. */
  #sizeOf(item: Item<Message>): number {
    const message = messageOf(item);
    if (this.#sizes === undefined || message === undefined) return 0;
    try {
      return this.#sizes.of(message);
    } catch (cause) {
      this.#sizes.onError(cause);
      return 0;
    }
  }

  /** A fan-out's message has a place too, although it waits elsewhere. */
  #hasRoom(slot: number, { normal }: Mailbox<Message>): boolean {
    const fannedCount = this.hasBits(slot, FANNED) ? 1 : 0;
    return normal.length - this.#markCount(slot) + fannedCount < this.#limits.mailboxMax;
  }

  #markCount(slot: number): number {
    return this.hasBits(slot, TIMER_MARKED) ? 1 : 0;
  }

  #dropEmpty(slot: number, mailbox: Mailbox<Message>): void {
    if (mailbox.normal.length === 0 && (mailbox.control?.length ?? 0) === 0)
      this.#boxes[slot] = undefined;
  }

  #mailboxOf(slot: number): Mailbox<Message> {
    const waiting = this.#boxes[slot];
    if (waiting instanceof Mailbox) return waiting as Mailbox<Message>;
    const mailbox = new Mailbox<Message>(this.#limits.mailboxMax + 2); // mark, and put back
    if (waiting !== undefined) {
      mailbox.normal.push(waiting);
      mailbox.bytes = this.#sizeOf(waiting);
    }
    this.#boxes[slot] = mailbox;
    return mailbox;
  }

  #grow(capacityCount: number): void {
    const status = new Uint16Array(capacityCount);
    status.set(this.status);
    this.status = status;
    this.generation = grownNumbers(this.generation, capacityCount);
    this.bornTick = grownNumbers(this.bornTick, capacityCount);
    if (this.timers !== undefined) {
      const timers = new Float64Array(capacityCount);
      timers.set(this.timers);
      this.timers = timers;
    }
    this.states = grown(this.states, capacityCount);
    this.#boxes = grown(this.#boxes, capacityCount);
  }
}

function grownNumbers(from: Uint32Array, capacityCount: number): Uint32Array<ArrayBuffer> {
  const to = new Uint32Array(capacityCount);
  to.set(from);
  return to;
}

/** Of exactly that size: pushing would reserve half as much again (RW1). */
function grown<Cell>(
  from: readonly (Cell | undefined)[],
  capacityCount: number,
): (Cell | undefined)[] {
  return Array.from({ length: capacityCount }, (_, slot) => from[slot]);
}
