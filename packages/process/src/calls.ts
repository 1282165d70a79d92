// packages/process/src/calls.ts
// Calls that wait for their answer. Each has a deadline on the wheel; none outlives it.
//   CA1  A caller gets exactly one outcome: the first of reply, deadline, refusal, end of the process.
//   CA2  A reply counts only from the incarnation that was given the call (P4, P11).
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

export class CallMark<Message extends object, Reply>
  extends Carrier<Message>
  implements From<Reply>
{
  readonly target: CallTarget;
  readonly slot: number;
  readonly message: Message;
  readonly deadlineAtMs: number;
  readonly #settle: (outcome: CallOutcome<Reply>) => void;
  readonly #index: number;
  readonly #timerHandle: number;
  #generation = NOT_BEGUN;
  isOpen = true;
  /** Its handler has answered NO_REPLY. */
  isOwed = false;

  constructor(
    target: CallTarget,
    call: {
      readonly slot: number;
      readonly message: Message;
      readonly timeoutMs: number;
      readonly nowMs: number;
    },
    settle: (outcome: CallOutcome<Reply>) => void,
  ) {
    super();
    const { engine } = target;
    this.target = target;
    this.slot = call.slot;
    this.message = call.message;
    this.deadlineAtMs = call.nowMs + call.timeoutMs;
    this.#settle = settle;
    this.#index = engine.calls.add(this);
    this.#timerHandle = engine.wheel.arm(
      call.timeoutMs,
      timerKey(0, this.#index, CALL_TIMER),
      call.nowMs,
    );
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
  isExpired(): boolean {
    if (this.isOpen && this.target.engine.clock.monotonicMs() >= this.deadlineAtMs) this.expire();
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
    const { engine } = this.target;
    engine.calls.remove(this.#index);
    engine.wheel.cancel(this.#timerHandle);
    if (this.isOwed) this.target.disown(this as unknown as AnyCall);
    this.#settle(outcome);
  }
}

export type AnyCall = CallMark<object, unknown>;

/** By number, so that the wheel can name them. Its limit is that of the mailboxes they wait in. */
export class OpenCalls {
  readonly #calls: (AnyCall | undefined)[] = [];
  readonly #free: number[] = [];

  get count(): number {
    return this.#calls.length - this.#free.length;
  }

  add(call: unknown): number {
    const index = this.#free.pop() ?? this.#calls.length;
    this.#calls[index] = call as AnyCall;
    return index;
  }

  at(index: number): AnyCall | undefined {
    return this.#calls[index];
  }

  remove(index: number): void {
    this.#calls[index] = undefined;
    this.#free.push(index);
  }

  /** All that went to this table. */
  closeAll(target: CallTarget, outcome: CallOutcome<never>): void {
    for (const call of this.#calls) if (call?.target === target) call.close(outcome);
  }
}
