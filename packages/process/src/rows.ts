// packages/process/src/rows.ts
// What the runtime keeps per process of a table: columns by slot, no object per process.
//   RW1  A process without state, messages and timer costs its row only: 22 bytes in four columns,
//        30 where a process of the table has used its timer; with overhead: bench/RESULTS.md.
//   RW2  At most `mailboxMax` messages wait in the normal lane and `controlMax` in the control lane;
//        one that is put back after a crash has its place beyond that (P14).
import { assert, Ring } from "@carillon/kernel";
import type { Lane } from "./behaviour.ts";

/** Bits of `status`. */
export const QUEUED = 1; // is in the ready queue
export const BUSY = 2; // a turn runs: synchronous, or a promise that has not settled
export const HELD = 4; // waits for its back-off
export const QUARANTINED = 8;
export const CRASHED = 16; // has a crash record
export const TIMER_DUE = 32; // the timer has fired and is not handled
export const TIMER_MARKED = 64; // the mailbox has a TimerMark
export const IDLE_TIMER = 128; // the timer is cancelled by any message
export const ACTIVATE = 256; // to be rebuilt, also when no message waits
export const CONTINUED = 512; // an async onContinue is done, the message after it was not begun
export const AGE_ONE = 1_024; // two bits: idle sweeps since the last turn, 3 at most
export const AGE_MASK = 3 * AGE_ONE;

const CANNOT_RUN_NOW = QUEUED | BUSY | HELD | QUARANTINED;
const SLOT_MAX = 2 ** 24 - 1; // a bad slot must not take the machine's memory

/** Holds the place in the mailbox at which a timer fired, so that earlier messages go first. */
export class TimerMark {
  readonly mark = "timer";
}
export const TIMER_MARK = new TimerMark();

/** Only while more than one message waits, or one in the control lane. */
class Mailbox<Message extends object> {
  readonly normal: Ring<Message | TimerMark>;
  control: Ring<Message> | undefined;
  constructor(limitCount: number) {
    this.normal = new Ring(limitCount);
  }
}

export interface MailboxLimits {
  readonly mailboxMax: number;
  readonly controlMax: number;
}

export class Rows<State, Message extends object> {
  status: Uint16Array;
  generation: Uint32Array;
  timers: Float64Array | undefined; // wheel handles; 0: not armed
  states: (State | undefined)[] = [];
  /** The one waiting message itself, or a Mailbox. */
  #boxes: (Message | TimerMark | Mailbox<Message> | undefined)[] = [];
  readonly #limits: MailboxLimits;
  /** Lane of the message that `take` gave. */
  takenLane: Lane = "normal";

  constructor(capacityCount: number, limits: MailboxLimits) {
    this.#limits = limits;
    this.status = new Uint16Array(0);
    this.generation = new Uint32Array(0);
    if (capacityCount > 0) this.#grow(capacityCount);
  }

  /** Makes room. A slot that is no slot is a bug of the caller (P25: nothing has changed then). */
  ensure(slot: number): void {
    if (slot < this.status.length && slot >= 0 && Number.isInteger(slot)) return;
    const isSlot = Number.isInteger(slot) && slot >= 0 && slot <= SLOT_MAX;
    assert(isSlot, `P25 a slot is a whole number from 0 to ${SLOT_MAX}, not ${String(slot)}`);
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

  isWaiting(slot: number): boolean {
    return this.#boxes[slot] !== undefined;
  }

  /** False: the lane is full. */
  put(slot: number, message: Message, lane: Lane): boolean {
    if (lane === "normal" && this.#boxes[slot] === undefined) {
      this.#boxes[slot] = message;
      return true;
    }
    const mailbox = this.#mailboxOf(slot);
    if (lane === "normal") {
      const markCount = this.hasBits(slot, TIMER_MARKED) ? 1 : 0;
      if (mailbox.normal.length - markCount >= this.#limits.mailboxMax) return false;
      return mailbox.normal.push(message);
    }
    mailbox.control ??= new Ring(this.#limits.controlMax);
    return mailbox.control.push(message);
  }

  /** At most one mark is in a mailbox; an older one stands for a later firing too. */
  putTimerMark(slot: number): void {
    if (this.hasBits(slot, TIMER_MARKED)) return;
    this.setBits(slot, TIMER_MARKED);
    if (this.#boxes[slot] === undefined) this.#boxes[slot] = TIMER_MARK;
    else this.#mailboxOf(slot).normal.push(TIMER_MARK);
  }

  take(slot: number): Message | TimerMark | undefined {
    const waiting = this.#boxes[slot];
    if (waiting === undefined) return undefined;
    if (!(waiting instanceof Mailbox)) {
      this.#boxes[slot] = undefined;
      this.takenLane = "normal";
      return waiting;
    }
    const control = waiting.control?.shift();
    this.takenLane = control === undefined ? "normal" : "control";
    const taken = control ?? waiting.normal.shift();
    if (waiting.normal.length === 0 && (waiting.control?.length ?? 0) === 0) {
      this.#boxes[slot] = undefined;
    }
    return taken;
  }

  /** Back to the head of its lane, whatever the limit. */
  putBack(slot: number, message: Message, lane: Lane): void {
    if (lane === "normal" && this.#boxes[slot] === undefined) {
      this.#boxes[slot] = message;
      return;
    }
    const mailbox = this.#mailboxOf(slot);
    if (lane === "normal") return mailbox.normal.unshift(message);
    mailbox.control ??= new Ring(this.#limits.controlMax);
    mailbox.control.unshift(message);
  }

  /** Empties the mailbox: its messages in the order in which they would have been handled. */
  takeAll(slot: number): Message[] {
    const messages: Message[] = [];
    for (let item = this.take(slot); item !== undefined; item = this.take(slot))
      if (!(item instanceof TimerMark)) messages.push(item);
    this.clearBits(slot, TIMER_MARKED | TIMER_DUE);
    return messages;
  }

  waitingCountOf(slot: number): number {
    const waiting = this.#boxes[slot];
    if (waiting === undefined) return 0;
    const markCount = this.hasBits(slot, TIMER_MARKED) ? 1 : 0;
    if (!(waiting instanceof Mailbox)) return 1 - markCount;
    return waiting.normal.length + (waiting.control?.length ?? 0) - markCount;
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
    this.timers = undefined;
    this.states = [];
    this.#boxes = [];
  }

  #mailboxOf(slot: number): Mailbox<Message> {
    const waiting = this.#boxes[slot];
    if (waiting instanceof Mailbox) return waiting;
    const mailbox = new Mailbox<Message>(this.#limits.mailboxMax + 1); // one more for the mark
    if (waiting !== undefined) mailbox.normal.push(waiting);
    this.#boxes[slot] = mailbox;
    return mailbox;
  }

  #grow(capacityCount: number): void {
    const status = new Uint16Array(capacityCount);
    status.set(this.status);
    this.status = status;
    const generation = new Uint32Array(capacityCount);
    generation.set(this.generation);
    this.generation = generation;
    if (this.timers !== undefined) {
      const timers = new Float64Array(capacityCount);
      timers.set(this.timers);
      this.timers = timers;
    }
    this.states = grown(this.states, capacityCount);
    this.#boxes = grown(this.#boxes, capacityCount);
  }
}

/** Of exactly that size: pushing would reserve half as much again (RW1). */
function grown<Cell>(
  from: readonly (Cell | undefined)[],
  capacityCount: number,
): (Cell | undefined)[] {
  return Array.from({ length: capacityCount }, (_, slot) => from[slot]);
}
