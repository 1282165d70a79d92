// packages/process/src/turn.ts
// A running turn as its handler sees it. Reused for the next turn once the handler is done; an
// abandoned one is never reused, so that nothing its handler does later counts (P11).
import type { Lane, ProcessContext, ProcessTable } from "./behaviour.ts";
import type { TableCore } from "./table-core.ts";
import { settleTurn } from "./turns.ts";

export class Turn<State, Message extends object> implements ProcessContext<State, Message> {
  readonly #core: TableCore<State, Message>;
  slot = 0;
  generation = 0;
  /** What it handles; undefined for the timer, init and onContinue. */
  message: Message | undefined;
  lane: Lane = "normal";
  during: "init" | "continue" | "message" | "timer" = "message";
  /** Wheel handle of the limit for an async handler; 0: the turn is synchronous. */
  deadlineHandle = 0;

  constructor(core: TableCore<State, Message>) {
    this.#core = core;
  }

  get table(): ProcessTable<State, Message> {
    return this.#core.handle;
  }

  get isCurrent(): boolean {
    return this.#core.isCurrent(this.slot, this.generation);
  }

  get state(): State | undefined {
    return this.isCurrent ? this.#core.rows.states[this.slot] : undefined;
  }

  set state(state: State | undefined) {
    if (this.isCurrent) this.#core.setState(this.slot, state);
    else this.#core.engine.counters.staleWrites++;
  }

  setTimer(delayMs: number): void {
    if (this.isCurrent) this.#core.armTimer(this.slot, delayMs, { isIdleTimer: false });
  }

  setIdleTimer(delayMs: number): void {
    if (this.isCurrent) this.#core.armTimer(this.slot, delayMs, { isIdleTimer: true });
  }

  clearTimer(): void {
    if (this.isCurrent) this.#core.clearTimer(this.slot);
  }

  readonly onResolved = (): void => settleTurn(this.#core, this, undefined);
  readonly onRejected = (cause: unknown): void => settleTurn(this.#core, this, { cause });
}
