// packages/process/src/calls.ts
// Calls that wait for their answer. Each has a deadline; none outlives it. Most are answered in the
// slice that finds them in the mailbox: only what is open at its end gets a number and a timer.
//   CA1  A caller gets exactly one outcome: the first of reply, deadline, refusal, end of the process.
//   CA2  A reply counts only from the incarnation that was given the call (P4, P11).
import type { Clock, TimerWheel } from "@carillon/kernel";
import type { From } from "./behaviour.ts";
import { CALL_TIMER, type Engine, timerKey } from "./engine.ts";
import { Carrier } from "./mailbox.ts";
import type { CallOutcome } from "./table-api.ts";

/** What a call needs of the table it went to. */
export interface CallTarget {
  readonly engine: Engine;
  isCurrent(slot: number, generation: number): boolean;
  /** A call that was to be answered later needs no answer any more. */
  disown(call: AnyCall): void;
}

const NOT_BEGUN = -1;
const NO_INDEX = -1;
const FRESH_MAX = 1_024; // of a burst the rest gets its timer at once: no slice's end takes 0.2 ms

export class CallMark<Message extends object, Reply>
  extends Carrier<Message>
  implements From<Reply>
{
  readonly target: CallTarget;
  readonly slot: number;
  readonly message: Message;
  readonly deadlineAtMs: number;
  /** Told the outcome; set right after the call was accepted. */
  settle: ((outcome: CallOutcome<Reply>) => void) | undefined;
  #generation = NOT_BEGUN;
  isOpen = true;
  /** Its handler has answered NO_REPLY. */
  isOwed = false;
  /** For OpenCalls: its number there and its timer on the wheel; no number: no timer either. */
  index = NO_INDEX;
  timerHandle = 0;

  constructor(target: CallTarget, slot: number, message: Message, deadlineAtMs: number) {
    super();
    this.target = target;
    this.slot = slot;
    this.message = message;
    this.deadlineAtMs = deadlineAtMs;
    this.settle = undefined;
  }

  /** It is handled now, by this incarnation. */
  begin(generation: number): void {
    this.#generation = generation;
  }

  reply(reply: Reply): boolean {
    const isValid = this.isOpen && this.target.isCurrent(this.slot, this.#generation);
    if (isValid) this.close({ kind: "reply", reply });
    else this.target.engine.counters.lateReplies++;
    return isValid;
  }

  /** P4: nobody waits for it any more, also when the wheel has not come round yet. */
  isExpired(nowMs: number): boolean {
    if (this.isOpen && nowMs >= this.deadlineAtMs) this.expire();
    return !this.isOpen;
  }

  /** Its deadline has come. */
  expire(): void {
    this.target.engine.counters.callTimeouts++;
    this.close({ kind: "timeout" });
  }

  /** The first outcome wins (CA1). */
  close(outcome: CallOutcome<Reply>): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    const { calls, wheel } = this.target.engine;
    calls.close(this.index);
    if (this.timerHandle !== 0) wheel.cancel(this.timerHandle);
    if (this.isOwed) this.target.disown(this as unknown as AnyCall);
    this.settle?.(outcome);
  }
}

export type AnyCall = CallMark<object, unknown>;

/**
 * All open calls: fresh ones of this slice, the others by number, so that the wheel can name them.
 * Their limit is that of the mailboxes they wait in.
 */
export class OpenCalls {
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  /** Since the last slice's end; closed ones too. */
  readonly #fresh: (AnyCall | undefined)[] = [];
  #freshCount = 0;
  readonly #calls: (AnyCall | undefined)[] = [];
  readonly #free: number[] = [];
  /** Open calls. */
  count = 0;

  constructor(clock: Clock, wheel: TimerWheel) {
    this.#clock = clock;
    this.#wheel = wheel;
  }

  /** Of `count`: those that have a timer. */
  get armedCount(): number {
    return this.#calls.length - this.#free.length;
  }

  /** A slice must end after this: it gives the call its timer if it is open still. */
  add(call: unknown, nowMs: number): void {
    this.count++;
    if (this.#freshCount === FRESH_MAX) return this.#arm(call as AnyCall, nowMs);
    this.#fresh[this.#freshCount++] = call as AnyCall;
  }

  /** At a slice's end: the calls that it did not close have to be watched. */
  armFresh(): void {
    let nowMs = Number.NaN;
    for (let place = 0; place < this.#freshCount; place++) {
      const call = this.#fresh[place];
      this.#fresh[place] = undefined;
      if (call === undefined || !call.isOpen) continue;
      if (Number.isNaN(nowMs)) nowMs = this.#clock.monotonicMs();
      if (!call.isExpired(nowMs)) this.#arm(call, nowMs); // P4: not a wheel's tick later
    }
    this.#freshCount = 0;
  }

  at(index: number): AnyCall | undefined {
    return this.#calls[index];
  }

  close(index: number): void {
    this.count--;
    if (index === NO_INDEX) return;
    this.#calls[index] = undefined;
    this.#free.push(index);
  }

  /** All that went to this table. */
  closeAll(target: CallTarget, outcome: CallOutcome<never>): void {
    for (const calls of [this.#calls, this.#fresh])
      for (const call of calls) if (call?.target === target) call.close(outcome);
  }

  #arm(call: AnyCall, nowMs: number): void {
    call.index = this.#free.pop() ?? this.#calls.length;
    this.#calls[call.index] = call;
    const delayMs = Math.max(0, call.deadlineAtMs - nowMs);
    call.timerHandle = this.#wheel.arm(delayMs, timerKey(0, call.index, CALL_TIMER), nowMs);
  }
}
